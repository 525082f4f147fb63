"""What is drawn at random, each use from a stream of its own.

A draw is keyed by the number of its stream and by (seed, iteration, position) or (seed, epoch). A seed sequence pads
with zeros, so that [a, b] and [a, b, 0] are one key: two uses with one number would share draws.
"""

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """The number that opens the key of each use; a number that has drawn once keeps its use for good."""

    CLIP_EPOCH = 1  # the order of videos
    CLIP = 2  # frames, side and flip of a clip
    TORCH = 3  # torch's own generator, in each forward pass
    DROP_PATH = 4
    STILL = 5  # crop, motion and blur of a pseudo-video
    STILL_EPOCH = 6  # the order of stills
    DROPOUT = 7
    FRAME_CLIP = 8  # frames, flip, colours and placement of a clip around a frame
    FRAME_CLIP_EPOCH = 9  # the order of frames
    RESAMPLE = 10  # which test videos a bootstrap counts how often


def generator(stream: Stream, *key: int) -> np.random.Generator:
    """A generator whose draws depend on its stream and key alone."""
    return np.random.default_rng((stream, *key))
