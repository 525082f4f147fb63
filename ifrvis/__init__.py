"""Reproduce the tables and the figure of a paper on Inter-Frame Recurrent attention for video instance segmentation."""

__version__ = "0.1.0"
