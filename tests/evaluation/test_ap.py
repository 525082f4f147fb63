"""Every number of AP beside the official evaluator, a slow reference and cases worked by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluation import slow_ap
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_sets import with_copies

from ifrvis.datasets.rle import encode
from ifrvis.datasets.ytvis import Annotations, Category, Track, Video, open_annotations, read_annotations
from ifrvis.evaluation.ap import ap_of, average_precision, detections
from ifrvis.evaluation.predictions import Prediction, open_tracks, read_results

CASES = sorted((Path(__file__).parents[1] / "data/oracle/ap").iterdir())
KEYS = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
FRAMES, SIDE = 3, 6


def official(value):
    """Our None is the official -1."""
    return -1 if value is None else value


def agree(ours, expected):
    assert [official(ours[key]) for key in KEYS] == pytest.approx([expected[key] for key in KEYS], abs=1e-9)
    for key in ("AP_by_iou", "AR100_by_iou"):
        assert [official(value) for value in ours[key]] == pytest.approx(expected[key], abs=1e-9)
    assert ours["per_category"].keys() == expected["per_category"].keys()
    for category, statistics in expected["per_category"].items():
        assert [official(ours["per_category"][category][key]) for key in statistics] == pytest.approx(
            list(statistics.values()), abs=1e-9
        )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_number_is_the_official_one(case, tmp_path):
    """Of files that are read video by video, and as a whole."""
    expected = json.loads((case / "expected.json").read_text())
    filed = open_annotations(case / "gt.json", lambda *_: None)
    found = open_tracks(case / "pred.json", filed, "entries", tmp_path, lambda *_: None, official_quirks=True)
    agree(average_precision(filed, found.tracks, official_quirks=True), expected)
    if not expected["quirk"]:
        annotations = read_annotations(case / "gt.json")
        agree(average_precision(annotations, read_results(case / "pred.json", annotations)), expected)


def tube(*boxes):
    """A track of boxes (x, y, width, height), one or None a frame, on 10 x 10 pixels."""
    masks = [None if box is None else np.zeros((10, 10), bool) for box in boxes]
    for mask, box in zip(masks, boxes):
        if mask is not None:
            mask[box[1] : box[1] + box[3], box[0] : box[0] + box[2]] = True
    return tuple(None if mask is None else encode(mask) for mask in masks)


def ground_truth(*tracks, length=2):
    videos = (Video(1, 10, 10, ("0.jpg",) * length, "v"),)
    return Annotations(Path("gt.json"), (Category(1, "a"), Category(2, "b")), videos, tracks)


def track(masks, track_id=1, **changes):
    return replace(Track(track_id, 1, 1, masks, (None,) * len(masks)), **changes)


BOX = (0, 0, 4, 5)


def test_sizes_come_from_the_masks_and_officially_from_the_file():
    gt = ground_truth(track(tube(BOX, BOX), areas=(128.0**2 + 1, None)))
    predictions = [Prediction(1, 1, 0.9, tube(BOX, BOX))]
    ours, theirs = (average_precision(gt, predictions, official_quirks=quirks) for quirks in (False, True))
    assert (ours["ARs"], ours["ARm"]) == (1, None)
    assert (theirs["ARs"], theirs["ARm"]) == (None, 1)


def test_a_length_that_differs_is_refused_but_officially_cut():
    gt = ground_truth(track(tube(BOX, BOX)))
    short = [Prediction(1, 1, 0.9, tube(BOX))]
    with pytest.raises(ValueError, match="prediction 0 has 1 masks, its video 2 frames"):
        average_precision(gt, short)
    assert average_precision(gt, short, official_quirks=True)["AP"] == pytest.approx(1)


def test_unknown_video_or_category_is_refused():
    for prediction in (Prediction(2, 1, 0.9, tube(BOX, None)), Prediction(1, 3, 0.9, tube(BOX, None))):
        with pytest.raises(ValueError, match=r"prediction 0 is about a video or category that gt\.json does not have"):
            average_precision(ground_truth(), [prediction])


def test_no_prediction_is_ap_zero_and_no_ground_truth_is_undefined():
    assert average_precision(ground_truth(track(tube(BOX, BOX))), [])["AP"] == 0
    result = average_precision(ground_truth(), [Prediction(1, 1, 0.9, tube(BOX, BOX))])
    assert [result[key] for key in KEYS] == [None] * len(KEYS)
    assert result["AP_by_iou"] == [None] * 10


videos = st.integers(1, 3)
# Full masks, noise and few pixels: runs that go on in the next column, and many strips in one.
frames = st.sampled_from([0.05, 0.5, 0.9, 1.0]).flatmap(
    lambda share: arrays(float, (SIDE, SIDE), elements=st.floats(0, 1)).map(lambda noise: noise <= share)
)
tubes = st.lists(st.none() | frames, min_size=FRAMES, max_size=FRAMES).map(
    lambda masks: tuple(None if mask is None else encode(mask) for mask in masks)
)
gt_tracks = st.lists(st.tuples(videos, st.integers(1, 2), tubes), min_size=1, max_size=5)
pred_tracks = st.lists(st.tuples(videos, st.integers(1, 2), tubes), max_size=6)
scores = st.sampled_from([0.2, 0.5, 0.9])  # with ties


def annotated(tracks, crowds=()):
    return Annotations(
        Path("gt.json"),
        (Category(1, "a"), Category(2, "b")),
        tuple(Video(k, SIDE, SIDE, ("0.jpg",) * FRAMES, "v") for k in (3, 1, 2)),
        tuple(Track(k, *of, (None,) * FRAMES, is_crowd=k in crowds) for k, of in enumerate(tracks)),
    )


@settings(max_examples=60)
@given(gt_tracks, pred_tracks, st.sets(st.integers(0, 4)), st.booleans(), st.data())
def test_every_number_is_that_of_the_slow_reference(tracks, predicted, crowds, quirks, data):
    predicted = predicted + data.draw(st.lists(st.sampled_from(tracks)))  # some that overlap
    predictions = [Prediction(v, c, data.draw(scores), masks) for v, c, masks in predicted]
    if quirks:
        predictions = [replace(p, masks=p.masks[: data.draw(st.integers(1, FRAMES))]) for p in predictions]
    found = average_precision(annotated(tracks, crowds), predictions, official_quirks=quirks)
    expected = slow_ap.average_precision(annotated(tracks, crowds), predictions, official_quirks=quirks)
    assert_close(found, expected)


@settings(max_examples=15)
@given(
    gt_tracks,
    pred_tracks,
    st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=1, max_size=60),
    st.data(),
)
def test_ap_of_weighed_videos_is_that_of_so_many_copies(tracks, predicted, weights, data):
    predicted = predicted + data.draw(st.lists(st.sampled_from(tracks)))
    gt = annotated(tracks)
    predictions = [Prediction(v, c, 0.9 - 0.01 * k, masks) for k, (v, c, masks) in enumerate(predicted)]
    found = ap_of(list(detections(gt, predictions)), np.array(weights))
    for ap, times in list(zip(found, weights, strict=True))[-2:]:
        copies = {video.id: range(10 * video.id, 10 * video.id + times[video.id - 1]) for video in gt.videos}
        expected = slow_ap.average_precision(*with_copies(gt, predictions, copies))["AP"]
        assert ap == pytest.approx(np.nan if expected is None else expected, abs=1e-9, nan_ok=True)


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        if isinstance(value, dict):
            assert_close(found[key], value)
        else:
            assert found[key] == (value if value is None else pytest.approx(value, abs=1e-9))


def test_processes_that_share_the_videos_change_nothing(case):
    assert average_precision(*case, jobs=2) == average_precision(*case)
    with pytest.raises(ValueError, match="Give --jobs 1 or more, got 0"):
        average_precision(*case, jobs=0)
