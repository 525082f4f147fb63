"""Distorted colours of single frames, as in SSD and SeqFormer's published code.

What is drawn is apart from what it does to an image: a draw is plain data, and can be compared and repeated.
"""

import itertools
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

BRIGHTNESS, HUE = 32.0, 18.0  # to either side, of 255 and of 360 degrees
FACTOR = (0.5, 1.5)  # of contrast and saturation
_ORDERS = tuple(itertools.permutations(range(3)))


class Colour(NamedTuple):
    """A distortion of a frame's colours; the defaults change nothing."""

    brightness: float = 0.0  # added, of 255
    contrast: float = 1.0  # a factor
    contrast_first: bool = True  # before saturation and hue, or after
    saturation: float = 1.0  # a factor
    hue: float = 0.0  # added, in degrees
    order: tuple[int, ...] = _ORDERS[0]  # of the channels


def draw_colour(rng: np.random.Generator) -> Colour:
    """A distortion, each part of it with probability one half."""
    happens = rng.random(5) < 0.5
    return Colour(
        brightness=float(rng.uniform(-BRIGHTNESS, BRIGHTNESS)) if happens[0] else 0.0,
        contrast=float(rng.uniform(*FACTOR)) if happens[1] else 1.0,
        contrast_first=bool(rng.random() < 0.5),
        saturation=float(rng.uniform(*FACTOR)) if happens[2] else 1.0,
        hue=float(rng.uniform(-HUE, HUE)) if happens[3] else 0.0,
        order=_ORDERS[int(rng.integers(len(_ORDERS)))] if happens[4] else _ORDERS[0],
    )


def coloured(image: NDArray[np.uint8], colour: Colour) -> NDArray[np.uint8]:
    """A distorted image, (H, W, 3) uint8 BGR; what leaves 0 to 255 is clamped, where the official code wraps it."""
    if colour == Colour():
        return image
    values = image.astype(np.float32) + np.float32(colour.brightness)
    if colour.contrast_first:
        values *= np.float32(colour.contrast)
    if (colour.saturation, colour.hue) != (1.0, 0.0):
        hue, saturation, value = cv2.split(cv2.cvtColor(values, cv2.COLOR_BGR2HSV))
        hue = (hue + np.float32(colour.hue)) % np.float32(360)
        saturation = (saturation * np.float32(colour.saturation)).clip(0)
        values = np.asarray(cv2.cvtColor(cv2.merge([hue, saturation, value]), cv2.COLOR_HSV2BGR), np.float32)
    if not colour.contrast_first:
        values *= np.float32(colour.contrast)
    return np.ascontiguousarray(values.clip(0, 255)[..., colour.order]).astype(np.uint8)
