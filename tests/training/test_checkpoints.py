"""Checkpoints survive truncation, a full disk and a kill between two writes."""

import errno
import pickle
from pathlib import Path

import pytest
import torch

from ifrvis.errors import UserError
from ifrvis.training import checkpoints
from ifrvis.training.checkpoints import newest_valid, save

SIG = "a" * 64


def state(value: float) -> dict:
    return {"train_sig": SIG, "model": {"weight": torch.full((1000,), value)}, "schedule": {"last_step": 3}}


def newest(*folders: Path) -> int | None:
    checkpoint = newest_valid(folders, train_sig=SIG)
    return None if checkpoint is None else checkpoint.iteration


def test_what_was_saved_comes_back(tmp_path):
    path = save(tmp_path, 123, state(0.5))
    assert path.name == "iter_000123.pth"
    checkpoint = newest_valid([tmp_path], train_sig=SIG)
    assert (checkpoint.path, checkpoint.iteration) == (path, 123)
    assert torch.equal(checkpoint.state["model"]["weight"], torch.full((1000,), 0.5))
    assert checkpoint.state["schedule"] == {"last_step": 3}


def test_the_last_two_stay_and_nothing_else_is_left(tmp_path):
    for iteration in (5, 10, 15, 999_999, 1_000_000):
        save(tmp_path, iteration, state(0))
    names = ["iter_1000000.json", "iter_1000000.pth", "iter_999999.json", "iter_999999.pth"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert newest(tmp_path) == 1_000_000


def test_the_newest_of_all_attempts_counts(tmp_path):
    first, second, third = (tmp_path / name for name in "abc")
    save(first, 20, state(1))
    save(second, 30, state(2))
    save(third, 10, state(3))
    save(third, 30, state(4))
    assert newest(first) == 20
    assert newest_valid([first, second, third], train_sig=SIG).path.parent == third
    assert newest(tmp_path / "absent") is None
    assert newest() is None


HARMS = {
    "truncated": lambda path, seal: path.write_bytes(path.read_bytes()[:-100]),
    "flipped": lambda path, seal: path.write_bytes(path.read_bytes().replace(b"\x00\x40", b"\x00\x41", 1)),
    "empty": lambda path, seal: path.write_bytes(b""),
    "no seal": lambda path, seal: seal.unlink(),  # killed between the two renames
    "broken seal": lambda path, seal: seal.write_text('{"bytes": 12'),
    "no file": lambda path, seal: path.unlink(),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_broken_checkpoint_is_passed_over(tmp_path, harm):
    save(tmp_path, 10, state(1))
    path = save(tmp_path, 20, state(2))
    HARMS[harm](path, path.with_suffix(".json"))
    assert newest(tmp_path) == 10


class Evil:
    def __reduce__(self):
        return Path.touch, (Path("/tmp/never-made-by-a-checkpoint"),)


@pytest.mark.parametrize("content", [pickle.dumps(Evil()), b"x" * 100, pickle.dumps({"iteration": 1})])
def test_a_sealed_file_of_something_else_is_passed_over_and_never_run(tmp_path, content):
    path = save(tmp_path, 20, state(1))
    path.write_bytes(content)
    seal = {"bytes": len(content), "sha256": checkpoints.sha256_file(path)}
    path.with_suffix(".json").write_bytes(checkpoints.canonical_json(seal))
    assert newest(tmp_path) is None
    assert not Path("/tmp/never-made-by-a-checkpoint").exists()


def test_another_training_is_an_error(tmp_path):
    save(tmp_path, 20, {**state(1), "train_sig": "b" * 64})
    with pytest.raises(UserError, match=r"^Remove .*iter_000020\.pth.*training bbbbbbbbbbbb, this run is aaaaaaaaaaaa"):
        newest(tmp_path)


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    save(tmp_path, 10, state(1))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for broken in ("torch.save", "os.fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(broken, full)
            with pytest.raises(UserError, match=r"^Free some disk space.*iter_000020.*No space left on device"):
                save(tmp_path, 20, state(2))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["iter_000010.json", "iter_000010.pth"]
        assert newest(tmp_path) == 10
