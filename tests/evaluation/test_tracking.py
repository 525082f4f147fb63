"""Tracking beside an oracle and cases counted by hand, under every protocol.

Also tests: ifrvis.evaluation.hota, ifrvis.evaluation.protocols.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from ifrvis.cli import main
from ifrvis.datasets.rle import encode
from ifrvis.datasets.ytvis import Annotations, Category, Track, Video
from ifrvis.errors import UserError
from ifrvis.evaluation import hota
from ifrvis.evaluation.predictions import Prediction, one_class_each, read_tracks
from ifrvis.evaluation.protocols import halves, load_protocol
from ifrvis.evaluation.scores import RECORDED
from ifrvis.evaluation.tracking import kept_tracks, tracking_scores

CASES = sorted((Path(__file__).parents[1] / "data/oracle/tracking").iterdir())
METRICS = ("IDF1", "MOTA", "IDP", "IDR", "IDs")
THREE = [load_protocol(name) for name in RECORDED]
ALL = THREE[0]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_number_is_that_of_the_oracle(case, capsys):
    arguments = ["--gt", f"{case}/gt.json", "--pred", f"{case}/pred.json", "--protocol", "oracle", "--json"]
    assert main(["evaluate", "tracking", *arguments]) == 0
    scores, expected = json.loads(capsys.readouterr().out), json.loads((case / "expected.json").read_text())
    assert [scores[name] for name in METRICS] == pytest.approx([expected[name] for name in METRICS], abs=1e-9)


def box(x, y=0, width=4, height=4):
    mask = np.zeros((12, 24), bool)
    mask[y : y + height, x : x + width] = True
    return encode(mask)


def ground_truth(num_videos=1, tracks=(), length=4):
    videos = tuple(Video(k, 24, 12, ("0.jpg",) * length, f"v{k}") for k in range(num_videos))
    return Annotations(Path("gt.json"), (Category(1, "a"), Category(2, "b")), videos, tuple(tracks))


def track(track_id, masks, video_id=0, **changes):
    return Track(track_id, video_id, 1, tuple(masks), (None,) * len(masks), **changes)


def random_videos(rng, num_videos=6, length=5):
    """Boxes that jump about, with gaps, and predictions near them."""

    def masks(x, y):
        return [
            box(int(x + rng.integers(3)), int(y + rng.integers(3))) if rng.random() < 0.8 else None
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
    curve = tracking_scores(annotations, predictions, [load_protocol("matched")])["curve"]
    for index in (0, 6, 12, 18):
        kept = [pred for pred in predictions if pred.score >= curve["threshold"][index]]
        expected = tracking_scores(annotations, kept, [ALL])["all"]
        assert {name: of[index] for name, of in curve.items()} == {name: expected[name] for name in curve} | {
            "threshold": curve["threshold"][index]
        }


def test_matched_takes_the_best_threshold_of_the_other_half(rng):
    annotations, predictions = random_videos(rng, 12)
    matched = load_protocol("matched")
    found = tracking_scores(annotations, predictions, [matched])["matched"]
    half_of = halves(range(12), matched.seed)
    assert sorted(half_of.values()) == [0] * 6 + [1] * 6
    kept = []
    for half in (0, 1):
        part = annotations.subset([k for k in range(12) if half_of[k] != half])  # the other
        curve = tracking_scores(part, [p for p in predictions if half_of[p.video_id] != half], [matched])["curve"]
        best = curve["threshold"][int(np.argmax([-1 if value is None else value for value in curve["IDF1"]]))]
        assert found["threshold"][half] == best
        kept += [p for p in predictions if half_of[p.video_id] == half and p.score >= best]
    ours = {name: value for name, value in found.items() if name != "threshold"}
    expected = tracking_scores(annotations, kept, [ALL.model_copy(update={"most": None})])["all"]
    assert ours == {name: value for name, value in expected.items() if name != "threshold"}
    assert kept_tracks(annotations, predictions, matched) == sorted(kept, key=lambda pred: pred.video_id)


def test_all_and_common_differ_by_the_threshold_and_every_record_has_three():
    good, bad = tuple([box(0)] * 4), tuple([box(10)] * 4)
    annotations = ground_truth(1, [track(7, good)])
    predictions = [Prediction(0, 1, 0.6, good), Prediction(0, 2, 0.4, bad)]
    scores = tracking_scores(annotations, predictions, THREE)
    assert scores.keys() == {*RECORDED, "curve"}
    assert (scores["all"]["MOTA"], scores["common"]["MOTA"]) == (0, 1)
    assert (scores["all"]["tracks_per_video"], scores["common"]["tracks_per_video"]) == (2, 1)
    assert (scores["all"]["false_positives_per_frame"], scores["common"]["threshold"]) == (1, 0.5)
    assert (scores["matched"]["IDF1"], scores["matched"]["threshold"]) == (1, (0.45, 0.45))  # there is no other half
    assert tracking_scores(annotations, predictions, THREE, jobs=2) == scores


def test_what_is_counted_by_hand():
    a, b = [box(0)] * 4, [box(10)] * 4
    annotations = ground_truth(1, [track(1, a), track(2, b), track(3, [box(18)] * 4, is_crowd=True)])
    swapped = [Prediction(0, 1, 0.9, (a[0], a[0], b[0], b[0])), Prediction(0, 1, 0.8, (b[0], b[0], a[0], None))]
    found = tracking_scores(annotations, swapped, [ALL])["all"]
    assert (found["IDs"], found["ids_per_recalled_box"], found["tracks_per_video"]) == (2, 2 / 7, 2)
    assert found["MOTA"] == pytest.approx(1 - 3 / 8)  # a miss and two switches; the crowd counts nowhere


def test_nothing_predicted_and_nothing_to_find():
    nothing = tracking_scores(ground_truth(1, [track(1, [box(0)] * 4)]), [], [ALL])["all"]
    assert [nothing[name] for name in METRICS] == [0, 0, None, 0, 0]
    assert nothing["ids_per_recalled_box"] is None
    empty = tracking_scores(ground_truth(2), [], THREE)
    assert [empty["matched"][name] for name in METRICS] == [None, None, None, None, 0]
    assert empty["matched"]["threshold"] == (0.0, 0.0)


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
    assert ALL.model_copy(update={"most": 3}).select(tracks) == [tracks[1], tracks[2], tracks[3]]


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


def test_hota_says_what_to_install_and_else_hands_over_frames_of_numbers(monkeypatch):
    annotations, predictions = ground_truth(1, [track(1, [box(0)] * 4)]), [Prediction(0, 1, 0.9, tuple([box(1)] * 4))]
    kept = kept_tracks(annotations, predictions, ALL)
    monkeypatch.setitem(__import__("sys").modules, "trackeval.metrics", None)
    with pytest.raises(UserError, match=r"^Install TrackEval .*pip install --no-deps trackeval"):
        hota.hota_scores(annotations, kept)
    monkeypatch.setattr(hota, "_metric", Recorder)
    assert hota.hota_scores(annotations, kept) == {"HOTA": 0.5, "DetA": 0.5, "AssA": 0.5}
    (data,) = Recorder.seen
    assert (data["num_gt_ids"], data["num_tracker_ids"], data["num_gt_dets"], data["num_tracker_dets"]) == (1, 1, 4, 4)
    assert [similarity.tolist() for similarity in data["similarity_scores"]] == [[[0.6]]] * 4


class Recorder:
    """Stands for TrackEval's HOTA, which the tests do without."""

    seen = []  # noqa: RUF012  what every one of them has seen

    def eval_sequence(self, data):
        self.seen.append(data)

    def combine_sequences(self, sequences):
        return dict.fromkeys(("HOTA", "DetA", "AssA"), np.array([0.25, 0.75]))
