"""The mini sets: their parameters, how scenes are drawn, and how they are written."""
