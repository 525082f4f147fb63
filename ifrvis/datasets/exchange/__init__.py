"""Masks and tracks of other formats, in and out: what a format does not say is asked for, never made up."""
