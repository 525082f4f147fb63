"""The one mask form: COCO's compressed run-length code with its counts as text.

`{"size": [height, width], "counts": "..."}`. Runs go down the columns from the top left and alternate between
outside and inside, outside first; every run but the first is positive. Whatever comes from a file passes
`checked_rle` before compiled code sees it: pycocotools believes its input, and decodes counts that are too short
into uninitialised memory.

Shape letters:
    H, W  mask height and width, in pixels
    R     runs of one mask
"""

import reprlib
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from ifrvis.errors import UserError

__all__ = ["MAX_SIDE", "Rle", "area", "box", "checked_rle", "decode", "encode", "expect", "intersection", "run_lengths"]

MAX_SIDE = 16384  # pixels; keeps H x W far below pycocotools' 32-bit counts
_MAX_DIGITS = 7  # characters of one run; 7 x 5 bits hold any run of a mask of MAX_SIDE squared
_MAX_PERIMETER = 1000  # of a polygon, in units of H + W: rasterising takes memory in proportion to it


class Rle(TypedDict):
    """A mask: `size` is [height, width] in pixels, `counts` the compressed runs as ASCII text."""

    size: list[int]
    counts: str


def expect(condition: Any, where: str, expected: str, got: Any) -> None:
    """Refuse a value of a file (UserError) unless `condition`; `where` is the file, index and field."""
    if not condition:
        raise UserError(f"Correct {where}: expected {expected}, got {reprlib.repr(got)}.")


def checked_rle(segmentation: Any, height: int, width: int, where: str) -> Rle:
    """The one mask form of a segmentation in any form that COCO knows.

    Args:
        segmentation: Polygons (a list of flat lists x, y, x, y, ... in pixels) or an object with `size` and
            `counts`, which are a list of runs or their compressed text (str or bytes).
        height: Height of the video, in pixels, at most MAX_SIDE.
        width: Width of the video, in pixels, at most MAX_SIDE.
        where: File, index and field, for errors.

    Raises:
        UserError: If it is no such thing, or does not cover exactly `height` x `width` pixels.
    """
    if isinstance(segmentation, list):
        return _from_polygons(segmentation, height, width, where)
    expect(isinstance(segmentation, dict), where, "null, a list of polygons or a run-length code", segmentation)
    size, counts = segmentation.get("size"), segmentation.get("counts")
    expect(size == [height, width], f"{where}.size", f"the video's [{height}, {width}]", size)
    runs = _checked_runs(counts, height * width, f"{where}.counts")
    if isinstance(counts, list):
        counts = coco_mask.frPyObjects({"size": size, "counts": runs.tolist()}, height, width)["counts"]
    rle = Rle(size=[height, width], counts=counts if isinstance(counts, str) else counts.decode())
    # pycocotools' merge stops where an empty run of one mask meets an empty run of another.
    return rle if np.all(runs[1:]) else encode(decode(rle))


def _checked_runs(counts: Any, num_pixels: int, where: str) -> NDArray[np.int64]:
    try:
        runs = np.array(counts) if isinstance(counts, list) else _decompressed(counts)
    except (OverflowError, TypeError, ValueError):
        runs = np.empty(0)
    # The bound on each run comes before the sum, which could wrap around without it.
    good = runs.dtype.kind == "i" and runs.ndim == 1 and runs.size and runs.min() >= 0 and runs.max() <= num_pixels
    expected = f"runs of 0 or more pixels, as a list or compressed, that add up to height x width, {num_pixels}"
    expect(good and runs.sum() == num_pixels, where, expected, counts)
    return runs


def _decompressed(counts: str | bytes) -> NDArray[np.int64]:
    """The runs behind compressed text, (R,) of any sign; ValueError if it is no such text.

    A number is a little-endian string of 5-bit digits, each a character from 48 on; bit 5 says that another
    follows, bit 4 of the last is the sign. From the fourth on a number is the difference to the one two before.
    """
    text = np.frombuffer(counts.encode("ascii") if isinstance(counts, str) else counts, np.uint8)
    if not text.size or text.min() < 48 or text.max() > 111:
        raise ValueError("a character is outside the code")
    codes = text - np.uint8(48)
    ends = np.flatnonzero(codes < 32)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends + 1 - starts  # characters of each number
    if codes[-1] >= 32 or lengths.max() > _MAX_DIGITS:
        raise ValueError("a number has no end")
    shifts = 5 * (np.arange(codes.size) - np.repeat(starts, lengths))
    numbers = np.add.reduceat((codes & 31) << shifts, starts)
    numbers -= (codes[ends] >> 4).astype(np.int64) << (5 * lengths)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def run_lengths(rle: Rle) -> NDArray[np.int64]:
    """The runs of a checked mask, (R,) int64 in pixels: outside, inside, outside, ..."""
    return _decompressed(rle["counts"])


def _from_polygons(polygons: list[Any], height: int, width: int, where: str) -> Rle:
    expect(polygons, where, "at least one polygon, or null for a frame without the object", polygons)
    points = [_checked_polygon(polygon, height, width, f"{where}[{index}]") for index, polygon in enumerate(polygons)]
    merged = coco_mask.merge(coco_mask.frPyObjects(points, height, width))
    return Rle(size=[height, width], counts=merged["counts"].decode())


def _checked_polygon(polygon: Any, height: int, width: int, where: str) -> list[float]:
    try:
        numbers = np.array(polygon)
    except (OverflowError, ValueError):
        numbers = np.empty(0)
    good = numbers.dtype.kind in "if" and numbers.ndim == 1 and numbers.size >= 6 and numbers.size % 2 == 0
    expect(good, where, "a flat list x, y, x, y, ... of at least three points", polygon)
    points, frame = numbers.reshape(-1, 2).astype(np.float64), np.array([width, height])
    near = np.all((points >= -frame) & (points <= 2 * frame))  # not a number compares as false
    expect(near, where, f"points in or near the frame of {width} x {height} pixels", polygon)
    perimeter = np.abs(np.diff(points, axis=0, append=points[:1])).sum()
    expect(perimeter <= _MAX_PERIMETER * (height + width), where, f"at most {_MAX_PERIMETER} times around", polygon)
    flat: list[float] = points.ravel().tolist()
    return flat


def encode(mask: NDArray[np.bool_]) -> Rle:
    """The run-length code of a mask, (H, W) bool."""
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return Rle(size=[int(side) for side in rle["size"]], counts=rle["counts"].decode())


def decode(rle: Rle) -> NDArray[np.bool_]:
    """The mask of a checked run-length code, (H, W) bool; columns are contiguous, as in the code."""
    height, width = rle["size"]
    runs = run_lengths(rle)  # not pycocotools' decode, which warns under numpy 2 and is slower
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def area(rle: Rle) -> int:
    """Pixels inside a checked mask."""
    return int(coco_mask.area(rle))


def intersection(first: Rle, second: Rle) -> int:
    """Pixels inside both of two checked masks of one size."""
    return int(coco_mask.area(coco_mask.merge([first, second], intersect=True)))


def box(rle: Rle) -> tuple[int, int, int, int] | None:
    """The tight box (x, y, width, height) of a checked mask, in pixels; None if the mask is empty."""
    x, y, width, height = (int(side) for side in coco_mask.toBbox(rle))
    return (x, y, width, height) if width and height else None
