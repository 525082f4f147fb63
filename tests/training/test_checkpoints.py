"""Checkpoints survive truncation, a full disk and a kill between two writes."""

import errno
import pickle
import threading
from pathlib import Path
from unittest import mock

import pytest
import torch

from ifrvis.errors import UserError
from ifrvis.training import checkpoints
from ifrvis.training.checkpoints import Writer, newest_valid, save

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


class Slow:
    """`torch.save` on a disk that is slow until it is told to go on, and may break then."""

    def __init__(self, monkeypatch):
        self.goes_on, self.error, self.save = threading.Event(), None, torch.save
        monkeypatch.setattr("torch.save", self)

    def __call__(self, content, stream):
        assert self.goes_on.wait(30)
        if self.error:
            raise self.error
        self.save(content, stream)


def test_a_slow_disk_holds_up_nothing_and_what_is_written_is_as_it_was_asked_for(tmp_path, monkeypatch):
    disk, changing, asked = Slow(monkeypatch), state(1.0), []
    writer = Writer(tmp_path, 1e-9, lambda: asked.append(newest(tmp_path)))
    assert writer.is_due()
    writer.write(10, {**changing, "nested": [{"moment": (changing["model"]["weight"],)}]})
    changing["model"]["weight"] += 1  # as an optimizer does, in place
    assert not writer.is_due(), "one at a time"
    disk.goes_on.set()
    writer.finish()
    checkpoint = newest_valid([tmp_path], train_sig=SIG)
    for weight in (checkpoint.state["model"]["weight"], checkpoint.state["nested"][0]["moment"][0]):
        assert torch.equal(weight, torch.full((1000,), 1.0))
    assert asked == [None, None], "the fence is looked at before the copy, and again before it is published"


@pytest.mark.parametrize("overtaken", [False, True])
def test_a_write_that_fails_is_raised_at_the_next_safe_point_and_leaves_nothing(tmp_path, monkeypatch, overtaken):
    disk, fence = Slow(monkeypatch), mock.Mock()
    writer = Writer(tmp_path, 60, fence)
    writer.write(10, state(1))
    fence.side_effect = UserError("Free the way: overtaken") if overtaken else None
    disk.error = None if overtaken else OSError(errno.ENOSPC, "No space left on device")
    disk.goes_on.set()
    writer._thread.shutdown()
    with pytest.raises(UserError, match=r"^Free "):
        writer.is_due()
    writer.is_due()
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_take_three_percent_of_the_time_at_most(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(checkpoints, "_copied", lambda value: clock.__setitem__(0, clock[0] + 9.0) or value)
    for interval_s, due_s in ((120.0, 300.0), (600.0, 600.0)):
        writer = Writer(tmp_path, interval_s, lambda: None)
        clock[0] += interval_s
        assert writer.is_due()
        began = clock[0]
        writer.write(10, state(1))
        writer.finish()
        clock[0] = began + due_s - 1
        assert not writer.is_due()
        clock[0] += 1
        assert writer.is_due()
