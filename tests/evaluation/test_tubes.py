"""Areas, boxes and overlaps of tubes beside those of their pixels."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifrvis.datasets.rle import Tube, checked_tube, decode, encode, runs_of
from ifrvis.datasets.ytvis import Video
from ifrvis.evaluation import tubes
from ifrvis.evaluation.tubes import boxes, overlaps


@st.composite
def scenes(draw):
    """A video of a few pixels, with tracks of noise, full frames and empty ones; some too short, some with runs."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    height, width, length = (int(n) for n in rng.integers(1, [9, 9, 5]))

    def track(length):
        share = rng.choice([0, 0.1, 0.5, 0.9, 1])
        masks = [None if rng.random() < 0.2 else encode(rng.random((height, width)) < share) for _ in range(length)]
        return checked_tube(masks, height, width, "here", keep_runs=bool(rng.random() < 0.5))

    preds, gts = ([track(length) for _ in range(rng.integers(4))] for _ in range(2))
    return Video(1, width, height, ("0.jpg",) * length, "v"), [*preds, track(length - 1)], gts


def pixels(video, track):
    """(T, H, W) bool."""
    empty = np.zeros((video.height, video.width), bool)
    return np.array([empty if t >= len(track) or track[t] is None else decode(track[t]) for t in range(video.length)])


@pytest.mark.parametrize("size_of_a_pass", [1, 200, 1 << 21])
@settings(max_examples=60)
@given(scene=scenes())
def test_areas_boxes_and_overlaps_are_those_of_the_pixels(scene, size_of_a_pass):
    video, preds, gts = scene
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tubes, "_PASS", size_of_a_pass)
        found, found_boxes = overlaps(video, preds, gts), boxes(video, preds)
    for d, pred in enumerate(pixels(video, track) for track in preds):
        assert found.pred_areas[:, d].tolist() == pred.sum(axis=(1, 2)).tolist()
        for g, gt in enumerate(pixels(video, track) for track in gts):
            assert found.shared[:, d, g].tolist() == (pred & gt).sum(axis=(1, 2)).tolist()
            assert found.gt_areas[:, g].tolist() == gt.sum(axis=(1, 2)).tolist()
        for t, mask in enumerate(pred):
            ys, xs = np.nonzero(mask)
            tight = [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1] if xs.size else [0, 0, 0, 0]
            assert found_boxes[t, d].tolist() == tight


@settings(max_examples=60)
@given(scenes(), st.sampled_from([0.1, 0.5, 1.0]))
def test_pairs_that_do_not_matter_count_as_disjoint_and_the_others_are_right(scene, least_iou):
    video, preds, gts = scene
    wanted = np.add.outer(np.arange(len(preds)), np.arange(len(gts))) % 3 > 0
    found, exact = overlaps(video, preds, gts, pairs=wanted, least_iou=least_iou), overlaps(video, preds, gts)
    shared = exact.shared.sum(axis=0)
    unions = exact.pred_areas.sum(axis=0)[:, None] + exact.gt_areas.sum(axis=0) - shared
    needed = wanted & (shared >= least_iou * unions)
    np.testing.assert_array_equal(found.shared[:, needed], exact.shared[:, needed])
    assert not found.shared[:, ~wanted].any()
    assert np.all((found.shared == exact.shared) | (found.shared == 0))


def test_large_frames_do_not_overflow():
    side = 16384  # 2**28 pixels a mask, so that the runs of 20 of them add up to more than 32 bits hold
    video = Video(1, side, side, ("0.jpg",) * 20, "v")
    runs = [side, side * (side - 2), side]  # all but the first and last column
    track = checked_tube([{"size": [side, side], "counts": runs}] * 20, side, side, "here")
    found = overlaps(video, [track], [track])
    assert found.shared.sum() == found.pred_areas.sum() == 20 * runs[1]
    assert boxes(video, [track])[19, 0].tolist() == [1, 0, side - 2, side]


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=9), min_size=1, max_size=5))
def test_masks_decoded_together_have_the_runs_of_each(many):
    masks = [encode(np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(-1, 1)) for runs in many if sum(runs)]
    if masks:
        lengths, starts = runs_of(masks)
        parts = np.split(lengths, starts[1:])
        assert [part.tolist() for part in parts] == [runs_of([mask]).lengths.tolist() for mask in masks]


def test_a_tube_is_a_tuple_that_leaves_its_runs_behind():
    mask = encode(np.eye(4, dtype=bool))
    tube = checked_tube([mask, None], 4, 4, "here", keep_runs=True)
    assert tube == (mask, None)
    assert json.loads(json.dumps(tube)) == [mask, None]
    copied = pickle.loads(pickle.dumps(tube))
    assert isinstance(copied, Tube)
    assert (copied, copied.runs) == (tube, None)
