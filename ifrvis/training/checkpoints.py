"""Checkpoints that survive a kill at any instant and are never trusted unread.

A checkpoint is `iter_000123.pth`, tensors and plain data only, and beside it `iter_000123.json` with its size and
SHA-256. Each is written under a temporary name, flushed and renamed; one without the other, cut short or changed,
does not count. The last two of a folder stay. While a run trains they are written from a copy, on a thread.
"""

import contextlib
import math
import os
import re
import time
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch

from ifrvis.errors import UserError
from ifrvis.files import (
    MAX_COPIES,
    bounded_memory,
    canonical_json,
    open_file,
    read_json,
    sha256_file,
    temporary_beside,
    write_atomically,
)

KEPT = 2
SHARE = 0.03  # of the time, that training may stand still for checkpoints
_PLAIN = {torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}
_PLAIN |= {torch.float16, torch.bfloat16, torch.float32, torch.float64}
State = dict[str, Any]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read and found whole."""

    path: Path
    iteration: int  # how many iterations are behind it
    state: State  # what `save` was given


def save(folder: Path, iteration: int, state: State, *, before: Callable[[], None] = lambda: None) -> Path:
    """Write `state` after `iteration` iterations; older checkpoints of the folder go, but the last two. UserError if
    the disk is full or the folder cannot be written; the checkpoints before it stay as they were.

    What `before` raises, called when all is written and not yet published, leaves nothing.
    """
    path = folder / f"iter_{iteration:06d}.pth"
    try:
        with temporary_beside(path) as (stream, temporary):  # a copy in memory would double what a large model takes
            torch.save({**state, "iteration": iteration}, stream)
    except (OSError, RuntimeError) as error:  # torch reports some failed writes as RuntimeError
        reason = error.__context__ if isinstance(error, RuntimeError) and error.__context__ else error
        raise UserError(
            f"Free some disk space, or make {path.parent} writable, and start again; the run goes on from its last "
            f"checkpoint: cannot write {path} ({reason})."
        ) from error
    try:
        before()
    except BaseException:
        temporary.unlink()
        raise
    seal = {"bytes": temporary.stat().st_size, "sha256": sha256_file(temporary)}
    temporary.replace(path)
    write_atomically(path.with_suffix(".json"), canonical_json(seal))
    for old in _by_iteration([folder])[KEPT:]:
        old.with_suffix(".json").unlink(missing_ok=True)
        old.unlink(missing_ok=True)
    return path


class Writer:
    """Writes checkpoints on a thread, one at a time, while training goes on.

    From one to the next it is `interval_s` seconds, or more where that would take more than `SHARE` of the time; with 0
    one is due whenever it is asked, however long that takes. `before` is that of `save`, on the thread; it is called
    before a copy is made, too.
    """

    def __init__(self, folder: Path, interval_s: float, before: Callable[[], None]) -> None:
        self._folder, self._interval_s, self._before = folder, interval_s, before
        self._thread = ThreadPoolExecutor(1, "checkpoints")
        self._writing: Future[Path] | None = None
        self._pause_s, self._began = 0.0, time.monotonic()

    def is_due(self) -> bool:
        """Whether it is time for a checkpoint, and the last one is written; raises what that has failed with."""
        busy = self._writing is not None and not self._writing.done()
        if not busy:
            self.finish()
        waited = time.monotonic() - self._began >= max(self._interval_s, self._pause_s / SHARE)
        return not self._interval_s or (waited and not busy)

    def write(self, iteration: int, state: State) -> None:
        """Copy `state`, and write the copy in the background, after the one before."""
        self._before()
        self._began = time.monotonic()
        self.finish()
        self._writing = self._thread.submit(save, self._folder, iteration, _copied(state), before=self._before)
        self._pause_s = time.monotonic() - self._began

    def finish(self) -> None:
        """Wait for the last write; raise what it fails with."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def close(self) -> None:
        """Let the last write end; whether it failed does not matter any more."""
        self._thread.shutdown()


def _copied(value: Any) -> Any:
    """The same with tensors of its own, in the CPU's memory."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_copied, value))
    return value


def interval_s() -> float:
    """Seconds from one checkpoint to the next, as the environment says; UserError if it says anything else."""
    given = os.environ.get("IFRVIS_CHECKPOINT_INTERVAL_S", "120")
    with contextlib.suppress(ValueError):
        if 0 <= float(given) < math.inf:
            return float(given)
    raise UserError(f"Set IFRVIS_CHECKPOINT_INTERVAL_S to seconds, or unset it: got {given!r}.")


def newest_valid(folders: Iterable[Path], *, train_sig: str) -> Checkpoint | None:
    """The whole checkpoint with the most iterations among all folders; of equal ones, that of the last folder.
    UserError if it belongs to another training than `train_sig`.
    """
    for path in _by_iteration(folders):
        checkpoint = read_checkpoint(path)
        if checkpoint is None:
            continue
        if checkpoint.state["train_sig"] != train_sig:
            raise UserError(
                f"Remove {path} or move it to its own run: it is a checkpoint of training "
                f"{str(checkpoint.state['train_sig'])[:12]}, this run is {train_sig[:12]}."
            )
        return checkpoint
    return None


def _by_iteration(folders: Iterable[Path]) -> list[Path]:
    """Checkpoint files, those with most iterations first."""
    paths = [path for folder in reversed(list(folders)) for path in folder.glob("iter_*.pth")]
    numbered = [path for path in paths if path.stem.removeprefix("iter_").isdecimal()]
    return sorted(numbered, key=lambda path: int(path.stem.removeprefix("iter_")), reverse=True)


def read_checkpoint(path: Path) -> Checkpoint | None:
    """The checkpoint at `path`; None if it is not whole, or was removed meanwhile."""
    try:
        seal = read_json(path.with_suffix(".json"))
        if seal != {"bytes": path.stat().st_size, "sha256": sha256_file(path)}:
            return None
        state = load_plain(path)
    except (OSError, ValueError):
        return None
    whole = isinstance(state, dict) and isinstance(state.get("iteration"), int) and "train_sig" in state
    return Checkpoint(path, state["iteration"], state) if whole else None


def load_plain(path: Path, most: int | None = None) -> Any:
    """Load tensors and plain data on the CPU; nothing in the file can run code, or take memory out of proportion.
    UserError if it is no regular file of at most `most` bytes; ValueError if it is cut short, or holds anything else.
    """
    with open_file(path, "the checkpoint", most) as stream, warnings.catch_warnings(), unpickling(stream):
        warnings.simplefilter("ignore")  # torch warns of files that it then refuses
        _check_stored(stream)
        content = torch.load(stream, map_location="cpu", weights_only=True)
    taken = sum(each.numel() * each.element_size() for each in _tensors_in(content))
    if taken > (most := (1 << 20) + MAX_COPIES // 2 * path.stat().st_size):  # of an expanded one it holds a number
        raise ValueError(f"its tensors would take {taken} bytes of memory, at most {most} are given to it")
    return content


@contextlib.contextmanager
def unpickling(stream: BinaryIO) -> Iterator[None]:
    """While the block lasts, memory is bounded, and what garbage makes an unpickler raise is a ValueError of a line."""
    try:
        with bounded_memory(stream):
            yield
    except Exception as error:
        named = {MemoryError: "out of the memory that its size allows", KeyError: "it is of another kind"}
        reason = named.get(type(error), str(error))
        # Around this torch says how to run what the file holds.
        reason = said[1] if (said := re.search(r"WeightsUnpickler error: (.*?)( Please |\n|$)", reason)) else reason
        stream.seek(0)
        if re.fullmatch(rb"[\s -~]*", head := stream.read(40)):  # a page that a server sent in the place of the file
            reason = f"it is text, {head.decode()!r}" if head else "it is empty"
        raise ValueError((reason or type(error).__name__).splitlines()[0]) from error


def is_plain(tensor: torch.Tensor) -> bool:
    """Whether a tensor is dense, in the CPU's memory, and of finite real numbers of a common type."""
    dense = tensor.layout == torch.strided and tensor.device.type == "cpu" and tensor.dtype in _PLAIN
    return dense and bool(torch.isfinite(tensor).all())


def single_number(tensors: Mapping[str, torch.Tensor]) -> str | None:
    """The first weight or bias without a dimension, which no layer has: who reads its length would fail."""
    return next((key for key, each in tensors.items() if not each.ndim and key.endswith((".weight", ".bias"))), None)


def _check_stored(stream: BinaryIO) -> None:
    """Refuse a zip whose entries are packed: torch would unpack them, and never packs any."""
    if stream.read(4) == b"PK\x03\x04":
        with zipfile.ZipFile(stream) as archive:
            if any(each.compress_type != zipfile.ZIP_STORED for each in archive.infolist()):
                raise ValueError("its entries are packed")
    stream.seek(0)


def _tensors_in(content: Any) -> Iterator[torch.Tensor]:
    """The tensors in nested plain data, each wherever it stands; what holds them once, for it may hold itself."""
    rest, seen = [content], set[int]()
    while rest:
        value = rest.pop()
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, dict | list | tuple | set) and id(value) not in seen:
            seen.add(id(value))
            rest += value.values() if isinstance(value, dict) else value
