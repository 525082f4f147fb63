"""Strata of the videos of a set, read from masks and classes alone, so that made and real sets are asked the same.

Shape letters:
    N  objects of a video
    T  frames
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ifrvis.datasets.rle import Rle, area, box
from ifrvis.datasets.ytvis import Annotations, Id

MIN_OVERLAP = 0.2  # of the smaller of two boxes, for a crossing
HIDDEN = 0.5  # of an object's median area: where less is seen, it is hidden


@dataclass(frozen=True)
class Strata:
    """What a video belongs to."""

    crossing: bool  # two objects of one class meet: see `crossings`
    occlusion: bool  # an object is hidden for a while: see `hidden_for_a_while`
    twins: bool  # two objects are of one class
    long: bool = False  # it has more frames than the split's median video


def strata_of(annotations: Annotations) -> dict[Id, Strata]:
    """The strata of each video of a split; crowds are no objects."""
    usual = median(video.length for video in annotations.videos)
    found = {}
    for video in annotations.videos:
        tracks = annotations.objects_of(video.id)
        labels, geometry = [track.category_id for track in tracks], geometry_of([track.masks for track in tracks])
        found[video.id] = strata_of_video(labels, *geometry, long=video.length > usual)
    return found


def geometry_of(tubes: Sequence[Sequence[Rle | None]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(N, T) areas and (N, T, 4) boxes x, y, width, height of what is seen of objects, in pixels; 0 for nothing."""
    areas = [[0 if mask is None else area(mask) for mask in tube] for tube in tubes]
    boxes = [[(mask and box(mask)) or (0, 0, 0, 0) for mask in tube] for tube in tubes]
    frames = len(tubes[0]) if tubes else 0
    shape = len(tubes), frames
    return np.array(areas, np.int64).reshape(shape), np.array(boxes, np.int64).reshape(*shape, 4)


def strata_of_video(
    labels: Sequence[Any], areas: NDArray[np.int64], boxes: NDArray[np.int64], *, long: bool = False
) -> Strata:
    """The strata of a video by the classes of its objects and what `geometry_of` gives."""
    hidden = any(hidden_for_a_while(each) for each in areas)
    return Strata(bool(crossings(labels, boxes)), hidden, len(set(labels)) < len(labels), long)


def crossings(labels: Sequence[Any], boxes: NDArray[np.int64]) -> int:
    """Pairs of objects of one class whose boxes share MIN_OVERLAP of the smaller in some frame."""
    sizes, count = boxes[..., 2:].prod(-1), 0
    for one, label in enumerate(labels):  # all pairs of hundreds of objects at once would take gigabytes
        alike = [other for other in range(one) if labels[other] == label]
        pixels, smaller = shared(boxes[one], boxes[alike]), np.minimum(sizes[one], sizes[alike])
        count += int(((pixels > 0) & (pixels >= MIN_OVERLAP * smaller)).any(-1).sum())
    return count


def shared(boxes: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pixels that boxes x, y, width, height share with others: two (..., 4) that broadcast to (...)."""
    low, other_low = boxes[..., :2], others[..., :2]
    high = np.minimum(low + boxes[..., 2:], other_low + others[..., 2:])
    pixels: NDArray[np.int64] = np.maximum(high - np.maximum(low, other_low), 0).prod(-1)
    return pixels


def hidden_for_a_while(areas: NDArray[np.int64]) -> bool:
    """Whether an object, by its (T,) areas, is seen well, then less than HIDDEN of it or nothing, then well again."""
    if not areas.any():
        return False
    well = np.flatnonzero(areas >= HIDDEN * np.median(areas[areas > 0]))
    return bool(np.diff(well).max(initial=0) > 1)
