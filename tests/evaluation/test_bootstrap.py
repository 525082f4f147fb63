"""Intervals over videos: what runs share, values that are those of so many copies, ends that are those of theory."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from ifrvis.datasets.ytvis import Annotations, read_annotations
from ifrvis.errors import UserError
from ifrvis.evaluation.ap import average_precision, detections
from ifrvis.evaluation.bootstrap import difference_intervals, draws, interval_of, intervals_of, values_of
from ifrvis.evaluation.identity import identity_errors
from ifrvis.evaluation.predictions import read_results
from ifrvis.evaluation.protocols import load_protocol
from ifrvis.evaluation.tracking import follow
from ifrvis.evaluation.videos import Videos

ALL = load_protocol("all")


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr("ifrvis.evaluation.bootstrap.RESAMPLES", 12)


@pytest.fixture
def case(request):
    """Ground truth and results of one of the oracle's cases."""
    folder = request.path.parents[1] / "data/oracle/ap/07"
    annotations = read_annotations(folder / "gt.json")
    return annotations, read_results(folder / "pred.json", annotations)


def videos_of(annotations, predictions):
    """What the videos add, with every entry tracked."""
    counts = follow(annotations, predictions, [ALL])["all"].counts
    tracking = tuple({"matched": each} for each in counts)
    of_ap = tuple(detections(annotations, predictions))
    identity = tuple(each.counts for each in identity_errors(annotations, predictions))
    parts = {"detections": of_ap, "tracking": tracking, "identity": identity}
    return Videos.model_construct(video_ids=tuple(sorted(annotations.video_by_id)), **parts)


def test_values_of_a_resample_are_those_of_ground_truth_and_predictions_with_copies_of_videos(case, monkeypatch):
    monkeypatch.setattr("ifrvis.evaluation.bootstrap.LEAST_VIDEOS", 2)
    annotations, predictions = case
    videos = videos_of(*case)
    weights, found = draws("set", videos.video_ids, resamples=12, seed=0), values_of(videos, "set")
    assert {"AP", "IDF1", "MOTA", "HOTA", "IDs"} <= found.keys()
    for resample, times in enumerate(weights):
        copies = {v: range(100 * v, 100 * v + n) for v, n in zip(videos.video_ids, times.tolist(), strict=True)}
        several = Annotations(
            annotations.path,
            annotations.categories,
            tuple(replace(each, id=copy) for each in annotations.videos for copy in copies[each.id]),
            tuple(replace(each, video_id=copy) for each in annotations.tracks for copy in copies[each.video_id]),
        )
        copied = [replace(each, video_id=copy) for each in predictions for copy in copies[each.video_id]]
        plain = {"AP": average_precision(several, copied)["AP"], **follow(several, copied, [ALL])["all"].metrics}
        expected = {name: np.nan if value is None else value for name, value in plain.items()}
        assert {name: of[resample] for name, of in found.items()} == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_draws_are_of_the_set_and_its_videos_alone():
    first = draws("set", (1, 2, 3), resamples=500, seed=0)
    assert first[0].tolist() == [1, 1, 1]
    assert set(first.sum(axis=1)) == {3}
    assert first[1:].mean(axis=0) == pytest.approx([1, 1, 1], abs=0.12)
    assert np.array_equal(first, draws("set", (1, 2, 3), resamples=500, seed=0))
    for other in (("other", (1, 2, 3), 0), ("set", (1, 2, 4), 0), ("set", (1, 2, 3), 1)):
        assert not np.array_equal(first, draws(*other[:2], resamples=500, seed=other[2]))


def test_a_difference_is_of_means_over_runs_in_the_same_resample():
    easy = np.linspace(0, 1, 101)  # how easy the videos of a resample are
    runs = [{"AP": easy + 0.1}, {"AP": easy + 0.3}]
    assert intervals_of([runs, [{"AP": easy}]]) == {"AP": (pytest.approx(0.2), pytest.approx(0.2))}
    gained = intervals_of([runs, [{"AP": easy}], [{"AP": 2 * easy}], [{"AP": easy}]])
    assert gained["AP"] == pytest.approx(interval_of(0.2 - easy))
    assert intervals_of([[{"AP": np.append(np.nan, easy)}], [{"AP": np.append(0, easy)}]]) == {}


def test_the_interval_of_a_mean_is_the_normal_one(rng):
    of_videos = rng.normal(0.4, 0.2, 400)
    weights = draws("set", range(400), resamples=20_000, seed=0)
    half = norm.ppf(0.975) * of_videos.std(ddof=1) / 20
    expected = (of_videos.mean() - half, of_videos.mean() + half)
    assert interval_of(weights @ of_videos / 400) == pytest.approx(expected, abs=half / 20)


def test_few_videos_are_not_drawn_from(case):
    with pytest.raises(UserError, match="Take 20 videos or more to draw from: these are "):
        values_of(videos_of(*case), "set")


def test_a_run_differs_from_itself_in_nothing_and_from_a_worse_one_clearly(case):
    annotations, predictions = case
    often = {v: range(100 * v, 100 * v + 20) for v in annotations.video_by_id}
    many = Annotations(
        annotations.path,
        annotations.categories,
        tuple(replace(each, id=copy) for each in annotations.videos for copy in often[each.id]),
        tuple(replace(each, video_id=copy) for each in annotations.tracks for copy in often[each.video_id]),
    )
    copied = [replace(each, video_id=copy) for each in predictions for copy in often[each.video_id]]
    videos, worse = videos_of(many, copied), videos_of(many, copied[::2])
    alone = difference_intervals([videos, videos], [videos])
    assert set(alone.values()) == {(0.0, 0.0)}
    found = difference_intervals([videos], [worse])
    assert found["IDR"][0] > 0
    assert found["misses"][1] < 0
    assert found == difference_intervals([videos], [worse])
