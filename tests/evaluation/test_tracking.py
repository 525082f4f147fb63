"""Tracking beside motmetrics, TrackEval and cases counted by hand, under every protocol.

Also tests: ifrvis.evaluation.hota, ifrvis.evaluation.protocols.
"""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import motmetrics
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_sets import as_json, written

from ifrvis.cli import main
from ifrvis.datasets.rle import encode
from ifrvis.datasets.ytvis import Annotations, Category, Track, Video
from ifrvis.errors import UserError
from ifrvis.evaluation.predictions import Prediction, one_class_each, read_tracks
from ifrvis.evaluation.processes import tasks_of
from ifrvis.evaluation.protocols import halves, load_protocol
from ifrvis.evaluation.scores import RECORDED
from ifrvis.evaluation.tracking import boxes_of, follow

DATA = Path(__file__).parents[1] / "data"
CASES = sorted((DATA / "oracle/tracking").iterdir())
METRICS = ("IDF1", "MOTA", "IDP", "IDR", "IDs")
THREE = [load_protocol(name) for name in RECORDED]
TOP10, ALL = THREE[0], load_protocol("all")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_number_is_that_of_motmetrics_and_trackeval(case, capsys):
    arguments = ["--gt", f"{case}/gt.json", "--pred", f"{case}/pred.json", "--protocol", "all", "--json"]
    assert main(["evaluate", "tracking", *arguments]) == 0
    scores, expected = json.loads(capsys.readouterr().out), json.loads((case / "expected.json").read_text())
    assert [scores[name] for name in METRICS] == pytest.approx([expected[name] for name in METRICS], abs=1e-9)
    hota = json.loads((DATA / "hota.json").read_text())[case.name]
    assert {name: scores[name] for name in hota} == pytest.approx(hota, abs=1e-6)


HOST = motmetrics.metrics.create()
COUNTED = {"frames": "num_frames", "gt_boxes": "num_objects", "pred_boxes": "num_predictions"}
COUNTED |= {"detections": "num_detections", "switches": "num_switches", "id_matches": "idtp"}


def counted_by_motmetrics(task):
    """The same counts of one video."""
    accumulator, found = motmetrics.MOTAccumulator(auto_id=True), boxes_of(*task)
    for gts, preds, ious in zip(*found):
        distances = np.where(ious >= 0.5, 1 - ious, np.nan)[np.ix_(gts, preds)]
        accumulator.update(np.flatnonzero(gts), np.flatnonzero(preds), distances)
    counts = HOST.compute(accumulator, metrics=[*COUNTED.values()], return_dataframe=False)
    return {name: int(counts[key]) for name, key in COUNTED.items()}


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.booleans())
def test_every_count_is_that_of_motmetrics_also_where_choices_are_equally_good(seed, alike):
    annotations, predictions = random_videos(np.random.default_rng(seed), 2, length=12, step=1 if alike else 3)
    found = follow(annotations, predictions, [ALL])["all"].counts
    for load, counts in zip(tasks_of(annotations, predictions, crowds=False), found):
        assert counts.model_dump(include=set(COUNTED)) == counted_by_motmetrics(load())


@pytest.mark.slow
def test_hota_is_trackevals_on_its_committed_cases_and_on_random_ones(tmp_path, rng):
    python = os.environ.get("IFRVIS_REFERENCE_PYTHON")
    if not python:
        pytest.skip("IFRVIS_REFERENCE_PYTHON is not set: no Python with TrackEval here")

    def trackeval(folder):
        command = [python, Path(__file__).parent / "reference/hota.py", folder]
        return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)

    again, committed = trackeval(DATA / "oracle/tracking"), json.loads((DATA / "hota.json").read_text())
    assert again == {case: pytest.approx(of, abs=1e-12) for case, of in committed.items()}
    ours = {}
    for number in range(60):
        annotations, predictions = random_videos(rng, 2, length=12, step=1 + number % 2 * 2)
        folder = tmp_path / str(number)
        folder.mkdir()
        written(folder, as_json(annotations), [each.to_json() for each in predictions])
        found = follow(annotations, predictions, [ALL])["all"].metrics
        ours[folder.name] = {name: found[name] for name in ("HOTA", "DetA", "AssA")}
    assert trackeval(tmp_path) == {case: pytest.approx(of, abs=1e-9) for case, of in ours.items()}


def box(x, y=0, width=4, height=4):
    mask = np.zeros((12, 24), bool)
    mask[y : y + height, x : x + width] = True
    return encode(mask)


def ground_truth(num_videos=1, tracks=(), length=4):
    videos = tuple(Video(k, 24, 12, ("0.jpg",) * length, f"v{k}") for k in range(num_videos))
    return Annotations(Path("gt.json"), (Category(1, "a"), Category(2, "b")), videos, tuple(tracks))


def track(track_id, masks, video_id=0, **changes):
    return Track(track_id, video_id, 1, tuple(masks), (None,) * len(masks), **changes)


def random_videos(rng, num_videos=6, length=5, step=3):
    """Boxes that jump about in `step` columns and rows, with gaps, and predictions near them."""

    def masks(x, y):
        return [
            box(int(x + rng.integers(step)), int(y + rng.integers(step))) if rng.random() < 0.8 else None
            for _ in range(length)
        ]

    tracks, predictions = [], []
    for video_id in range(num_videos):
        corners = rng.integers([18, 6], size=(rng.integers(1, 5), 2))
        tracks += [track(len(tracks) + k, masks(x, y), video_id) for k, (x, y) in enumerate(corners)]
        near = corners[rng.integers(len(corners), size=rng.integers(7))]
        predictions += [Prediction(video_id, 1, float(rng.random()), tuple(masks(x, y))) for x, y in near]
    return ground_truth(num_videos, tracks, length), predictions


def test_numbers_at_a_threshold_are_those_of_the_tracks_that_reach_it(rng):
    annotations, predictions = random_videos(rng)
    curve = follow(annotations, predictions, [load_protocol("matched")])["matched"].curve
    for index in (0, 6, 12, 18):
        kept = [pred for pred in predictions if pred.score >= curve["threshold"][index]]
        expected = follow(annotations, kept, [TOP10])["top10"].metrics | {"threshold": curve["threshold"][index]}
        assert {name: of[index] for name, of in curve.items()} == expected


def test_matched_takes_the_best_threshold_of_the_other_half(rng):
    annotations, predictions = random_videos(rng, 12)
    matched = load_protocol("matched")
    found = follow(annotations, predictions, [matched])["matched"]
    half_of = halves(range(12), matched.seed)
    assert sorted(half_of.values()) == [0] * 6 + [1] * 6
    kept = []
    for half in (0, 1):
        part = annotations.subset([k for k in range(12) if half_of[k] != half])  # the other
        curve = follow(part, [p for p in predictions if half_of[p.video_id] != half], [matched])["matched"].curve
        best = curve["threshold"][int(np.argmax([-1 if value is None else value for value in curve["IDF1"]]))]
        assert found.threshold[half] == best
        kept += [p for p in predictions if half_of[p.video_id] == half and p.score >= best]
    assert found.metrics == follow(annotations, kept, [ALL])["all"].metrics
    assert found.num_tracks == (len(predictions), len(predictions), len(kept))
    for k in range(12):
        assert found.tracks(k)(annotations) == [pred for pred in kept if pred.video_id == k]


@pytest.mark.parametrize("score", [55.0, -0.7])
def test_thresholds_are_held_against_no_score_that_is_no_probability(score, rng):
    annotations, predictions = random_videos(rng, 2)
    predictions[-1] = replace(predictions[-1], score=score)
    for protocol in THREE[1:]:
        with pytest.raises(
            UserError, match=f"expected one from 0 to 1, as thresholds of the protocol are, got {score}"
        ):
            follow(annotations, predictions, [protocol])
    assert follow(annotations, predictions, [TOP10])["top10"].metrics


def test_top10_and_common_differ_by_the_threshold_and_every_record_has_three():
    good, bad = tuple([box(0)] * 4), tuple([box(10)] * 4)
    annotations = ground_truth(1, [track(7, good)])
    predictions = [Prediction(0, 1, 0.6, good), Prediction(0, 2, 0.4, bad)]
    found = follow(annotations, predictions, THREE)
    assert tuple(found) == RECORDED
    top10, common = found["top10"].metrics, found["common"].metrics
    assert (top10["MOTA"], common["MOTA"]) == (0, 1)
    assert (top10["tracks_per_video"], common["tracks_per_video"]) == (2, 1)
    assert (top10["false_positives_per_frame"], found["common"].threshold) == (1, 0.5)
    assert (found["matched"].metrics["IDF1"], found["matched"].threshold) == (1, (0.45, 0.45))  # there is no other half
    for name, of_two in follow(annotations, predictions, THREE, jobs=2).items():
        for what in ("threshold", "num_tracks", "levels", "counts", "curve"):
            assert getattr(of_two, what) == getattr(found[name], what)


def test_what_is_counted_by_hand():
    a, b = [box(0)] * 4, [box(10)] * 4
    annotations = ground_truth(1, [track(1, a), track(2, b), track(3, [box(18)] * 4, is_crowd=True)])
    swapped = [Prediction(0, 1, 0.9, (a[0], a[0], b[0], b[0])), Prediction(0, 1, 0.8, (b[0], b[0], a[0], None))]
    found = follow(annotations, swapped, [ALL])["all"].metrics
    assert (found["IDs"], found["ids_per_recalled_box"], found["tracks_per_video"]) == (2, 2 / 7, 2)
    assert found["MOTA"] == pytest.approx(1 - 3 / 8)  # a miss and two switches; the crowd counts nowhere
    pairs = [(2, 4, 4), (2, 4, 4), (2, 4, 3), (1, 4, 3)]  # matches of two tracks, and the boxes of both
    assert found["DetA"] == pytest.approx(7 / 8)
    assert found["AssA"] == pytest.approx(sum(n * n / (gt + pred - n) for n, gt, pred in pairs) / 7)
    assert found["HOTA"] == pytest.approx((found["DetA"] * found["AssA"]) ** 0.5)


def test_nothing_predicted_and_nothing_to_find():
    names = (*METRICS, "HOTA", "ids_per_recalled_box")
    nothing = follow(ground_truth(1, [track(1, [box(0)] * 4)]), [], [ALL])["all"].metrics
    assert [nothing[name] for name in names] == [0, 0, None, 0, 0, 0, None]
    empty = follow(ground_truth(2), [], THREE)["matched"]
    assert [empty.metrics[name] for name in names] == [None, None, None, None, 0, None, None]
    assert empty.threshold == (0.0, 0.0)


def test_entries_of_one_query_become_one_track_under_its_best_class(tmp_path):
    masks, other = (box(0), None), (box(1), None)
    entries = [Prediction(0, 1, 0.3, masks), Prediction(0, 1, 0.2, other), Prediction(0, 2, 0.6, masks)]
    assert one_class_each(entries) == (entries[2], entries[1])
    path, annotations = tmp_path / "results.json", ground_truth(1, length=2)
    path.write_text(json.dumps([entry.to_json() for entry in entries]))
    assert [track.number for track in read_tracks(path, annotations, "queries")] == [2, 1]
    assert read_tracks(path, annotations, "entries") == tuple(entries)


def test_only_the_best_tracks_of_a_video_count_in_the_order_of_the_file():
    tracks = [Prediction(0, 1, score, ()) for score in (0.1, 0.9, 0.5, 0.9)]
    assert TOP10.model_copy(update={"most": 3}).select(tracks) == [tracks[1], tracks[2], tracks[3]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("tracks: boxes", "it should be 'queries' or 'entries', and is 'boxes'"),
        ("tracks: queries\nmost: 0", "Correct 'most'"),
        ("tracks: queries\nthreshold: matched", "Add 'thresholds'"),
        ("tracks: queries\nthresholds: [0.5, 0.5]", "Let 'thresholds'"),
        ("tracks: queries\nthreshold: best", "'threshold'"),
    ],
)
def test_an_unfit_protocol_is_refused_by_its_file(tmp_path, line, message):
    path = tmp_path / "mine.yaml"
    path.write_text(f"name: mine\ntitle: mine\n{line}\n")
    with pytest.raises(UserError, match=message) as caught:
        load_protocol(str(path))
    assert "mine.yaml" in str(caught.value)
