"""The scenes that the page plays: which videos, which tracks, which identities, and where the errors are."""

import base64
from dataclasses import replace

import cv2
import numpy as np
import pytest
from kept_runs import kept, perfect, swapped

from ifrvis.datasets.rle import decode
from ifrvis.evaluation.predictions import Scored, write_predictions
from ifrvis.evaluation.protocols import load_protocol
from ifrvis.evaluation.scoring import score_file
from ifrvis.harness.plan.planner import make_plan
from ifrvis.harness.store.playback import read_scenes, rows_to_play
from ifrvis.harness.upkeep import footage
from ifrvis.harness.upkeep.footage import play, side_of, write_scenes

M2F, OURS = "mask2former-r50-ytvis19", "ours-r50-ytvis19"


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """Two finished runs: Ours as the ground truth, of Mask2Former two tracks swap and one is lost."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    request = kept(tmp_path, ["table1"], (M2F, OURS), 1, {"mask2former": swapped, "ours": perfect})
    return make_plan(request)


@pytest.fixture
def scene(plan):
    """The scene of both, as it is read again."""

    def write(plan=plan):
        (path,) = write_scenes(plan)
        (found,) = read_scenes(path.parent)
        path.unlink()
        return found

    return write


def test_the_videos_with_the_most_errors_are_played_with_both_methods(scene, plan):
    found = scene()
    assert (found.dataset, found.seed, found.rows) == ("smoke19", 0, (M2F, OURS))
    assert found.records == tuple(training.evaluations[0].record.digest for training in plan.trainings)
    assert len(found.videos) == footage.VIDEOS
    counts = [len(video.panes[1].errors) for video in found.videos]
    assert counts == sorted(counts, reverse=True)
    titles = ["Ground truth", "Mask2Former ResNet-50", "Ours ResNet-50"]
    assert [pane.title for pane in found.videos[0].panes] == titles


def test_a_table_without_claims_plays_its_first_two_methods(plan):
    (table,) = plan.request.tables
    claims = [*rows_to_play(plan.request)]
    request = replace(plan.request, tables=(table.model_copy(update={"claims": ()}),))
    assert [*rows_to_play(request)] == claims == [tuple(row for row in table.rows if row.id in (M2F, OURS))]


def test_a_scene_is_written_once(plan):
    (path,) = write_scenes(plan)
    before = path.stat()
    assert write_scenes(plan) == []
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def test_errors_say_frames_objects_and_tracks(scene):
    switches = []
    for video in scene().videos:
        truth, baseline, ours = video.panes
        assert truth.errors == ours.errors == ()
        assert 0 < baseline.tracked <= ours.tracked > truth.tracked == 0
        assert "lost" in {error.kind for error in baseline.errors} or truth.tracks[2].masks[-1] is None
        assert all("object" in error.text for error in baseline.errors)
        switches += [error for error in baseline.errors if error.kind == "switch"]
    assert {error.frames for error in switches} == {(3,)}
    assert all(error.text == "objects 1 and 2: tracks 1 and 2 swap" for error in switches)


def test_a_track_has_the_identity_of_the_object_that_it_shares_most_with(scene):
    for video in scene().videos:
        truth, _, ours = video.panes
        assert [track.name for track in truth.tracks] == [str(n + 1) for n in range(len(truth.tracks))]
        assert [(t.identity, t.masks) for t in ours.tracks] == [(t.identity, t.masks) for t in truth.tracks]
        assert [t.score for t in ours.tracks] == sorted((t.score for t in ours.tracks), reverse=True)


def test_frames_and_masks_are_made_small_together(scene, monkeypatch):
    big = scene().videos[0]
    monkeypatch.setattr(footage, "HEIGHT", 32)
    small = scene().videos[0]
    monkeypatch.setattr(footage, "HEIGHT", 64)
    monkeypatch.setattr(footage, "WIDTH", 48)
    assert scene().videos[0] == small
    assert (big.height, big.width, small.height, small.width) == (64, 96, 32, 48)
    image = cv2.imdecode(np.frombuffer(base64.b64decode(small.frames[0]), np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (32, 48, 3)
    one, other = ({"size": [v.height, v.width], "counts": v.panes[0].tracks[0].masks[0]} for v in (big, small))
    assert np.array_equal(decode(one)[::2, ::2], decode(other))


@pytest.mark.parametrize(("threshold", "one_track"), [((0.85, 0.85), True), (0.1, False)])
def test_tracks_are_those_of_the_thresholds_that_the_record_says(scene, plan, threshold, one_track):
    for training in plan.trainings:
        record = training.evaluations[0].record
        tracked = record.tracking["matched"].model_copy(update={"threshold": threshold})
        changed = {"tracking": {"matched": tracked}}
        training.evaluations[0].record = record.model_copy(update=changed)
    panes = [pane for video in scene(plan).videos for pane in video.panes[1:]]
    assert all((len(pane.tracks) == 1) == one_track for pane in panes)


def test_entries_of_one_query_are_tracks_of_their_own(plan, tmp_path):
    annotations = plan.trainings[0].evaluations[0].split.read()
    one, two, *_ = (category.id for category in annotations.categories)
    videos = [swapped(video, annotations) for video in annotations.videos]
    for index, video in enumerate(videos):
        again = tuple(Scored(each.query, two if each.category_id == one else one, 0.3) for each in video.by_class)
        videos[index] = replace(video, by_class=video.by_class + again)
    write_predictions(tmp_path / "p.gz", videos)
    protocol = load_protocol("all")
    scores, _ = score_file(annotations, tmp_path / "p.gz", protocol=protocol)
    side = side_of("a", "A", tmp_path / "p.gz", scores, annotations, protocol)
    for video in annotations.videos:
        (_, pane) = play(annotations, None, video, [side]).panes
        names = {track.name for track in pane.tracks}
        assert len(names) == len(pane.tracks) == 2 * len(annotations.tracks_of(video.id))
        assert [track.number for track in side.tracks[video.id]] == [*range(len(names))]  # what errors are told by


@pytest.mark.parametrize("lost", ["predictions", "changed predictions", "frame"])
def test_without_what_it_takes_nothing_is_written(plan, lost, tmp_path):
    path = next(tmp_path.glob("results/runs/*/predictions/*/predictions.json.gz"))
    if lost == "frame":
        for frame in tmp_path.glob("data/smoke19-*/test/JPEGImages/*/00003.*"):
            frame.unlink()
    elif lost == "predictions":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes() + b"x")
    assert write_scenes(plan) == []
