"""Clips around every frame and pseudo-videos beside them, as SeqFormer is trained on them."""
