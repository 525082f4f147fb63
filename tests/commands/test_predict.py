"""`ifrvis predict` from a run or a checkpoint to files, `ifrvis evaluate-model`, and the mistakes that they name."""

import json
import os
import re
from unittest import mock

import cv2
import numpy as np
import pytest
import torch
from made_records import asked, evaluation

from ifrvis.cli import main
from ifrvis.datasets.catalog import load_dataset
from ifrvis.errors import UserError
from ifrvis.evaluation.predictions import read_results, write_predictions
from ifrvis.evaluation.scoring import score_file
from ifrvis.files import sha256_file
from ifrvis.harness.spec.compose import compose
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.spec.signatures import train_signature, train_spec
from ifrvis.harness.store.attempts import asked_of, claim, latest
from ifrvis.harness.store.paths import Store
from ifrvis.harness.store.records import read_record
from ifrvis.inference.modes import predict_split
from ifrvis.training.build import build_model
from ifrvis.training.checkpoints import save
from ifrvis.training.weights import load_trained, packed_weights


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run of profile smoke with a checkpoint of random weights, its data, and a folder of frames."""
    place = tmp_path_factory.mktemp("predict")
    dataset = load_dataset("smoke19", place / "data")
    for role in ("train", "heldout"):
        dataset.make(role)
    composed = compose("ours", "r50", "ytvis19", load_profile("smoke"), num_classes=4)
    spec = train_spec(composed, data=dataset.split("train").fingerprint, init=None, seed=3)
    run = Store(place / "results").run("ours-r50-ytvis19-s3", train_signature(spec))
    run.write_spec(spec)
    attempt = claim(run, asked(dataset="smoke19", evaluations=(evaluation(composed.inference),)))
    model = build_model(spec.model, seed=1)
    save(attempt.checkpoints, 4, {"train_sig": run.train_sig, "model": dict(model.state_dict())})
    (place / "weights.pth").write_bytes(packed_weights(model))
    (place / "frames").mkdir()
    for t in range(4):
        cv2.imwrite(str(place / "frames" / f"{t}.png"), np.full((48, 80, 3), 40 * t, np.uint8))
    return place


@pytest.fixture
def predict(place, monkeypatch, capsys):
    """Run the command there: its status and what it said."""
    monkeypatch.chdir(place)

    def run(*arguments):
        status = main(["predict", "--device", "cpu", *arguments])
        return status, "".join(capsys.readouterr())

    return run


BARE = ("weights.pth", "frames", "--method", "ours", "--backbone", "r50", "--profile", "smoke")


@pytest.mark.parametrize(
    "arguments",
    [
        ("ours-r50", "frames"),
        ("ours-r50", "frames", "--set", "inference.mode=clips", "--set", "inference.clip_frames=5"),  # one shorter clip
        ("ours-r50", "frames", "--set", "inference.tta=[48, 64]", "--memory-gib", "4"),
        (*BARE, "--dataset", "smoke19"),
    ],
)
def test_a_folder_becomes_results_and_a_video(predict, place, arguments, tmp_path):
    status, said = predict(*arguments, "--out", str(tmp_path / "out"), "--draw-above", "0.001")
    assert status == 0, said
    entries = json.loads((tmp_path / "out" / "results.json").read_text())
    assert all(len(entry["segmentations"]) == 4 for entry in entries)
    assert {entry["category_id"] for entry in entries} <= {1, 2, 3, 4}
    assert f"{len(entries)} tracks" in said
    assert "overlay.mp4 (VP9)" in said
    drawn, found = map(int, re.search(r"(\d+) of (\d+) instances, those with .* 0.001 \(--draw-above\)", said).groups())
    assert 0 < drawn <= found
    assert {(each["file"], each["fps"]) for each in entries} == {("frames", 10.0)}
    known = load_dataset("smoke19", place / "data").split("heldout").read().categories
    assert {(each["category_id"], each["category"]) for each in entries} <= {(each.id, each.name) for each in known}
    assert 1 in {each["instance"] for each in entries}
    capture = cv2.VideoCapture(str(tmp_path / "out" / "overlay.mp4"))
    assert [capture.read()[0] for _ in range(5)] == [True] * 4 + [False]


def test_a_video_that_ends_early_is_told_or_refused_and_results_outlive_an_overlay(predict, tmp_path, monkeypatch):
    writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (80, 48))
    for t in range(4):
        writer.write(np.full((48, 80, 3), 40 * t, np.uint8))
    writer.release()
    data = (tmp_path / "v.avi").read_bytes()
    (tmp_path / "v.avi").write_bytes(data[: data.rindex(b"00dc", 0, data.rindex(b"idx1")) + 20])
    out, said = tmp_path / "out", "its container says 4 frames, 3 can be read"
    status, text = predict("ours-r50", str(tmp_path / "v.avi"), "--out", str(out), "--strict")
    assert (status, said in text, (out / "results.json").exists()) == (2, True, False)
    monkeypatch.setattr("ifrvis.inference.overlay.write_overlay", mock.Mock(side_effect=UserError("No encoder.")))
    status, text = predict("ours-r50", str(tmp_path / "v.avi"), "--out", str(out))
    assert (status, said in text) == (2, True)
    assert f"The results are there, in {out}/results.json." in text
    assert json.loads((out / "results.json").read_text())
    (out / "overlay.mp4").write_bytes(b"of another model")
    status, text = predict("ours-r50", str(tmp_path / "v.avi"), "--out", str(out))
    assert (status, f"remove {out}: a video was predicted there already" in text) == (2, True)


def test_a_checkpoint_of_a_run_is_that_run_and_a_data_sets_video_has_its_id(predict, place, tmp_path):
    (checkpoint,) = place.glob("results/runs/*/attempts/0001/checkpoints/*.pth")
    annotations = load_dataset("smoke19", place / "data").split("heldout").read()
    video = annotations.videos[0]
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    for model, out in ((str(checkpoint), "a"), ("ours-r50", "b"), (f"{checkpoint.parents[3]}/", "c")):
        assert predict(model, f"smoke19:heldout/{video.name}", "--out", str(tmp_path / out))[0] == 0
    rounded = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    assert rounded == (False, False), "as a run of fp32 trains and predicts"
    results = read_results(tmp_path / "a" / "results.json", annotations)
    assert {result.video_id for result in results} == {video.id}
    assert len({(tmp_path / out / "results.json").read_bytes() for out in "abc"}) == 1


def test_videos_are_predicted_whole_or_as_a_row_does_whatever_was_asked_last(predict, place, monkeypatch, tmp_path):
    """What an attempt happened to lack, such as the clips of another row, decides nothing."""
    chosen = []

    def look(model, source, inference, *rest, **options):
        chosen.append(inference)
        raise UserError("It was seen.")

    monkeypatch.setattr("ifrvis.inference.modes.predict_video", look)
    (run,) = Store(place / "results").runs()
    ((_, first),) = asked_of(run)
    clips = {**first.inference, "mode": "clips", "clip_frames": 3, "tta": [48, 64], "recurrence": False}
    latest(run).end("complete")
    claim(run, asked(profile="smoke", dataset="smoke19", evaluations=(evaluation(clips),)))
    for options in ((), ("--row", "table4/ours-swin-l-clip2-ytvis19"), ("--set", "inference.topk=3")):
        assert "It was seen." in predict("ours-r50", "frames", "--out", str(tmp_path), *options)[1]
    whole, row, changed = chosen
    assert whole == first.inference
    assert (row["mode"], row["clip_frames"], row["tta"]) == ("clips", 2, None)
    assert changed == whole | {"topk": 3}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("absent", "frames"), "Correct the name"),
        (("absent.pth", *BARE[1:]), "Correct the name 'absent.pth'"),
        (("weights.pth", "frames"), "Say with --method, --backbone and --dataset what weights.pth was trained as"),
        (
            (*BARE, "--dataset", "real_vis"),
            "Give weights for the classes of this data set, or name theirs with --dataset",
        ),
        (("ours-r50", "frames", "--dataset", "real_vis"), "Give the data set whose categories the model knows"),
        (
            ("weights.pth", "frames", "--method", "mask2former", *BARE[4:], "--dataset", "smoke19"),
            "Give weights of this method and backbone",
        ),
        ((*BARE[:-1], "mini", "--dataset", "smoke19"), "Give weights of this"),
        (("weights.pth", "frames", "--method", "new", *BARE[4:], "--dataset", "smoke19"), "Choose one of the methods"),
        (("ours-r50", "frames", "--method", "ours"), "Leave out --method"),
        ((*BARE, "--dataset", "smoke19", "--row", "table4/ours-swin-l-clip2-ytvis19"), "Leave out --row"),
        ((*BARE, "--dataset", "smoke19", "--seed", "0"), "Leave out --seed"),
        (("ours-r50", "absent"), "Check the path of the video"),
        (("ours-r50", "http://a.b/c.mp4"), "Give a file or folder here: http://a.b/c.mp4 is none; or a set's: "),
        (("ours-r50", "smoke19:absent"), "Correct the name of the video"),
        (("ours-r50", "smoke19:00001"), "Say which video is meant, smoke19:full/id=2 or smoke19:heldout/id=2: of each"),
        (("ours-r50", "smoke19:heldout/id=00001"), "Correct the name of the video"),
        (("ours-r50", "frames", "--set", "train.iterations=3"), "no such key"),
        (("ours-r50", "frames", "--set", "inference.mode=clips"), "Set inference.clip_frames"),
        (("ours-r50", "frames", "--memory-gib", "0.0001"), "Raise --memory-gib"),
        (("ours-r50", "frames", "--device", "abacus"), "Choose another --device than 'abacus'"),
        (("frames/0.png", "frames", *BARE[2:], "--dataset", "smoke19"), "Replace frames/0.png"),
    ],
)
def test_a_mistake_is_one_message_before_any_work(predict, place, monkeypatch, arguments, message):
    def forbidden(*args, **kwargs):
        raise AssertionError("the work has begun")

    monkeypatch.setattr("ifrvis.inference.modes.predict_video", forbidden)
    status, said = predict(*arguments)
    assert status == 2
    assert said.startswith("ifrvis: ")
    assert message in said
    assert not list(place.glob("predicted-*"))


def test_a_checkpoint_from_elsewhere_is_scored_under_a_rows_inference(place, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(place)
    roots = ["--results", str(tmp_path / "results"), "--reports", str(tmp_path / "reports")]
    given = ["evaluate-model", "weights.pth", "--row", "table1/ours-r50-ytvis19", "--profile", "smoke", *roots]
    assert main([*given, "--as", "published", "--seed", "2"]) == 0
    assert re.search(r"AP50 +(\d|-)", capsys.readouterr().out)
    (path,) = Store(tmp_path / "results").records("smoke").glob("*.json")
    record = read_record(path)
    assert (record.origin, record.seed, record.train_sig) == ("external", 2, sha256_file(place / "weights.pth"))
    assert record.name == "external-r50-published-s2"
    split = load_dataset("smoke19", place / "data").split("heldout")
    composed = compose("ours", "r50", "ytvis19", load_profile("smoke"), num_classes=4)
    model = build_model(composed.model, seed=1)
    load_trained(model, place / "weights.pth")
    videos = list(predict_split(model, split.read(), split.frames, composed.inference, seed=2))
    write_predictions(tmp_path / "p.json.gz", videos)
    assert record.files["predictions"] == sha256_file(tmp_path / "p.json.gz")
    assert record.metrics == score_file(split.read(), tmp_path / "p.json.gz")[0].metrics
    assert main(["verify", *roots]) == 0
    assert "recomputed" in capsys.readouterr().out
    (tmp_path / "other.pth").write_bytes(b"")
    given[1] = str(tmp_path / "other.pth")
    assert main([*given, "--as", "published", "--seed", "2"]) == 2
    assert "if another file shall take its place" in capsys.readouterr().err


def test_what_is_no_file_is_refused_before_anything_is_predicted(predict, tmp_path):
    os.mkfifo(tmp_path / "overlay.mp4")
    status, said = predict(*BARE, "--dataset", "smoke19", "--out", str(tmp_path))
    assert (status, list(tmp_path.iterdir())) == (2, [tmp_path / "overlay.mp4"])
    assert said.endswith("overlay.mp4 to write: it is a FIFO.\n")
