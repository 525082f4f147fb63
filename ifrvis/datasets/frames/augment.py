"""How frames of a clip are resized, cropped and coloured, as in DETR and its video successors (SeqFormer, Sec. 4.1).

What is drawn is apart from what it does to an image: a draw is plain data, and can be compared and repeated.

Shape letters:
    H, W  height and width of a frame as it is    h, w  after resizing, in pixels
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Size = tuple[int, int]  # height and width
BRIGHTNESS, HUE = 32.0, 18.0  # to either side, of 255 and of 360 degrees
FACTOR = (0.5, 1.5)  # of contrast and saturation
STILL_BRIGHTNESS, STILL_SHIFT = (-40.0, 40.0), (-5.0, 5.0)  # of 255; the latter of hue and saturation
_ORDERS = tuple(itertools.permutations(range(3)))


class Window(NamedTuple):
    """The part of a frame that is shown: resized at once, or to `first`, cropped and resized again.

    Attributes:
        size: (h, w) in the end.
        first: Size before the crop; None without one.
        crop: top, left, height and width in pixels of the frame of size `first`.
    """

    size: Size
    first: Size | None = None
    crop: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True)
class Windows:
    """Draws windows.

    Attributes:
        sides: Shortest sides in the end, in pixels.
        max_side: Bound on the longest.
        crop: `probability` of a crop, `sides`, shortest sides before it, and `window`, its smallest and largest
            side; None for no crops.
    """

    sides: Sequence[int]
    max_side: int
    crop: Mapping[str, Any] | None

    def draw(self, rng: np.random.Generator, height: int, width: int) -> Window:
        """A window of a frame of that size."""
        if self.crop is None or rng.random() >= self.crop["probability"]:
            return Window(self._resized(rng, height, width))
        first = detr_size(height, width, side=_one_of(rng, self.crop["sides"]))
        low, high = self.crop["window"]
        rows, columns = (int(rng.integers(min(low, side), min(high, side) + 1)) for side in first)
        top, left = int(rng.integers(first[0] - rows + 1)), int(rng.integers(first[1] - columns + 1))
        return Window(self._resized(rng, rows, columns), first, (top, left, rows, columns))

    def _resized(self, rng: np.random.Generator, height: int, width: int) -> Size:
        return detr_size(height, width, side=_one_of(rng, self.sides), max_side=self.max_side)


def _one_of(rng: np.random.Generator, values: Sequence[int]) -> int:
    return values[int(rng.integers(len(values)))]


def detr_size(height: int, width: int, *, side: int, max_side: int | None = None) -> Size:
    """Height and width with the shortest side `side`; the longer one is truncated, as DETR does."""
    short, long = min(height, width), max(height, width)
    if max_side is not None and long / short * side > max_side:
        side = round(max_side * short / long)
    other = int(side * long / short)
    return (side, other) if height <= width else (other, side)


def resized_image(image: NDArray[np.uint8], window: Window) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 to (h, w, 3), by Pillow's bilinear filter, which looks at all pixels that it merges."""
    shown = Image.fromarray(image)
    if window.first is not None:
        top, left, rows, columns = window.crop
        shown = shown.resize(window.first[::-1], Image.Resampling.BILINEAR)
        shown = shown.crop((left, top, left + columns, top + rows))
    return np.asarray(shown.resize(window.size[::-1], Image.Resampling.BILINEAR))


def resized_mask(mask: NDArray[np.bool_], window: Window, *, flip: bool) -> NDArray[np.bool_]:
    """(H, W) bool, mirrored first where asked for, to (h, w): the nearest pixel of each step."""
    down, across = shown_pixels(window, (mask.shape[0], mask.shape[1]))
    return mask[np.ix_(down, mask.shape[1] - 1 - across if flip else across)]


def shown_pixels(window: Window, size: Size) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column of a frame of that size that each row and column of the result shows: (h,) and (w,)."""
    if window.first is None:
        down, across = (_nearest(*sides) for sides in zip(window.size, size))
        return down, across
    last = (_nearest(*sides) + start for *sides, start in zip(window.size, window.crop[2:], window.crop))
    down, across = (_nearest(*sides)[kept] for *sides, kept in zip(window.first, size, last))
    return down, across


def _nearest(count: int, source_count: int) -> NDArray[np.int64]:
    """The source of each of `count` pixels along one side, whose centres are what is compared."""
    return (2 * np.arange(count) + 1) * source_count // (2 * count)


class Colour(NamedTuple):
    """A distortion of a frame's colours; the defaults change nothing.

    Attributes:
        brightness: Added, of 255.
        contrast: A factor.
        contrast_first: Before saturation and hue, or after.
        saturation: A factor.
        more_saturation: Added afterwards, of 1.
        hue: Added, in degrees.
        order: Of the channels.
    """

    brightness: float = 0.0
    contrast: float = 1.0
    contrast_first: bool = True
    saturation: float = 1.0
    more_saturation: float = 0.0
    hue: float = 0.0
    order: tuple[int, ...] = _ORDERS[0]


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


def draw_still_colour(rng: np.random.Generator) -> Colour:
    """What a copy of a still shows otherwise: brightness, hue with saturation, or both."""
    kind = int(rng.integers(3))
    brightness, shift = float(rng.uniform(*STILL_BRIGHTNESS)), float(rng.uniform(*STILL_SHIFT))
    if kind == 0:
        return Colour(brightness=brightness)
    turned = Colour(hue=shift / 255 * 360, more_saturation=shift / 255)
    return turned if kind == 1 else turned._replace(brightness=brightness)


def coloured(image: NDArray[np.uint8], colour: Colour) -> NDArray[np.uint8]:
    """A distorted image, (H, W, 3) uint8 BGR; what leaves 0 to 255 is clamped, where the official code wraps it."""
    if colour == Colour():
        return image
    values = image.astype(np.float32) + np.float32(colour.brightness)
    if colour.contrast_first:
        values *= np.float32(colour.contrast)
    if (colour.saturation, colour.more_saturation, colour.hue) != (1.0, 0.0, 0.0):
        values = _with_hue(values, colour)
    if not colour.contrast_first:
        values *= np.float32(colour.contrast)
    return np.ascontiguousarray(values.clip(0, 255)[..., colour.order]).astype(np.uint8)


def _with_hue(values: NDArray[np.float32], colour: Colour) -> NDArray[np.float32]:
    hue, saturation, value = cv2.split(cv2.cvtColor(values, cv2.COLOR_BGR2HSV))
    hue = (hue + np.float32(colour.hue)) % np.float32(360)
    saturation = saturation * np.float32(colour.saturation) + np.float32(colour.more_saturation)
    turned = cv2.merge([hue, saturation.clip(0), value])
    return np.asarray(cv2.cvtColor(turned, cv2.COLOR_HSV2BGR), np.float32)
