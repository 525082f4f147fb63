"""Attempts: the lives of a run on a machine.

An attempt's folder is made by an atomic mkdir. Its number is the claim (only one launcher can make it) and the
fencing token: a worker that is no longer the highest attempt of its run stops before it writes anything that counts.

    attempts/0001/
      submit.json    what the worker is asked for, written by the launcher
      env.json       the machine: an allow-list
      heartbeat      JSON of the progress, rewritten every few seconds; its age tells whether the worker lives
      stop           present: the worker is asked to stop at the next safe point
      exit.json      how it ended; absent: it has not, or it was killed
      log.txt        all output
      checkpoints/
"""

import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ifrvis.errors import UserError
from ifrvis.files import canonical_json, read_json, write_atomically
from ifrvis.harness.runs import Run

__all__ = ["Attempt", "AttemptState", "StaleAttemptError", "attempts_of", "claim", "latest"]

AttemptState = Literal["pending", "running", "complete", "stopped", "failed", "killed"]
HEARTBEAT_LIMIT_S = 90.0  # a worker beats every 2 s, also while it builds its model
PENDING_LIMIT_S = 90.0  # from the claim to the first heartbeat, on this machine


class StaleAttemptError(RuntimeError):
    """A later attempt of the same run exists: this one must not write anything that counts."""


@dataclass(frozen=True)
class Attempt:
    """One attempt of a run."""

    run: Run
    number: int

    @property
    def folder(self) -> Path:
        """The attempt's own folder."""
        return self.run.attempts / f"{self.number:04d}"

    @property
    def checkpoints(self) -> Path:
        """Where this attempt, and no other, writes checkpoints."""
        return self.folder / "checkpoints"

    @property
    def log(self) -> Path:
        """All output of the worker."""
        return self.folder / "log.txt"

    def state(self) -> AttemptState:
        """The state as the files tell it."""
        ending = self.ending()
        if ending is not None:
            reason: AttemptState = ending["reason"]
            return reason
        if self._process_is_gone():
            return "killed"
        heartbeat = self.folder / "heartbeat"
        age = _age_s(heartbeat if heartbeat.exists() else self.folder)
        if heartbeat.exists():
            return "running" if age < HEARTBEAT_LIMIT_S else "killed"
        return "pending" if age < PENDING_LIMIT_S else "killed"

    def ending(self) -> dict[str, Any] | None:
        """How the attempt ended, or None."""
        path = self.folder / "exit.json"
        return read_json(path, "how an attempt ended") if path.exists() else None

    def end(self, reason: AttemptState, *, kind: str = "", message: str = "", seconds: float = 0.0) -> None:
        """Write `exit.json`."""
        ending = {"reason": reason, "kind": kind, "message": message, "seconds": round(seconds, 3)}
        write_atomically(self.folder / "exit.json", json.dumps(ending, indent=1) + "\n")

    def progress(self) -> dict[str, Any]:
        """The last heartbeat's content, empty before the first."""
        path = self.folder / "heartbeat"
        try:
            return dict(json.loads(path.read_text()))
        except (OSError, ValueError):
            return {}

    def beat(self, progress: dict[str, Any]) -> None:
        """Say that the worker lives, and how far it is."""
        write_atomically(self.folder / "heartbeat", json.dumps(progress))

    def ask_to_stop(self) -> None:
        """Ask the worker to stop at the next safe point."""
        (self.folder / "stop").touch()

    def is_asked_to_stop(self) -> bool:
        """Whether somebody asked this attempt to stop."""
        return (self.folder / "stop").exists()

    def submission(self) -> dict[str, Any]:
        """The content of `submit.json`."""
        return dict(read_json(self.folder / "submit.json", "what an attempt is asked for"))

    def check_fence(self) -> None:
        """Pass only for the highest attempt of the run.

        Raises:
            StaleAttemptError: If a later attempt exists.
        """
        newest = latest(self.run)
        if newest is not None and newest.number > self.number:
            raise StaleAttemptError(
                f"attempt {self.number} of {self.run.name} was overtaken by attempt {newest.number}"
            )

    def _process_is_gone(self) -> bool:
        """Whether the job's process ran on this machine and is no more."""
        path = self.folder / "job.json"
        if not path.exists():
            return False
        job = read_json(path, "the job of an attempt")
        return bool(job["machine"] == machine() and not _alive(int(job["pid"]), job["started"]))


def attempts_of(run: Run) -> list[Attempt]:
    """All attempts of a run, oldest first."""
    if not run.attempts.is_dir():
        return []
    numbers = sorted(int(path.name) for path in run.attempts.iterdir() if path.name.isdigit())
    return [Attempt(run, number) for number in numbers]


def latest(run: Run) -> Attempt | None:
    """The highest attempt of a run."""
    return max(attempts_of(run), key=lambda attempt: attempt.number, default=None)


def claim(run: Run, submission: dict[str, Any]) -> Attempt | None:
    """Make the next attempt of a run unless one is alive; None if another launcher has it."""
    newest = latest(run)
    if newest is not None and newest.state() in ("pending", "running"):
        return None
    attempt = Attempt(run, newest.number + 1 if newest else 1)
    try:
        run.attempts.mkdir(parents=True, exist_ok=True)
        attempt.folder.mkdir()  # atomic: of two launchers one gets it
    except FileExistsError:
        return None
    except OSError as error:
        raise UserError(f"Make {run.attempts} writable: no attempt can be started there ({error.strerror}).") from error
    write_atomically(attempt.folder / "submit.json", canonical_json(submission) + b"\n")
    return attempt


def machine() -> str:
    """A name of this machine that changes at every boot, so that an old process id means nothing."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def process_start(pid: int) -> str | None:
    """When a process started, in the kernel's ticks: with its id it names the process for good."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def _alive(pid: int, started: str | None) -> bool:
    return started is not None and process_start(pid) == started


def _age_s(path: Path) -> float:
    """Age of a file by the file server's own clock, where we may write beside it."""
    try:
        with tempfile.TemporaryFile(dir=path.parent) as probe:
            now = os.fstat(probe.fileno()).st_mtime
    except OSError:
        now = time.time()
    try:
        return now - path.stat().st_mtime
    except OSError:
        return 0.0
