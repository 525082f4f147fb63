"""Numbers from predictions and ground truth, without torch."""
