"""Intervals over videos: what runs share, values that are those of so many copies, ends that are those of theory."""

import numpy as np
import pytest
from made_sets import videos_of, with_copies
from scipy.stats import norm

from ifrvis.errors import UserError
from ifrvis.evaluation.ap import average_precision
from ifrvis.evaluation.bootstrap import difference_intervals, draws, interval_of, intervals_of, values_of
from ifrvis.evaluation.protocols import load_protocol
from ifrvis.evaluation.tracking import follow

ALL = load_protocol("all")


def test_values_of_a_resample_are_those_of_ground_truth_and_predictions_with_copies_of_videos(case, monkeypatch):
    monkeypatch.setattr("ifrvis.evaluation.bootstrap.LEAST_VIDEOS", 2)
    videos = videos_of(*case)
    weights, found = draws("set", videos.video_ids, resamples=12, seed=0), values_of(videos, "set")
    assert {"AP", "IDF1", "MOTA", "HOTA", "IDs"} <= found.keys()
    for resample, times in enumerate(weights):
        copies = {v: range(100 * v, 100 * v + n) for v, n in zip(videos.video_ids, times.tolist(), strict=True)}
        several, copied = with_copies(*case, copies)
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
    many, copied = with_copies(*case, {v: range(100 * v, 100 * v + 20) for v in case[0].video_by_id})
    videos, worse = videos_of(many, copied), videos_of(many, copied[::2])
    alone = difference_intervals([videos, videos], [videos])
    assert set(alone.values()) == {(0.0, 0.0)}
    found = difference_intervals([videos], [worse])
    assert found["IDR"][0] > 0
    assert found["misses"][1] < 0
    assert found == difference_intervals([videos], [worse])
