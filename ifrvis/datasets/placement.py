"""Where the frames of a clip show what their files show: resized, or resized, cropped and resized again (SeqFormer).

One placement holds for all frames of a clip. Images and masks go the same way, masks by the nearest pixel. They are
resized as Pillow does it, since the official programs were trained and tested on such: its bilinear filter widens where
a frame shrinks, so that every pixel counts (antialiasing). Torch has the same filter, equal to one grey level, in a
fifth of the time.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F

from ifrvis.datasets.rle import Rle, box

Size = tuple[int, int]  # height and width, in pixels
Resize = Literal["pillow", "opencv"]  # opencv: no antialiasing


@dataclass(frozen=True)
class Placement:
    """Where a frame goes."""

    source: Size  # size of the frame in its file
    first: Size  # its size when the window is cut out; `source` without a crop
    window: tuple[int, int, int, int]  # top, left, height and width of what is shown, in pixels of `first`
    size: Size
    resize: Resize

    def frame(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A frame of size `source`, (height, width, 3) uint8, as it is shown: (3, *size) uint8."""
        if self.first != self.source:
            image = np.moveaxis(resize_frame(image, self.first, self.resize), 0, 2)
        top, left, height, width = self.window
        return resize_frame(image[top : top + height, left : left + width], self.size, self.resize)

    def sources(self, axis: int) -> NDArray[np.int64]:
        """The pixel of the file that each pixel of a mask shows, along the height (0) or the width (1)."""
        start, extent = self.window[axis], self.window[2 + axis]
        cut = nearest(self.first[axis], self.source[axis], self.resize)[start : start + extent]
        return cut[nearest(self.size[axis], extent, self.resize)]

    def window_in_file(self) -> tuple[float, float, float, float]:
        """Top, left, bottom and right of the window, in pixels of the file."""
        down, across = self.source[0] / self.first[0], self.source[1] / self.first[1]
        top, left, height, width = self.window
        return top * down, left * across, (top + height) * down, (left + width) * across

    def num_shown(self, masks: Iterable[Rle | None]) -> int:
        """How many masks have a part of their box in the window; one that is empty has none."""
        top, left, bottom, right = self.window_in_file()
        boxes = (found for mask in masks if mask is not None and (found := box(mask)) is not None)
        return sum(x < right and y < bottom and x + width > left and y + height > top for x, y, width, height in boxes)


@dataclass(frozen=True)
class Placing:
    """How placements are drawn: a part of a recipe's `train.pipeline`."""

    sides: Sequence[int]  # shortest sides to draw from, in pixels
    max_side: int  # bound on the longest side, in pixels
    resize: Resize
    # `probability` of a crop; `sides`, shortest sides of which the frame gets one before it; `smallest` and `largest`
    # sides of the window, which is never larger than the frame. All in pixels. None for no crop.
    crop: Mapping[str, Any] | None = None
    truncate: bool = False  # round the longest side down, as SeqFormer does

    def draw(self, rng: np.random.Generator, source: Size) -> Placement:
        """The placement of frames of size `source`."""
        side, first, window = _choice(rng, self.sides), source, (0, 0, *source)
        if self.crop is not None and rng.random() < self.crop["probability"]:
            first = resized_size(*source, side=_choice(rng, self.crop["sides"]), truncate=self.truncate)
            least, most = ([min(self.crop[bound], full) for full in first] for bound in ("smallest", "largest"))
            height, width = (int(rng.integers(low, high + 1)) for low, high in zip(least, most))
            top, left = int(rng.integers(first[0] - height + 1)), int(rng.integers(first[1] - width + 1))
            window = (top, left, height, width)
        size = resized_size(*window[2:], side=side, max_side=self.max_side, truncate=self.truncate)
        return Placement(source, first, window, size, self.resize)


def _choice(rng: np.random.Generator, values: Sequence[int]) -> int:
    return values[int(rng.integers(len(values)))]


def resized_size(height: int, width: int, *, side: int, max_side: int | None = None, truncate: bool = False) -> Size:
    """Height and width, in pixels, with the shortest side `side` unless the longest would exceed `max_side`.

    Rounded as Detectron2 does; truncated as DETR does, which rounds the side instead where the longest binds.
    """
    short, long = min(height, width), max(height, width)
    if truncate:
        if max_side is not None and long / short * side > max_side:
            side = max(1, round(max_side * short / long))
        longer = max(1, int(side * long / short))
        return (side, longer) if height <= width else (longer, side)
    scale = side / short if max_side is None else min(side / short, max_side / long)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def resize_frame(frame: NDArray[np.uint8], size: tuple[int, int], how: Resize) -> NDArray[np.uint8]:
    """A frame, (height, width, 3) uint8, at another `size` of height and width in pixels: (3, *size) uint8."""
    if how == "opencv":
        return np.moveaxis(np.asarray(cv2.resize(frame, size[::-1], interpolation=cv2.INTER_LINEAR), np.uint8), 2, 0)
    planes = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None]
    return np.asarray(F.interpolate(planes, size, mode="bilinear", antialias=True)[0].numpy(), np.uint8)


@functools.lru_cache(maxsize=64)
def nearest(count: int, source_count: int, how: Resize) -> NDArray[np.int64]:
    """The source of each of `count` pixels along one side of a mask, (count,): the pixel under its centre.

    The two differ where a centre lies on an edge. (OpenCV's variant that is not exact is half a pixel off.)
    """
    if how == "opencv":
        line = np.arange(source_count, dtype=np.float32)[None]
        return np.asarray(cv2.resize(line, (count, 1), interpolation=cv2.INTER_NEAREST_EXACT)[0], np.int64)
    numbers = Image.fromarray(np.arange(source_count, dtype=np.int32)[None])
    return np.asarray(numbers.resize((count, 1), Image.Resampling.NEAREST), np.int64).ravel()
