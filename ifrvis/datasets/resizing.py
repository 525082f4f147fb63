"""Frames and masks at another size, as Pillow makes them: the official programs were trained and tested on such.

Its bilinear filter widens where a frame shrinks, so that every pixel counts (antialiasing). Torch has the same filter,
equal to one grey level, in a fifth of the time.
"""

import functools
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F

Resize = Literal["pillow", "opencv"]  # opencv: no antialiasing


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
