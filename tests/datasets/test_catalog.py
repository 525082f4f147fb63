"""A dataset's YAML, its files, and the fingerprints that are remembered.

Also tests: ifrvis.datasets.fingerprints.
"""

import json
from pathlib import Path

import pytest

from ifrvis.datasets import ytvis
from ifrvis.datasets.catalog import WHOLE, Part, load_dataset
from ifrvis.datasets.ytvis import Annotations, Video, read_annotations
from ifrvis.errors import UserError
from ifrvis.packed import packed


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("ytvis19", "categories: 40", "categories: 0", "Correct 'categories'"),
        ("ytvis19", "name: ytvis19", "name: ytvis19\nroot_variable: AWS_SECRET", "Begin 'root_variable'"),
        ("smoke19", "categories: 4", "categories: 5", "to its num_classes, 4"),
    ],
)
def test_a_dataset_file_that_contradicts_itself_is_refused(tmp_path, name, old, new, message):
    text = packed("experiments", "datasets", f"{name}.yaml").read_text()
    assert old in text
    (tmp_path / "mine.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        load_dataset(f"{tmp_path}/mine.yaml", tmp_path).split("heldout")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"categories": 2}, "Set 'categories' of dataset 'mine' to 1"),
        ({"rule": "{draw: 0}"}, "leaves no video to 'heldout'"),
        ({"rule": "{videos: [a, b1]}", "names": ["a", "b_1"]}, r"no video is called 'b1' \(did you mean 'b_1'\?\)\."),
        ({"rule": "{videos: ['*']}"}, "leaves no video to 'train'"),
    ],
)
def test_a_dataset_whose_files_say_otherwise_is_refused(tmp_path, monkeypatch, dataset_of, changes, message):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    dataset = load_dataset(dataset_of(**{"names": ["a", "b"]} | changes), tmp_path)
    with pytest.raises(UserError, match=message):
        [dataset.split(role) for role in ("train", "heldout")]


def test_of_many_videos_an_error_names_some_and_the_nearest():
    videos = tuple(Video(k, 4, 4, (f"{k}.jpg",), f"video{k:03}") for k in range(400))
    message = r"among video000, .*, video009 and 390 more: the split has no 'vido399' \(did you mean 'video399'\?\)\.$"
    with pytest.raises(UserError, match=message):
        Part(videos=("vido399",)).of(Annotations(Path("gt.json"), (), videos, ()))


def test_the_command_that_makes_a_set_names_it_as_it_is_found(tmp_path):
    path = tmp_path / "my set.yaml"
    text = packed("experiments", "datasets", "smoke19.yaml").read_text()
    path.write_text(text.replace("name: smoke19", "name: tiny", 1))
    for name, said in (("smoke19", "smoke19"), (str(path), f"'{path}'")):
        missing = load_dataset(name, tmp_path).split("train").missing
        assert missing.startswith(f"Run `ifrvis data make-mini {said}`: ")


@pytest.mark.parametrize("folder", ["dataset", "mine"])
def test_the_set_of_a_folder_is_found_from_any_other(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / folder).mkdir()
    text = packed("experiments", "datasets", "smoke19.yaml").read_text()
    (tmp_path / folder / "dataset.yaml").write_text(text.replace("name: smoke19", "name: tiny", 1))
    assert load_dataset(folder, tmp_path).source == str(tmp_path / folder / "dataset.yaml")


def test_frames_that_change_in_place_change_the_fingerprint_and_one_that_is_gone_is_missing(
    tmp_path, monkeypatch, dataset_of
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    split = load_dataset(dataset_of(["a", "b"], "{videos: [b]}"), tmp_path).split
    before = {role: split(role).fingerprint for role in ("train", "heldout")}
    frame = tmp_path / "frames" / "a" / "0.jpg"
    frame.write_bytes(b"another")
    after = {role: split(role).fingerprint for role in ("train", "heldout")}
    assert after["train"] != before["train"]
    assert after["heldout"] == before["heldout"]  # its videos are others
    frame.unlink()
    assert split("train").fingerprint is None
    assert split("train").missing.startswith(f"Restore {frame}: ")


def test_annotations_are_read_once_for_a_fingerprint_and_again_when_they_change(tmp_path, monkeypatch, dataset_of):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = dataset_of(["a", "b"], "null")
    read = []
    monkeypatch.setattr(ytvis, "read_annotations", lambda *_, **__: read.append(1) or read_annotations(*_, **__))
    split = load_dataset(path, tmp_path).split
    assert split("train").fingerprint == split("train").fingerprint
    assert len(read) == 1
    dataset_of(["a"], "null")
    assert split("train").fingerprint
    assert len(read) == 2


@pytest.mark.parametrize("broken", [b"\xff", b"[]", b"{}", b"1"])
def test_the_cache_of_fingerprints_may_be_broken_or_unwritable(tmp_path, monkeypatch, dataset_of, broken):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    split = load_dataset(dataset_of(["a", "b"], "{videos: [b]}"), tmp_path).split
    fingerprint = split("train").fingerprint
    (remembered,) = (tmp_path / "ifrvis" / "listings").iterdir()
    sound = remembered.read_bytes()
    remembered.write_bytes(broken)
    assert split("train").fingerprint == fingerprint
    assert remembered.read_bytes() == sound
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert split("train").fingerprint == fingerprint


def test_each_part_of_a_split_has_a_fingerprint_of_its_own_and_the_whole_that_of_the_split(
    tmp_path, monkeypatch, dataset_of
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    parts = [WHOLE, Part(frames=1), Part(frames=100), Part(videos=("b",)), Part(frames=1, videos=("b",))]
    files, made = (
        load_dataset(dataset_of(["a", "b", "c"], "{videos: [b, c]}"), tmp_path),
        load_dataset("smoke19", tmp_path),
    )
    for dataset in (files, made):
        prints = [dataset.split("heldout", part).fingerprint for part in parts]
        assert len(set(prints)) == len(parts)
        assert prints[0] == dataset.split("heldout").fingerprint
    read = files.split("heldout", parts[-1]).read()
    assert [(video.name, video.length) for video in read.videos] == [("b", 1)]
    with pytest.raises(UserError, match="Choose videos among b, c: the split has no 'a'"):
        files.split("heldout", Part(videos=("a",)))


def places_of(name):
    config = load_dataset(name, Path()).config
    parts = [("full", config), ("server", config.server)]
    return [(name, role, *place) for role, of in parts for place in ((of.annotation, of.frames), *of.elsewhere)]


@pytest.mark.parametrize(
    ("name", "role", "annotation", "frames"),
    [place for name in ("ytvis19", "ytvis21", "ytvis22", "ovis") for place in places_of(name)],
)
def test_a_set_is_found_in_each_usual_layout_with_the_same_fingerprint(
    tmp_path, monkeypatch, name, role, annotation, frames
):
    """Videos as each archive has them: two, of which one object is in all categories' last."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    config, found = load_dataset(name, tmp_path).config, []
    categories = [{"id": k, "name": each} for k, each in enumerate(config.names, start=1)]
    files = ["a/img_0000001.jpg", "b/img_0000001.jpg"]
    videos = [{"id": k, "width": 2, "height": 2, "file_names": [file]} for k, file in enumerate(files, start=1)]
    track = {
        "id": 1,
        "video_id": 2,
        "category_id": len(categories),
        "segmentations": [{"size": [2, 2], "counts": "04"}],
    }
    content = {"videos": videos, "categories": categories, "annotations": [track] if role == "full" else None}
    for root, place in (("asked", (annotation, frames)), ("first", places_of(name)[0 if role == "full" else -1][2:])):
        (tmp_path / root / place[0]).parent.mkdir(parents=True)
        (tmp_path / root / place[0]).write_text(json.dumps(content))
        for file in files:
            (tmp_path / root / place[1] / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / root / place[1] / file).touch()
        split = load_dataset(name, tmp_path / root).split(role)
        assert (split.annotation, split.frames) == tuple(tmp_path / root / each for each in place)
        read = split.read()
        assert len(read.categories) == config.categories
        assert [each.category_id for each in read.tracks] == [config.categories] * (role == "full")
        found.append(split.fingerprint)
    assert found[0] == found[1]


def test_what_is_missing_says_every_place_that_was_looked_in(tmp_path):
    missing = load_dataset("ytvis19", tmp_path).split("full").missing
    for _, role, annotation, _ in places_of("ytvis19"):
        assert (annotation in missing) == (role == "full")
