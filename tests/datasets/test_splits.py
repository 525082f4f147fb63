import json
import random

import pytest

from ifrvis.cli import main
from ifrvis.datasets.catalog import load_dataset
from ifrvis.datasets.splits import HeldOut, heldout_rule, heldout_videos
from ifrvis.datasets.ytvis import Video
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


@pytest.mark.parametrize("seed", range(8))
def test_a_group_stays_together(seed):
    names = [f"v{k}" for k in range(9)] + ["beach_a", "beach_b", "beach_c"]
    held_out = drawn(names, HeldOut(draw=5, seed=seed, groups=("beach_*",)))
    assert len(held_out) == 5
    assert len(held_out & {"beach_a", "beach_b", "beach_c"}) in (0, 3)


def test_the_list_is_made_and_fingerprinted_on_first_use_and_then_stays(tmp_path, capsys, monkeypatch, dataset_of):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    names = ["a", "b", "c", "d", "beach_1", "beach_2"]
    command = ["data", "split", dataset_of(names), "--data-root", str(tmp_path)]
    assert main(command) == 0
    said, path = capsys.readouterr().out, tmp_path / "splits" / "mine-heldout.json"
    listed = json.loads(path.read_text())
    split = load_dataset(str(tmp_path / "mine.yaml"), tmp_path).split("heldout")
    assert listed["fingerprint"] == split.fingerprint
    assert said == f"{path}: 3 videos held out, fingerprint {split.fingerprint}\n"
    assert [video["id"] for video in listed["videos"]] == [video.id for video in split.read().videos]
    assert main(command) == 0
    path.write_bytes(b"\xff")  # damaged
    assert main(command) == 2
    path.write_text(json.dumps(listed))
    dataset_of([*names, "e"])
    capsys.readouterr()
    assert main(command) == 2
    assert capsys.readouterr().err.startswith(f"ifrvis: Remove {path} if data or rule were changed on purpose")


def test_a_rule_that_does_not_exist_and_a_dataset_without_one_are_refused(tmp_path, capsys, dataset_of):
    with pytest.raises(UserError, match=r"Choose one of ytvis19, ytvis21 .*no split 'ytvis22'"):
        load_dataset(dataset_of(["a", "b"], "ytvis22"), tmp_path)
    with pytest.raises(UserError, match="'heldout'"):
        load_dataset(dataset_of(["a", "b"], "{drawn: 4}"), tmp_path)
    assert main(["data", "split", "mini19", "--data-root", str(tmp_path)]) == 2
    assert "Choose a dataset with a rule 'heldout': mini19" in capsys.readouterr().err
