"""The viewer's scenes: which videos, which tracks, which identities, and where the errors are."""

import base64
import json

import cv2
import numpy as np
import pytest
from kept_runs import finish, perfect, swapped

from ifrvis.datasets.catalog import load_dataset
from ifrvis.datasets.rle import decode
from ifrvis.harness.plan.plan import Request
from ifrvis.harness.plan.planner import make_plan
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.spec.tables import load_table
from ifrvis.harness.store.runs import Results
from ifrvis.packed import packed
from ifrvis.reporting.web import viewer
from ifrvis.reporting.web.viewer import scenes

M2F, OURS = "mask2former-r50-ytvis19", "ours-r50-ytvis19"


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """Two finished runs: Ours as the ground truth, of Mask2Former two tracks swap and one is lost."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    profile = tmp_path / "smoke.yaml"
    text = packed("experiments", "profiles", "smoke.yaml").read_text()
    profile.write_text(text.replace("train.init: pretraining", "train.init: null"))
    load_dataset("smoke19", tmp_path).make("heldout")
    results = Results(tmp_path / "results")
    request = Request(
        (load_table("table1"),), load_profile(str(profile)), (M2F, OURS), 1, data_root=tmp_path, results=results
    )
    for training in make_plan(request).trainings:
        finish(training, request, swapped if training.method == "mask2former" else perfect)
    return make_plan(request)


def test_the_videos_with_the_most_errors_are_played_with_both_methods(plan):
    (scene,) = scenes(plan)
    assert (scene["dataset"], scene["seed"], scene["rows"]) == ("smoke19", 0, [M2F, OURS])
    assert len(scene["videos"]) == viewer.VIDEOS
    counts = [len(video["panes"][1]["errors"]) for video in scene["videos"]]
    assert counts == sorted(counts, reverse=True)
    assert [pane["title"] for pane in scene["videos"][0]["panes"]] == [
        "Ground truth",
        "Mask2Former ResNet-50",
        "Ours ResNet-50",
    ]
    assert json.dumps(scene, allow_nan=False)


def test_errors_say_frames_objects_and_tracks(plan):
    for video in scenes(plan)[0]["videos"]:
        truth, baseline, ours = video["panes"]
        assert truth["errors"] == ours["errors"] == []
        kinds = {error["kind"] for error in baseline["errors"]}
        assert "lost" in kinds or truth["tracks"][2]["masks"][-1] is None
        for error in baseline["errors"]:
            assert all(0 <= frame < len(video["frames"]) for frame in error["frames"])
            assert "object" in error["text"]
    switches = [e for v in scenes(plan)[0]["videos"] for e in v["panes"][1]["errors"] if e["kind"] == "switch"]
    assert {tuple(error["frames"]) for error in switches} == {(3,)}
    assert all(error["text"] == "objects 1 and 2: tracks 1 and 2 swap" for error in switches)


def test_a_track_has_the_identity_of_the_object_that_it_shares_most_with(plan):
    for video in scenes(plan)[0]["videos"]:
        truth, _, ours = video["panes"]
        assert [track["name"] for track in truth["tracks"]] == [str(n + 1) for n in range(len(truth["tracks"]))]
        assert [(t["identity"], t["masks"]) for t in ours["tracks"]] == [
            (t["identity"], t["masks"]) for t in truth["tracks"]
        ]
        assert [track["score"] for track in ours["tracks"]] == sorted(
            (t["score"] for t in ours["tracks"]), reverse=True
        )


def test_frames_and_masks_are_made_small_together(plan, monkeypatch):
    (whole,) = scenes(plan)
    monkeypatch.setattr(viewer, "HEIGHT", 32)
    (small,) = scenes(plan)
    big, video = whole["videos"][0], small["videos"][0]
    assert (big["height"], big["width"], video["height"], video["width"]) == (64, 96, 32, 48)
    image = cv2.imdecode(np.frombuffer(base64.b64decode(video["frames"][0]), np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (32, 48, 3)
    one, other = (
        {"size": size, "counts": each["panes"][0]["tracks"][0]["masks"][0]}
        for size, each in (([64, 96], big), ([32, 48], video))
    )
    assert np.array_equal(decode(one)[::2, ::2], decode(other))


def test_tracks_are_those_of_the_thresholds_that_the_record_says(plan):
    for training in plan.trainings:
        training.evaluations[0].record["tracking"]["matched"]["threshold"] = [0.85, 0.85]
    assert all(len(pane["tracks"]) == 1 for video in scenes(plan)[0]["videos"] for pane in video["panes"][1:])
    for training in plan.trainings:
        training.evaluations[0].record["tracking"] = {"matched": {"threshold": "0.1"}}
    assert all(len(pane["tracks"]) > 1 for video in scenes(plan)[0]["videos"] for pane in video["panes"][1:])


@pytest.mark.parametrize("lost", ["predictions", "changed predictions", "frame"])
def test_without_what_it_takes_nothing_is_played(plan, lost, tmp_path):
    path = next(tmp_path.glob("results/runs/*/predictions/*/predictions.json.gz"))
    if lost == "frame":
        for frame in tmp_path.glob("smoke19-*/test/JPEGImages/*/00003.*"):
            frame.unlink()
    elif lost == "predictions":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes() + b"x")
    assert scenes(plan) == []
