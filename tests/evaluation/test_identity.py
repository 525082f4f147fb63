import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluation.tampering import tampered
from hypothesis import given, settings
from hypothesis import strategies as st
from made_sets import as_json, written

from ifrvis.cli import main
from ifrvis.commands.evaluate import _ranges
from ifrvis.datasets.rle import encode
from ifrvis.datasets.synthetic.making import make_split
from ifrvis.datasets.synthetic.parameters import SyntheticParameters
from ifrvis.datasets.ytvis import Annotations, Category, Track, Video, read_annotations
from ifrvis.evaluation.identity import count_errors, curve_of, identity_errors
from ifrvis.evaluation.predictions import Prediction
from ifrvis.evaluation.scores import KINDS, Identity, together

LEVELS = (None, 0.0, 0.55, 0.75, 0.9, 0.95)  # of scores that `scene` gives: .9, .8, .7, ...


def scene(gts, preds, width=24):
    """One video whose masks are bars, drawn as text: a line a track, a word a frame, `3-6` columns 3 to 5, `.` none."""

    def masks(line):
        bars = [None if word == "." else [int(n) for n in word.split("-")] for word in line.split()]
        columns = np.arange(width)
        return tuple(b and encode(np.tile((columns >= b[0]) & (columns < b[1]), (2, 1))) for b in bars)

    length = len(gts[0].split())
    tracks = tuple(Track(f"g{k}", 1, 1, masks(line), (None,) * length) for k, line in enumerate(gts))
    videos = (Video(1, width, 2, ("0.jpg",) * length, "v"),)
    annotations = Annotations(Path("gt.json"), (Category(1, "a"),), videos, tracks)
    return annotations, [Prediction(1, 1, 0.9 - 0.1 * k, masks(line), k) for k, line in enumerate(preds)]


def files_of(folder, annotations, predictions):
    """The options that name files of a scene."""
    return written(folder, as_json(annotations), [each.to_json() for each in predictions])


def found_in(annotations, predictions):
    (video,) = identity_errors(annotations, predictions)
    return [(error.kind, error.frames, error.gt_ids, error.predictions) for error in video.errors]


A, B = "0-4 0-4 0-4 0-4 0-4", "10-14 10-14 10-14 10-14 10-14"
BY_HAND = {
    "perfect": ([A, B], [B, A], []),
    "a new identity after a gap": (
        [A],
        ["0-4 0-4 . . .", ". . . 0-4 0-4"],
        [("change", (3,), ("g0",), (0, 1)), ("lost", (2,), ("g0",), ())],
    ),
    "two swapped while one is hidden": (
        [A, "10-14 10-14 . . 10-14"],
        ["0-4 0-4 . . 10-14", "10-14 10-14 0-4 0-4 0-4"],
        [("switch", (2, 4), ("g0", "g1"), (0, 1))],
    ),
    "an identity taken over is a change": (
        [A, "10-14 10-14 . . ."],
        ["0-4 0-4 . . .", "10-14 10-14 0-4 0-4 0-4"],
        [("change", (2,), ("g0",), (0, 1))],
    ),
    "three swapped are three changes": (
        ["0-4 0-4", "8-12 8-12", "16-20 16-20"],
        ["0-4 8-12", "8-12 16-20", "16-20 0-4"],
        [("change", (1,), (f"g{g}",), (g, (g + 2) % 3)) for g in range(3)],
    ),
    "swapped one after the other is two changes and two more": (
        [A, B],
        ["0-4 . . . 10-14", "10-14 0-4 0-4 0-4 0-4", ". 10-14 10-14 10-14 ."],
        [("change", (1,), ("g0",), (0, 1)), ("change", (1,), ("g1",), (1, 2)), ("change", (4,), ("g1",), (2, 0))],
    ),
    "merged, equals": (
        ["0-4 0-4 0-4", "4-8 4-8 4-8"],
        ["0-4 0-8 0-8", "4-8 . ."],
        [("merged", (1, 2), ("g0", "g1"), (0,))],
    ),
    "merged, then a new identity": (
        ["0-4 0-4 0-4", "4-8 4-8 4-8"],
        ["0-4 0-8 0-4", "4-8 . .", ". . 4-8"],
        [("change", (2,), ("g1",), (1, 2)), ("merged", (1,), ("g0", "g1"), (0,))],
    ),
    "a large mask beside a good one merges nothing": (["0-4 0-4", "4-8 4-8"], ["0-4 0-4", "4-8 4-8", "0-8 0-8"], []),
    "IoU of one half is not above it": (["0-4 0-4"], ["0-4 0-8"], [("lost", (1,), ("g0",), ())]),
    "a duplicate that starts later": (
        [A],
        [A, ". 0-3 0-3 . 0-4"],
        [("duplicate", (1, 2), ("g0",), (1,)), ("duplicate", (4,), ("g0",), (1,))],
    ),
    "the owner stays though another fits better": (
        [A],
        ["0-4 0-3 0-3 0-3 0-3", ". 0-4 0-4 0-4 0-4"],
        [("duplicate", (1, 2, 3, 4), ("g0",), (1,))],
    ),
    "a mask on nothing is no identity error": ([A], [A, B], []),
    "nothing predicted": ([A], [], []),
}


@pytest.mark.parametrize(("gts", "preds", "expected"), BY_HAND.values(), ids=BY_HAND.keys())
def test_cases_worked_by_hand(gts, preds, expected):
    annotations, predictions = scene(gts, preds)
    assert found_in(annotations, predictions) == expected
    assert found_in(annotations, predictions[::-1]) == expected


def test_what_errors_are_set_beside_is_worked_by_hand():
    """One object is tracked, then merged with a second, which is tracked, too; one is never found, one never there."""
    gts = ["0-4 0-4 0-4 0-4", "4-8 4-8 4-8 .", "14-18 14-18 . .", ". . . ."]
    annotations, predictions = scene(gts, ["0-4 0-4 0-8 .", "4-8 4-8 . ."])
    at = list(count_errors(annotations, predictions, [0.85, 0.0]))
    alone = Identity(lost=2, tracked=2, never_found=1, object_frames=9, objects=3, merged=1)
    assert at == [{0.85: alone, 0.0: Identity(**alone.model_dump() | {"lost": 1, "tracked": 4})}]
    assert curve_of(at, [0.85, 0.0]) == {
        **{"change": (0, 0), "switch": (0, 0), "merged": (1, 1), "lost": (2, 1), "duplicate": (0, 0)},
        **{"never_found": (1, 1), "tracked": (2, 4)},
    }
    shares = {"change": 0, "switch": 0, "merged": 0.5, "lost": 1, "duplicate": 0, "errors": 1.5}
    assert alone.shares == shares | {"tracked": 2 / 9, "never_found": 1 / 3}
    assert together([alone, Identity(change=1)]) == Identity(**alone.model_dump() | {"change": 1})


bars = st.tuples(st.integers(0, 12), st.integers(1, 8)).map(lambda bar: f"{bar[0]}-{bar[0] + bar[1]}") | st.just(".")
lines = st.lists(st.tuples(bars, bars, bars, bars).map(" ".join), min_size=1, max_size=4)


@settings(max_examples=150)
@given(lines, lines, st.randoms(use_true_random=False))
def test_errors_are_disjoint_and_the_order_of_predictions_is_nothing(gts, preds, random):
    annotations, predictions = scene(gts, preds)
    found = found_in(annotations, predictions)
    shuffled = random.sample(predictions, len(predictions))
    assert found_in(annotations, shuffled) == found
    for level, counts in next(count_errors(annotations, shuffled, LEVELS)).items():  # as without the tracks below it
        (alone,) = identity_errors(annotations, [pred for pred in predictions if pred.reaches(level)])
        assert counts == alone.counts
        assert Counter(error.kind for error in alone.errors) == {k: n for k in KINDS if (n := getattr(counts, k))}
    objects, duplicates = [], []
    for kind, frames, ids, numbers in found:
        assert kind in KINDS
        assert frames == tuple(sorted(set(frames)))
        if kind == "duplicate":
            duplicates += [(numbers[0], t) for t in frames]
        elif kind == "switch" and len(frames) == 2:
            objects += [("either", ids, t) for t in frames]
        else:
            objects += [(gt_id, t) for gt_id in ids for t in frames]
    assert len(set(objects)) == len(objects)  # an object has at most one error in a frame
    assert len(set(duplicates)) == len(duplicates)


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    """Objects that cross, and hide each other for a while."""
    parameters = SyntheticParameters(
        seed=3, videos={"pretrain": 0, "train": 0, "dev": 0, "test": 5}, frames=(24, 24), occlusion=1.0
    )
    return read_annotations(make_split(parameters, "test", tmp_path_factory.mktemp("mini")))


def check_tampered(annotations, seeds):
    planted = set()
    for seed in seeds:
        copies = tampered(annotations, np.random.default_rng(seed))
        found = identity_errors(annotations, [pred for copy in copies for pred in copy.predictions()])
        for video, copy in zip(found, copies):
            assert sorted((e.kind, e.frames, e.gt_ids) for e in video.errors) == sorted(copy.planted), (seed, video)
            assert not video.never_found
            planted |= {kind for kind, _, _ in copy.planted}
    assert planted == set(KINDS)


def test_exactly_what_a_script_tampered_with_is_found_in_synthetic_videos(mini):
    perfect = [Prediction(track.video_id, 1, 0.5, track.masks) for track in mini.tracks]
    (counts,) = {together(each.counts for each in identity_errors(mini, perfect))}
    assert (counts.errors, counts.never_found, counts.tracked) == (0, 0, counts.object_frames)
    check_tampered(mini, range(12))


def test_exactly_what_a_script_tampered_with_is_found_in_real_clips(real_vis):
    check_tampered(read_annotations(real_vis / "instances.json"), range(3))


def test_the_command_lists_errors_with_frames_objects_and_predictions(tmp_path, capsys):
    annotations, predictions = scene([A, B], ["0-4 0-4 . . .", ". . 0-4 0-4 0-4"])
    given = ["evaluate", "identity", *files_of(tmp_path, annotations, predictions)]
    command = [*given, "--protocol", "matched"]
    assert main([*command, "--json"]) == 0
    change = {"kind": "change", "frames": [2], "gt_ids": ["g0"], "predictions": [0, 1]}
    beside = {"tracked": 5, "object_frames": 10}
    said = json.loads(capsys.readouterr().out)
    assert (said.pop("protocol"), said.pop("threshold"), said.pop("shares")["errors"]) == ("matched", [0, 0], 0.2)
    curve, units = said.pop("curve"), said.pop("units")
    assert (units["counts"], units["shares"]["change"]) == ("count", "per object-frame tracked")
    assert (curve["threshold"][0], curve["tracked"][0], curve["tracked"][-1]) == (0, 5, 0)
    assert said == {
        "counts": dict.fromkeys(KINDS, 0) | {"change": 1, "never_found": 1, "objects": 2} | beside,
        "videos": [{"video_id": 1, "errors": [change], "never_found": ["g1"]} | beside],
    }
    assert main([*command, "--jobs", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"video {annotations.videos[0].name}, frame 2: change, object g0: track 0 becomes 1"
    assert lines[-2].rsplit(maxsplit=1) == ["errors per 100 tracked", "20"]
    assert lines[1].startswith("protocol matched, ")
    assert lines[1].endswith(": 2 of 2 tracks count")
    assert main([*given, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["protocol"] == "all"


def test_ground_truth_given_as_a_prediction_is_without_error_however_many_objects_there_are(tmp_path, capsys):
    boxes = [f"{left}-{left + 1} {left}-{left + 1} ." for left in range(0, 98, 2)]  # 49, as nuclei of a clip
    annotations, predictions = scene(boxes, boxes, width=98)
    given = files_of(tmp_path, annotations, [replace(each, score=0.01) for each in predictions])
    assert main(["evaluate", "tracking", *given]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"IDF1 +100\.00\n", shown)
    assert "49 of 49 tracks count\n" in shown
    assert main(["evaluate", "identity", *given, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"].items() >= dict.fromkeys(KINDS, 0).items()
    assert main(["evaluate", "tracking", *given, "--protocol", "common"]) == 0
    expected = "0 of 49 tracks count; dropped: 39 beyond the 10 best of a video, 10 with a score below 0.5\n"
    assert expected in capsys.readouterr().out


@pytest.mark.parametrize(("frames", "text"), [((4,), "4"), ((0, 1), "0-1"), ((1, 3, 4, 5, 9), "1, 3-5, 9"), ((), "")])
def test_frames_are_listed_as_ranges(frames, text):
    assert _ranges(frames) == text


def test_of_many_errors_the_first_are_listed_and_all_if_asked_for(tmp_path, capsys):
    """Forty objects that are seen in two frames of three: each is lost in the second."""
    bars = [f"{left}-{left + 1}" for left in range(0, 80, 2)]
    scored = scene([f"{bar} {bar} {bar}" for bar in bars], [f"{bar} . {bar}" for bar in bars], width=80)
    given = ["evaluate", "identity", *files_of(tmp_path, *scored)]
    assert main(given) == 0
    shown = capsys.readouterr().out
    assert shown.count(": lost, object ") == 20
    assert shown.endswith("... and 20 more; --all lists them\n")
    assert main([*given, "--all"]) == 0
    assert capsys.readouterr().out.count(": lost, object ") == 40
