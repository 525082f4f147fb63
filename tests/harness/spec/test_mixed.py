"""Stills among the clips are a part of what a run is; without them everything stays as it was."""

import json

import cv2
import numpy as np
import pytest
import torch

from ifrvis.cli import main
from ifrvis.errors import UserError
from ifrvis.evaluation.scoring import numbers_of
from ifrvis.evaluation.videos import read_videos
from ifrvis.files import sha256_bytes, sha256_file
from ifrvis.harness.plan.planner import make_plan
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.spec.weights import given_weights

STILLS = """
name: mine
title: my stills
annotation: stills/instances.json
images: stills
categories: {smoke19: {cat: star}}
source: Draw them.
"""


@pytest.fixture
def stills(tmp_path, rng):
    """A stills' YAML for the smoke set, with two images under its data root."""
    folder = tmp_path / "data" / "stills"
    folder.mkdir(parents=True)
    content = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cat"}]}
    for k in range(2):
        cv2.imwrite(str(folder / f"{k}.jpg"), rng.integers(0, 255, (64, 96, 3), np.uint8))
        content["images"].append({"id": k, "width": 96, "height": 64, "file_name": f"{k}.jpg"})
        square = {"segmentation": [[20, 20, 60, 20, 60, 50, 20, 50]], "iscrowd": 0, "category_id": 1}
        content["annotations"].append({**square, "id": k, "image_id": k})
    (folder / "instances.json").write_text(json.dumps(content))
    (tmp_path / "stills.yaml").write_text(STILLS)
    return str(tmp_path / "stills.yaml")


def test_stills_change_the_identity_by_their_content_and_ratio_alone(make_request, stills, tmp_path):
    def planned(**given):
        overrides = {"train.stills": {"dataset": stills, "ratio": 0.5, **given}} if given else {}
        (training,) = make_plan(make_request(num_seeds=1, overrides=overrides)).trainings
        return training.sig, training.spec.model_dump()

    (off, plain), (half, mixed), (more, _) = planned(), planned(ratio=0.5), planned(ratio=0.75)
    assert len({off, half, more}) == 3
    assert {key for key in plain if plain[key] != mixed[key]} == {"data"}
    assert set(plain) == set(mixed)
    moved = tmp_path / "moved.yaml"
    moved.write_text((tmp_path / "stills.yaml").read_text())
    assert planned(dataset=str(moved))[0] == half
    path = tmp_path / "data" / "stills" / "instances.json"
    path.write_text(path.read_text().replace("[20, 20,", "[20, 21,"))
    assert planned(ratio=0.5)[0] not in (off, half)


def test_what_is_wrong_with_stills_is_said(make_request, stills, tmp_path):
    def plan(dataset, ratio):
        return make_plan(make_request(overrides={"train.stills": {"dataset": dataset, "ratio": ratio}}))

    for ratio in (0, 1, -0.5):
        with pytest.raises(UserError, match=r"^Correct 'ratio' in 'train\.stills' in profile 'smoke', --set"):
            plan(stills, ratio)
    assert plan("coco", 0.5).data_missing == [], "the profile says what stands for it: stills that are made"
    (tmp_path / "data" / "stills" / "instances.json").unlink()
    (missing,) = plan(stills, 0.5).data_missing
    assert missing.startswith("Put my stills where it is expected: ")
    assert missing.endswith("Draw them.")


def test_a_run_trains_on_them_and_its_record_says_so(make_request, stills, tmp_path):
    """Real training on a mixture, from the command to the record."""
    overrides = {"train.stills": {"dataset": stills, "ratio": 0.5}, "train.iterations": 1}
    weights = tmp_path / "some.pth"
    width = load_profile("smoke").set["model.track_head.feat_channels"]
    torch.save({"state_dict": {"track_head.level_embed.weight": torch.zeros(3, width)}}, weights)
    said = {"name": "some weights", "sha256": sha256_file(weights), "source": {"file": "x.pkl"}, "queries": None}
    weights.with_suffix(".json").write_text(json.dumps(said))
    given = [f"--{name}={tmp_path}/{folder}" for name, folder in (("data-root", "data"), ("results", "r"))]
    given += ["--init", str(weights)]
    given += [f"--set={key}={json.dumps(value)}" for key, value in overrides.items()]
    given += ["--profile", "smoke", "--rows", "mask2former-r50-ytvis19", "--seeds", "1", f"--reports={tmp_path}/p"]
    assert main(["run", "table1", *given]) == 0
    (path,) = (tmp_path / "r" / "records" / "smoke").glob("*.json")
    record = json.loads(path.read_text())
    assert "stills" in record["name"]
    (training,) = make_plan(
        make_request(num_seeds=1, overrides=overrides, init=given_weights(weights, tmp_path))
    ).trainings
    assert record["train_sig"] == training.sig
    assert record["data"]["train"] == training.spec.data
    assert str(tmp_path) not in path.read_text()
    assert record["initial_weights"] == said
    assert record["started_from"] == said["sha256"]
    left = record["not_loaded"]
    assert sum(left["reasons"].values()) == left["missing"] + left["mismatched"]
    assert left["reasons"]["class head: its classes are others"] == 2
    assert list(record["loss"]) == ["1"]
    videos = read_videos(path.with_suffix(".videos.json.gz"))
    assert record["files"]["videos"] == sha256_bytes(videos.packed())
    assert record["metrics"] == numbers_of(videos)["metrics"]
    assert record["cost"]["frames"] == sum(counts["top10"].frames for counts in videos.tracking)
    assert all(record["cost"].values())
