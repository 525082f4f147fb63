"""The one mask form: COCO's compressed run-length code with its counts as text.

`{"size": [height, width], "counts": "..."}`. Runs go down the columns from the top left and alternate between
outside and inside, outside first; every run but the first is positive. Whatever comes from a file passes
`checked_rle` or `checked_tube` before compiled code sees it: pycocotools believes its input, and decodes counts that
are too short into uninitialised memory.

Shape letters:
    H, W  mask height and width, in pixels
    M     masks
    R     runs of one mask, or of all together
"""

import reprlib
from collections.abc import Sequence
from typing import Any, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from ifrvis.errors import UserError

_SHORT = reprlib.Repr()
_SHORT.maxlevel = 2  # a message shows what kind of thing a file has, not a page of it
MAX_SIDE = 16384  # pixels; keeps H x W far below pycocotools' 32-bit counts
_MAX_DIGITS = 6  # characters of one number; 6 x 5 bits hold any run of MAX_SIDE squared, and any difference
_MAX_PERIMETER = 1000  # of a polygon, in units of H + W: rasterising takes memory in proportion to it


class Rle(TypedDict):
    """A mask: `size` is [height, width] in pixels, `counts` the compressed runs as ASCII text."""

    size: list[int]
    counts: str


class Runs(NamedTuple):
    """The runs of some masks, one mask after the other."""

    lengths: NDArray[np.int32]  # (R,) pixels: outside, inside, outside, ... of each mask
    starts: NDArray[np.int64]  # (M,) where the runs of each mask begin


class Tube(tuple[Rle | None, ...]):
    """The checked masks of one track, one or None a frame, with the runs that the check has decoded."""

    runs: Runs | None = None  # of the masks that are not None

    def __reduce__(self) -> tuple[Any, ...]:
        return Tube, (tuple(self),)  # another process decodes faster than it receives


def expect(condition: Any, where: str, expected: str, got: Any) -> None:
    """Refuse a value of a file (UserError) unless `condition`; `where` is the file, index and field."""
    if not condition:
        raise UserError(f"Correct {where}: expected {expected}, got {_SHORT.repr(got)}.")


def checked_rle(segmentation: Any, height: int, width: int, where: str, *, skip_lines: bool = False) -> Rle:
    """The one mask form of a segmentation in any form that COCO knows; UserError, which says `where`, if it is no such
    thing, or does not cover exactly `height` x `width` pixels, at most MAX_SIDE each.

    These are polygons (a list of flat lists x, y, x, y, ... in pixels) or an object with `size` and `counts`, a list of
    runs or their compressed text (str or bytes). With `skip_lines` polygons of fewer than three points, which have no
    area, are left out.
    """
    if isinstance(segmentation, list):
        return _from_polygons(segmentation, height, width, where, skip_lines)
    expect(isinstance(segmentation, dict), where, "null, a list of polygons or a run-length code", segmentation)
    size, counts = segmentation.get("size"), segmentation.get("counts")
    expect(size == [height, width], f"{where}.size", f"the video's [{height}, {width}]", size)
    runs = _checked_runs(counts, height * width, f"{where}.counts")
    if isinstance(counts, list):
        counts = coco_mask.frPyObjects({"size": size, "counts": runs.tolist()}, height, width)["counts"]
    rle = Rle(size=[height, width], counts=counts if isinstance(counts, str) else counts.decode())
    # Equal masks have equal codes; and pycocotools' merge would stop where empty runs of two masks meet.
    return rle if np.all(runs[1:]) else encode(decode(rle))


def checked_tube(segmentations: Sequence[Any], height: int, width: int, where: str, *, keep_runs: bool = False) -> Tube:
    """`checked_rle` of each segmentation that is not None; in one pass where all are compressed and clean. UserError as
    `checked_rle`.

    Args:
        segmentations: One or None a frame.
        height: As in `checked_rle`.
        width: As in `checked_rle`.
        where: File, index and field, for errors, which add the frame.
        keep_runs: Whether the track keeps its runs: they are soon needed, and worth four bytes each.
    """
    given, size = [each for each in segmentations if each is not None], [height, width]
    compressed = all(isinstance(e, dict) and e.get("size") == size and isinstance(e.get("counts"), str) for e in given)
    runs = _clean_runs([each["counts"] for each in given], height * width) if compressed else None
    if runs is None:
        numbered = enumerate(segmentations)
        return Tube(e if e is None else checked_rle(e, height, width, f"{where}[{frame}]") for frame, e in numbered)
    tube = Tube(e if e is None else Rle(size=[height, width], counts=e["counts"]) for e in segmentations)
    if keep_runs:
        tube.runs = runs
    return tube


def _clean_runs(texts: list[str], num_pixels: int) -> Runs | None:
    """The runs of masks of this many pixels in which no run but the first is empty; None if one is no such mask."""
    try:
        runs, starts = _decompressed(texts)
    except ValueError:  # no texts at all, too
        return None
    num_empty = np.count_nonzero(runs == 0) - np.count_nonzero(runs[starts] == 0)
    return Runs(runs, starts) if num_empty == 0 and _fill(runs, starts, num_pixels) else None


def _fill(runs: NDArray[np.signedinteger[Any]], starts: list[int] | NDArray[np.int64], num_pixels: int) -> bool:
    """Whether the runs of each mask are 0 or more and add up to its pixels."""
    if runs.min() < 0 or runs.max() > num_pixels:  # before the sums, which could wrap around
        return False
    return bool(np.all(np.add.reduceat(runs, starts, dtype=np.int64) == num_pixels))


def _checked_runs(counts: Any, num_pixels: int, where: str) -> NDArray[np.signedinteger[Any]]:
    text = counts.decode("latin-1") if isinstance(counts, bytes) else counts
    try:
        if isinstance(counts, list):  # numpy takes true for 1
            runs = np.array(counts if all(type(run) is int for run in counts) else [])
        else:
            runs = _decompressed([text]).lengths
    except (OverflowError, TypeError, ValueError):
        runs = np.empty(0)
    good = runs.dtype.kind == "i" and runs.ndim == 1 and runs.size and _fill(runs, [0], num_pixels)
    expected = f"runs of 0 or more pixels, as a list or compressed, that add up to height x width, {num_pixels}"
    expect(good, where, expected, counts)
    return runs


def _decompressed(texts: Sequence[str]) -> Runs:
    """The runs behind one or more compressed texts, decoded in one pass; ValueError if one is no such text.

    A number is a little-endian string of 5-bit digits, each a character from 48 on; bit 5 says that another
    follows, bit 4 of the last is the sign. From the fourth of a mask on it is the difference to the one two before.
    Runs are right up to the first that no mask can have; that one shows, and what follows it may have wrapped around.
    """
    ends = np.cumsum([len(text) for text in texts])
    digits = np.frombuffer("".join(texts).encode("ascii"), np.uint8) - np.uint8(48)
    more = digits > 31
    if not all(texts) or digits.max() > 63 or more[ends - 1].any():
        raise ValueError("a text is empty, a character is outside the code or a number has no end")
    leading = np.flatnonzero(more)  # the digits that others of their number follow
    numbers = ((digits ^ 16) - np.uint8(16)).view(np.int8).take(np.flatnonzero(~more)).astype(np.int32)
    index = np.flatnonzero(~more[leading + 1])  # in `leading`: the last but one of each number, then the one before it
    for _ in range(_MAX_DIGITS - 1):
        number = leading[index] - index
        numbers[number] = (numbers[number] << 5) + (digits[leading[index]] & 31)
        index = index[(index > 0) & (leading[index - 1] == leading[index] - 1)] - 1
    if index.size:
        raise ValueError("a number has no end")
    stops = ends - np.searchsorted(leading, ends)
    return _undifferenced(numbers, np.concatenate(([0], stops[:-1])), stops)


def _undifferenced(numbers: NDArray[np.int32], starts: NDArray[np.int64], stops: NDArray[np.int64]) -> Runs:
    """Runs from numbers, in place: each parity of places is summed up, over all masks at once, from 0 in each."""
    firsts = numbers[starts]
    numbers[starts] = 0  # no later number is a difference to the first of its mask
    for parity in (0, 1):
        sums = np.zeros(len(numbers[parity::2]) + 1, np.int32)
        np.cumsum(numbers[parity::2], out=sums[1:], dtype=np.int32)
        low, high = (starts + 1 - parity) // 2, (stops + 1 - parity) // 2
        np.subtract(sums[1:], np.repeat(sums[low], high - low), out=numbers[parity::2])
    numbers[starts] = firsts
    return Runs(numbers, starts)


def runs_of(rles: Sequence[Rle]) -> Runs:
    """The runs of one or more checked masks, decoded in one pass."""
    return _decompressed([rle["counts"] for rle in rles])


def _from_polygons(polygons: list[Any], height: int, width: int, where: str, skip_lines: bool) -> Rle:
    expect(polygons, where, "at least one polygon, or null for a frame without the object", polygons)
    points = [
        _checked_polygon(polygon, height, width, f"{where}[{index}]")
        for index, polygon in enumerate(polygons)
        if not (skip_lines and isinstance(polygon, list) and len(polygon) < 6)
    ]
    if not points:
        return encode(np.zeros((height, width), bool))
    merged = coco_mask.merge(coco_mask.frPyObjects(points, height, width))
    return Rle(size=[height, width], counts=merged["counts"].decode())


def _checked_polygon(polygon: Any, height: int, width: int, where: str) -> list[float]:
    try:
        numbers = np.array(polygon)
    except (OverflowError, ValueError):
        numbers = np.empty(0)
    good = numbers.dtype.kind in "if" and numbers.ndim == 1 and numbers.size >= 6 and numbers.size % 2 == 0
    good = good and all(type(number) in (int, float) for number in polygon)  # numpy takes true for 1
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
    runs = runs_of([rle]).lengths  # not pycocotools' decode, which warns under numpy 2 and is slower
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def decode_columns(runs: NDArray[np.int32], height: int) -> tuple[int, NDArray[np.bool_]]:
    """The columns that a mask touches: the first of them, and (columns, H) bool; none for an empty mask."""
    runs = runs[: len(runs) // 2 * 2]  # ends inside
    if not runs.size:
        return 0, np.zeros((0, height), bool)
    first, end = runs[0] // height, -(-int(runs.sum()) // height)
    runs = np.append(runs, end * height - runs.sum())
    runs[0] -= first * height
    return int(first), np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(-1, height)


def area(rle: Rle) -> int:
    """Pixels inside a checked mask."""
    return int(coco_mask.area(rle))


def box(rle: Rle) -> tuple[int, int, int, int] | None:
    """The tight box (x, y, width, height) of a checked mask, in pixels; None if the mask is empty."""
    x, y, width, height = (int(side) for side in coco_mask.toBbox(rle))
    return (x, y, width, height) if width and height else None
