"""How a split of a synthetic set comes onto the disk."""

import hashlib

import pytest

from ifrvis.datasets.synthetic.making import make_split
from ifrvis.errors import UserError


def digest(folder):
    """Name and content of every file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_parameters_give_the_same_bytes(tmp_path, parameters_of):
    for place in ("first", "second"):
        make_split(parameters_of("smoke19"), "train", tmp_path / place)
    assert digest(tmp_path / "first") == digest(tmp_path / "second")


def test_what_a_version_of_the_generator_draws_stays(tmp_path, parameters_of):
    """Numbers of reports rest on it; whoever changes it on purpose raises `GENERATOR_VERSION`."""
    path = make_split(parameters_of("smoke19"), "test", tmp_path)
    assert digest(tmp_path)[path.name] == "e1a38b034db9a059cb7e1e7044ef833dc21c88980e596f374a0d6a0895eda550"


def test_a_split_without_videos_is_refused_and_nothing_is_written(tmp_path, parameters_of):
    with pytest.raises(UserError, match=r"^Choose another set, or raise 'pretrain' of its 'videos': it has none there"):
        make_split(parameters_of("mini19"), "pretrain", tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_a_complete_split_is_left_alone(tmp_path, parameters_of):
    path = make_split(parameters_of("smoke19"), "test", tmp_path)
    path.write_text("{}")
    assert make_split(parameters_of("smoke19"), "test", tmp_path) == path
    assert path.read_text() == "{}"


def test_an_interrupted_split_is_not_there_and_can_be_made_again(tmp_path, parameters_of):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_split(parameters_of("smoke19"), "test", tmp_path / "cut", progress=interrupt)
    assert not digest(tmp_path / "cut")
    for place in ("cut", "whole"):
        make_split(parameters_of("smoke19"), "test", tmp_path / place)
    assert digest(tmp_path / "cut") == digest(tmp_path / "whole")


def test_a_split_without_annotations_is_finished(tmp_path, parameters_of):
    path = make_split(parameters_of("smoke19"), "test", tmp_path)
    before = digest(tmp_path)
    path.unlink()
    make_split(parameters_of("smoke19"), "test", tmp_path)
    assert digest(tmp_path) == before


def test_two_at_once_leave_one_whole_split(tmp_path, parameters_of):
    calls = []

    def overtaken(done, total):
        calls.append((done, total))
        if done == 2:
            make_split(parameters_of("smoke19"), "test", tmp_path / "raced")

    make_split(parameters_of("smoke19"), "test", tmp_path / "raced", progress=overtaken)
    make_split(parameters_of("smoke19"), "test", tmp_path / "alone")
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert digest(tmp_path / "raced") == digest(tmp_path / "alone")


def test_a_split_of_other_parameters_is_refused(tmp_path, parameters_of):
    make_split(parameters_of("smoke19"), "test", tmp_path)
    with pytest.raises(UserError, match=r"Remove .* made from other parameters"):
        make_split(parameters_of("smoke19", seed=5), "test", tmp_path)


def test_a_folder_that_cannot_be_made_is_the_users_to_mend(tmp_path, parameters_of):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="writable"):
        make_split(parameters_of("smoke19"), "test", tmp_path / "file" / "set")
