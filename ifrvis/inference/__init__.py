"""From a trained model and a video to the predictions that are scored."""
