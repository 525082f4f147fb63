"""Strata of videos whose squares are moved by hand."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from ifrvis.datasets.rle import encode
from ifrvis.datasets.stats import _covered
from ifrvis.datasets.strata import Strata, crossings, strata_of
from ifrvis.datasets.ytvis import Annotations, Category, Track, Video


def track(lefts, *, category_id=1, is_crowd=False, widths=None):
    """A square of 10 pixels with its left side at these places, of which some columns are seen; None: nothing is."""
    masks = []
    for left, width in zip(lefts, widths or [10] * len(lefts), strict=True):
        mask = np.zeros((20, 60), bool)
        mask[5:15, (left or 0) : (left or 0) + width] = True
        masks.append(None if left is None else encode(mask))
    return Track(0, 0, category_id, tuple(masks), (None,) * len(masks), is_crowd)


STAYS = track([0, 0, 0, 0])
CASES = {
    "alone": ([STAYS], Strata(False, False, False)),
    "nothing": ([], Strata(False, False, False)),
    "apart": ([STAYS, track([40, 40, 40, 40])], Strata(False, False, True)),
    "overlap of a fifth": ([STAYS, track([40, 20, 8, 20])], Strata(True, False, True)),
    "overlap of a tenth": ([STAYS, track([40, 20, 9, 20])], Strata(False, False, True)),
    "at another time": ([track([0, 0, None, None]), track([None, None, 0, 0])], Strata(False, False, True)),
    "of another class": ([STAYS, track([0, 0, 0, 0], category_id=2)], Strata(False, False, False)),
    "a crowd": ([STAYS, track([0, None, 0, 0], is_crowd=True)], Strata(False, False, False)),
    "away and back": ([track([0, None, None, 0])], Strata(False, True, False)),
    "mostly hidden": ([track([0, 0, 0, 0], widths=[10, 4, 10, 10])], Strata(False, True, False)),
    "half hidden": ([track([0, 0, 0, 0], widths=[10, 5, 10, 10])], Strata(False, False, False)),
    "away for good": ([track([0, 0, None, None])], Strata(False, False, False)),
    "late": ([track([None, 0, 0, 0], widths=[10, 3, 10, 10])], Strata(False, False, False)),
    "never seen": ([track([None] * 4)], Strata(False, False, False)),
}


@pytest.mark.parametrize("case", CASES)
def test_strata_are_those_seen_by_hand(case):
    tracks, expected = CASES[case]
    video, categories = Video(0, 60, 20, ("a.jpg",) * 4, "v"), (Category(1, "a"), Category(2, "b"))
    assert strata_of(Annotations(Path("gt.json"), categories, (video,), tuple(tracks))) == {0: expected}


def test_hundreds_of_objects_are_counted_pair_by_pair_in_little_memory(rng):
    boxes = rng.integers(1, 50, (200, 100, 4))
    tracemalloc.start()
    found = crossings([1, 2] * 100, boxes), _covered(boxes[:, 0])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24
    pixels = np.zeros((99, 99))
    for x, y, width, height in boxes[:, 0]:
        pixels[x : x + width, y : y + height] = 1
    assert found == (2 * sum(range(100)), pixels.sum())


def test_long_videos_have_more_frames_than_the_median_one():
    videos = tuple(Video(k, 60, 20, ("a.jpg",) * length, f"v{k}") for k, length in enumerate((4, 9, 6, 6, 7)))
    found = strata_of(Annotations(Path("gt.json"), (Category(1, "a"),), videos, ()))
    assert [each.long for each in found.values()] == [False, True, False, False, True]
