"""A set and predictions go out as DAVIS' PNGs and COCO, and come back mask for mask."""

import json
from unittest import mock

import numpy as np
import pytest
from datasets.exchange.conftest import square
from PIL import Image

from ifrvis.cli import main


@pytest.fixture
def made(world, capsys):
    """A set, of masks that share pixels in one video, and a command about it."""
    world.objects[1] = world.objects[1]._replace(masks=[None, square(20), square(6), None])
    source = world.coco()
    assert (
        main(["data", "import", "coco", str(source), "--frames", str(world.frames), "--out", f"{world.root}/set"]) == 0
    )
    yaml = str(world.root / "set" / "dataset.yaml")

    def export(kind, out, *options):
        capsys.readouterr()
        status = main(["data", "export", kind, yaml, "--out", str(out), *options])
        return status, "".join(capsys.readouterr())

    return export


def test_davis_comes_back_mask_for_mask_whether_masks_share_pixels_or_not(world, made, found_in, expected):
    out, again = world.root / "out", world.root / "again"
    status, said = made("davis", out)
    assert (status, said) == (0, f"{out}: 2 videos, 3 tracks; masks of b-2 share pixels: a folder an object\n")
    palette = np.asarray(Image.open(out / "Annotations" / "a" / "00002.png"))
    assert np.array_equal(palette == 1, world.objects[2].masks[2])
    command = ["data", "import", "davis", str(out), "--out", str(again), "--category", "*/2=dog", "--category", "cat"]
    assert main(command) == 0
    assert found_in(again / "instances.json") == expected(world)
    frames = [(root / "a" / "00001.jpg").read_bytes() for root in (world.frames, out / "JPEGImages")]
    assert frames[0] == frames[1]
    status, said = made("davis", out)
    assert (status, f"Choose another --out, or remove {out}/Annotations" in said) == (2, True)


def test_coco_comes_back_mask_for_mask_and_has_what_makes_tracks_of_it_in_cvat(world, made, found_in, expected):
    out, again = world.root / "out.json", world.root / "again"
    assert made("coco", out)[0] == 0
    first = json.loads(out.read_text())["annotations"][0]
    assert first["attributes"] == {"track_id": first["track_id"], "keyframe": True}
    assert main(["data", "import", "coco", str(out), "--frames", str(world.frames), "--out", str(again)]) == 0
    assert found_in(again / "instances.json") == expected(world)


def test_a_crowd_is_no_object_of_davis(world, made):
    path, out = world.root / "set" / "instances.json", world.root / "out"
    content = json.loads(path.read_text())
    content["annotations"][1]["iscrowd"] = 1
    path.write_text(json.dumps(content))
    assert made("davis", out) == (0, f"{out}: 2 videos, 2 tracks; crowds left out: 1\n")
    assert [len(list((out / "Annotations").glob(each))) for each in ("a/*.png", "b-2/*.png")] == [4, 4]


def test_a_lost_frame_is_said_and_no_name_leads_out_of_the_folder(world, made):
    path = world.root / "set" / "instances.json"
    content = json.loads(path.read_text())
    content["videos"][0]["name"] = "../../up"
    path.write_text(json.dumps(content))
    assert made("davis", world.root / "out")[0] == 0
    assert sorted(each.name for each in (world.root / "out" / "Annotations").iterdir()) == ["_..-..-up", "b-2"]
    (frame := world.frames / "a" / "00001.jpg").unlink()
    status, said = made("davis", world.root / "other")
    assert (status, "00001.jpg" in said and said.startswith("ifrvis: Restore")) == (2, True)
    frame.symlink_to("/dev/zero")  # would fill the disk
    status, said = made("davis", world.root / "another")
    assert (status, f"{frame} is a device" in said) == (2, True)


def test_what_is_interrupted_leaves_nothing_that_looks_whole(world, made, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("ifrvis.datasets.exchange.exporting._write", mock.Mock(side_effect=KeyboardInterrupt))
        assert made("davis", world.root / "out")[0] == 130
    assert not list((world.root / "out").iterdir())
    assert made("davis", world.root / "out")[0] == 0


def test_predictions_go_out_above_a_score_and_videos_by_name(world, made, found_in):
    content = json.loads((world.root / "set" / "instances.json").read_text())
    keys = ("video_id", "category_id", "segmentations")
    entries = [{key: each[key] for key in keys} for each in content["annotations"]]
    for entry, score in zip(entries, (0.9, 0.2, 0.8)):
        entry["score"] = score
    (world.root / "results.json").write_text(json.dumps(entries))
    out, options = world.root / "out.json", ("--predictions", str(world.root / "results.json"), "--min-score", "0.5")
    assert made("coco", out, *options)[1] == f"{out}: 2 videos, 2 tracks\n"
    status, said = made("coco", out, *options, "--split", "heldout")
    of_others = f"ifrvis: Let --split be of what is predicted, or correct {world.root}/results.json: ["
    assert (status, said.startswith(of_others)) == (2, True)
    assert {each["score"] for each in json.loads(out.read_text())["annotations"]} == {0.9, 0.8}
    assert f"Choose another --out, or remove {out}" in made("coco", out)[1]
    out = world.root / "folder"
    assert made("coco", out, *options, "--videos", "a")[1] == f"{out}/instances.json: 1 videos, 1 tracks\n"
    status, said = made("coco", out, "--videos", "absent")
    assert (status, "Choose videos among a, b-2: the split has no 'absent'" in said) == (2, True)
