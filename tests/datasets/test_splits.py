import json
import random

import pytest

from ifrvis.cli import main
from ifrvis.datasets.catalog import load_dataset
from ifrvis.datasets.splits import HeldOut, heldout_rule, heldout_videos
from ifrvis.datasets.ytvis import Video, read_annotations
from ifrvis.errors import UserError


def videos(names, first_id=0):
    return tuple(Video(first_id + k, 4, 4, (f"{name}/0.jpg",), name) for k, name in enumerate(names))


def drawn(names, rule):
    """Names of the videos that are held out."""
    made = videos(names)
    return {made[k].name for k in heldout_videos(made, rule)}


@pytest.mark.parametrize(("name", "seed"), [("ytvis19", 2019), ("ytvis21", 2021)])
def test_the_committed_rules_hold_out_400_videos_whatever_their_order_and_ids(tmp_path, name, seed):
    rule = heldout_rule(load_dataset(name, tmp_path).config.heldout)
    assert rule == HeldOut(draw=400, seed=seed)
    names = [f"{k:010x}" for k in range(2238)]
    held_out = drawn(names, rule)
    assert len(held_out) == 400
    assert drawn(random.Random(0).sample(names, len(names)), rule) == held_out
    assert drawn(names[:2000], rule) > {name for name in held_out if name in names[:2000]}
    assert drawn(names, HeldOut(draw=400, seed=seed + 1)) != held_out


def test_a_draw_never_changes():
    assert drawn([f"v{k}" for k in range(20)], HeldOut(draw=4, seed=2019)) == {"v9", "v16", "v17", "v19"}


def test_a_video_is_held_out_by_its_own_name_which_may_have_brackets():
    names = ["cats [x1]", "cats [y2]", "dogs [x1]"]
    assert drawn(names, HeldOut(videos=("cats [x1]",))) == {"cats [x1]"}
    assert drawn(names, HeldOut(videos=("cats*",))) == {"cats [x1]", "cats [y2]"}


@pytest.mark.parametrize("seed", range(8))
def test_a_group_stays_together(seed):
    names = [f"v{k}" for k in range(9)] + ["beach_a", "beach_b", "beach_c"]
    held_out = drawn(names, HeldOut(draw=5, seed=seed, groups=("beach_*",)))
    assert len(held_out) == 5
    assert len(held_out & {"beach_a", "beach_b", "beach_c"}) in (0, 3)


@pytest.mark.parametrize("seed", range(8))
def test_parts_of_one_video_stay_together_whatever_they_are_called(seed):
    """`a` and `b` are of one folder, `b` and another `b` of one name, and that one is in a group with `c`."""
    files = [("a", "v/000.jpg"), ("b", "v/036.jpg"), ("b", "w/000.jpg"), ("c", "w/200.jpg")]
    files += [(f"x{k}", f"flat/x_{chr(97 + k)}_0.jpg") for k in range(6)]
    made = [Video(k, 4, 4, (file,), name) for k, (name, file) in enumerate(files)]
    for rule in (HeldOut(draw=5, seed=seed), HeldOut(videos=("c",))):
        held_out = heldout_videos(made[::-1], rule)
        assert held_out == heldout_videos(made, rule)
        assert len(held_out & {0, 1, 2, 3}) in (0, 4)
        assert len(held_out) == (4 if rule.videos else 5)


def union(parts, key):
    return sorted((each for part in parts for each in part[key]), key=lambda each: str(each["id"]))


def test_a_split_for_other_programs_is_the_file_in_two_parts(tmp_path, capsys, monkeypatch, dataset_of):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yaml, path = dataset_of(["a", "b", "c", "d", "beach_1", "beach_2"]), tmp_path / "gt.json"
    content = json.loads(path.read_text()) | {"info": {"year": 2026}, "licenses": [{"id": 1}]}
    content["videos"][2]["id"] = "third"
    mask = {"size": [4, 4], "counts": [2, 3, 11]}
    content["annotations"] = [
        {"id": 10 + k, "video_id": video["id"], "category_id": 1, "segmentations": [mask], "note": "kept"}
        for k, video in enumerate(content["videos"])
    ]
    path.write_text(json.dumps(content))
    command = ["data", "split", yaml, "--data-root", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(command) == 0
    assert main(command) == 0
    parts = [json.loads((tmp_path / "out" / f"{name}.json").read_text()) for name in ("train", "heldout")]
    assert union(parts, "videos") == [{"length": 1, **each} for each in union([content], "videos")]
    added = {"height": 4, "width": 4, "length": 1, "iscrowd": 0, "areas": [3], "bboxes": [[0, 0, 2, 4]]}
    assert union(parts, "annotations") == [{**added, **each} for each in union([content], "annotations")]
    dataset = load_dataset(yaml, tmp_path)
    for part, role in zip(parts, ("train", "heldout")):
        split = dataset.split(role)
        assert part["info"] == {"year": 2026, "dataset": "mine", "split": role, "fingerprint": split.fingerprint}
        assert (part["licenses"], part["categories"]) == (content["licenses"], content["categories"])
        read = read_annotations(tmp_path / "out" / f"{role}.json")
        assert [video.id for video in read.videos] == [video.id for video in split.read().videos]
        assert {track.video_id for track in read.tracks} == {video.id for video in read.videos}
    (tmp_path / "out" / "train.json").write_text("{}")
    capsys.readouterr()
    assert main(command) == 2
    assert f"Remove {tmp_path}/out/train.json" in capsys.readouterr().err


def test_what_is_drawn_is_counted(tmp_path, capsys, monkeypatch, dataset_of):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    names = ["beach_1", "beach_2", "beach_3", "sea_1", "sea_2", "sea_3"]
    yaml = dataset_of(names, "{draw: 4, seed: 1, groups: [beach_*, sea_*]}")
    assert main(["data", "split", yaml, "--data-root", str(tmp_path)]) == 0
    assert "3 videos held out (of 4 to draw: groups stay whole)" in capsys.readouterr().out


def test_the_held_out_videos_are_named_and_nothing_is_written(tmp_path, capsys, monkeypatch, dataset_of):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yaml = dataset_of(["a", "b", "c", "d", "beach_1", "beach_2"])
    split = load_dataset(yaml, tmp_path).split("heldout")
    before = sorted(tmp_path.iterdir())
    assert main(["data", "split", yaml, "--data-root", str(tmp_path)]) == 0
    names = [video.name for video in split.read().videos]
    assert capsys.readouterr().out.splitlines() == [f"mine: 3 videos held out, fingerprint {split.fingerprint}", *names]
    assert sorted(tmp_path.iterdir()) == before


def test_a_rule_that_does_not_exist_and_a_dataset_without_one_are_refused(tmp_path, capsys, dataset_of):
    with pytest.raises(UserError, match=r"Choose one of ytvis19, ytvis21 .*no split 'ytvis22'"):
        load_dataset(dataset_of(["a", "b"], "ytvis22"), tmp_path)
    with pytest.raises(UserError, match="'heldout'"):
        load_dataset(dataset_of(["a", "b"], "{drawn: 4}"), tmp_path)
    assert main(["data", "split", "mini19", "--data-root", str(tmp_path)]) == 2
    assert "Choose a dataset with a rule 'heldout': mini19" in capsys.readouterr().err
