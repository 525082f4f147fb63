"""Attempts: the lives of a run on a machine.

An attempt's folder is made by an atomic mkdir. Its number is the claim (only one launcher can make it) and the
fencing token: a worker that is no longer the highest attempt of its run stops before it writes anything that counts.

    attempts/0001/
      submit.json    what the worker is asked for, written by the launcher, and which process that is
      env.json       the machine: an allow-list
      job.json       the worker's process, which says at once where it is gone on this machine
      slurm.json     on a cluster: the array that it waits in, written before that is submitted
      heartbeat      JSON of the progress, rewritten every few seconds; its age tells whether the worker lives
      stop           present: the worker is asked to stop at the next safe point, for the reason that it holds
      retry          present: somebody has looked at the failure, and the next launch may start the run again
      exit.json      how it ended; absent: it has not, or it was killed
      log.txt        all output
      checkpoints/
"""

import contextlib
import json
import os
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ifrvis.errors import UserError, printable
from ifrvis.files import canonical_json, publish_once, read_json, write_atomically
from ifrvis.harness.store.paths import Run
from ifrvis.harness.store.states import ENDINGS, LIVE, STOPS, AttemptState, EndState
from ifrvis.schema import is_number

HEARTBEAT_LIMIT_S = 90.0  # a worker beats every 2 s, also while it builds its model
PENDING_LIMIT_S = 90.0  # from the claim to the first heartbeat, on this machine
CLAIM_LIMIT_S = 5.0  # from the folder to its submit.json, which the launcher writes at once
ARRAY = re.compile("ifrvis-[0-9a-f]{1,12}")
FOLDER = re.compile(r"[0-9]{4}|[1-9][0-9]{4,8}")


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
            reason: EndState = ending["reason"]
            return reason
        if self.process_lives() is False:
            return "killed"
        heartbeat = self.folder / "heartbeat"
        if self.place():  # it may wait for days, or be suspended: only the scheduler knows that it is gone
            return "running" if heartbeat.exists() else "pending"
        age = age_s(heartbeat if heartbeat.exists() else self.folder)
        if heartbeat.exists():
            return "running" if age < HEARTBEAT_LIMIT_S else "killed"
        return "killed" if age > PENDING_LIMIT_S or self._is_abandoned(age) else "pending"

    def is_alive(self) -> bool:
        """Whether it runs, or is about to."""
        return self.state() in LIVE

    def ending(self) -> dict[str, Any] | None:
        """How the attempt ended, or None; one whose file cannot be used was killed, so that the next goes on."""
        path = self.folder / "exit.json"
        if not path.exists():
            return None
        ending = _object(path)
        texts = all(isinstance(ending.get(key), str) for key in ("reason", "kind", "message"))
        if texts and ending["reason"] in ENDINGS and is_number(ending.get("seconds")):
            return {**ending, "message": printable(ending["message"])}
        return {"reason": "killed", "kind": "killed", "message": f"{path} cannot be used", "seconds": None}

    def end(self, reason: EndState, *, kind: str = "", message: str = "", seconds: float = 0.0) -> None:
        """Write `exit.json`."""
        ending = {"reason": reason, "kind": kind, "message": message, "seconds": round(seconds, 3)}
        write_atomically(self.folder / "exit.json", json.dumps(ending, indent=1) + "\n")

    def end_unless_ended(self, reason: EndState, *, kind: str, message: str) -> None:
        """Write `exit.json` for a worker that is gone; what it wrote itself stays, also if it cannot be seen yet."""
        ending = {"reason": reason, "kind": kind, "message": message, "seconds": 0.0}
        publish_once(self.folder / "exit.json", json.dumps(ending, indent=1) + "\n")

    def place(self) -> dict[str, Any]:
        """The SLURM job behind the attempt: `name` and `index` of its array, `cluster`, `user`; empty without one."""
        place = _object(self.folder / "slurm.json") if (self.folder / "slurm.json").exists() else {}
        kinds = {"name": str, "index": int, "cluster": str, "user": int}
        sound = all(type(place.get(key)) is kind for key, kind in kinds.items()) and ARRAY.fullmatch(place["name"])
        return place if sound else {}

    def has_begun(self) -> bool:
        """Whether its worker has shown a sign of life."""
        return (self.folder / "heartbeat").exists()

    def progress(self) -> dict[str, Any]:
        """Phase and numbers of the last heartbeat; empty before the first, and where it cannot be used."""
        said = _object(self.folder / "heartbeat")
        phase, numbers = said.get("phase"), {key: value for key, value in said.items() if is_number(value)}
        if not isinstance(phase, str) or not re.fullmatch("[a-z ]+", phase):
            return {}
        if "iterations" not in numbers:
            numbers.pop("iteration", None)
        return {**numbers, "phase": phase}

    def beat(self, progress: dict[str, Any]) -> None:
        """Say that the worker lives, and how far it is."""
        write_atomically(self.folder / "heartbeat", json.dumps(progress))

    def ask_to_stop(self, kind: str) -> None:
        """Ask the worker to stop at the next safe point: `interrupted`, `cancelled`, `preempted` or `timeout`."""
        write_atomically(self.folder / "stop", kind)

    def is_asked_to_stop(self) -> bool:
        """Whether somebody asked this attempt to stop."""
        return (self.folder / "stop").exists()

    def why_asked_to_stop(self) -> str:
        """What `ask_to_stop` was given; `interrupted` where that cannot be read."""
        try:
            said = (self.folder / "stop").read_text(errors="replace")
        except OSError:
            return "interrupted"
        return said if said in STOPS else "interrupted"

    def submission(self) -> dict[str, Any]:
        """The content of `submit.json`.

        Raises:
            UserError: If it is missing or broken.
        """
        path = self.folder / "submit.json"
        submission = read_json(path, "what an attempt is asked for")
        if not isinstance(submission, dict):
            raise UserError(f"Start the same command again: {path} is not what an attempt is asked for.")
        return submission

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

    def process_lives(self) -> bool | None:
        """Whether the job's process lives; None if it has not begun, or cannot be seen from here."""
        return _lives(_object(self.folder / "job.json"))

    def _is_abandoned(self, age_s: float) -> bool:
        """Whether the launcher died, here, before it had started the job: nobody will."""
        path = self.folder / "submit.json"
        if not path.exists():
            return age_s > CLAIM_LIMIT_S
        # Without the root, which may be written in several ways.
        return self.launcher_lives() is False and not names_a_command("/".join(self.folder.parts[-4:]))

    def launcher_lives(self) -> bool | None:
        """Whether the process that claimed the attempt lives; None if it cannot be seen from here."""
        launcher = _object(self.folder / "submit.json").get("launcher")
        return _lives(launcher) if isinstance(launcher, dict) else None


def attempts_of(run: Run) -> list[Attempt]:
    """All attempts of a run, oldest first."""
    if not run.attempts.is_dir():
        return []
    numbers = sorted(int(path.name) for path in run.attempts.iterdir() if FOLDER.fullmatch(path.name))
    return [Attempt(run, number) for number in numbers]


def latest(run: Run) -> Attempt | None:
    """The highest attempt of a run."""
    return max(attempts_of(run), key=lambda attempt: attempt.number, default=None)


def claim(run: Run, submission: dict[str, Any], *, after: int | None = None) -> Attempt | None:
    """Make the next attempt of a run unless one is alive; None if another launcher has it.

    Args:
        run: The run.
        submission: What the worker is asked for.
        after: The number that the launcher knows as the newest: it gets no other than the next.
    """
    newest = latest(run)
    if newest is not None and newest.is_alive():
        return None
    if after is not None and after != (newest.number if newest else 0):
        return None
    attempt = Attempt(run, newest.number + 1 if newest else 1)
    try:
        run.attempts.mkdir(parents=True, exist_ok=True)
        attempt.folder.mkdir()  # atomic: of two launchers one gets it
    except OSError as error:
        if isinstance(error, FileExistsError) and attempt.folder.is_dir():
            return None
        raise UserError(f"Make {run.attempts} writable: no attempt can be started there ({error.strerror}).") from error
    submission = {**submission, "launcher": this_process()}
    write_atomically(attempt.folder / "submit.json", canonical_json(submission) + b"\n")
    return attempt


def machine() -> str:
    """What process ids refer to: this machine since its last boot, and in a container, that container."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + " " + str(Path("/proc/self/ns/pid").readlink())


def this_process() -> dict[str, Any]:
    """This process, as `_lives` looks for it."""
    return {"machine": machine(), "pid": os.getpid(), "started": process_start(os.getpid())}


def process_start(pid: int) -> str | None:
    """When a process started, in the kernel's ticks: with its id it names the process for good."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def _lives(process: dict[str, Any]) -> bool | None:
    """Whether a process lives; None if it cannot be seen from here."""
    if process.get("machine") != machine():
        return None
    pid, started = process.get("pid"), process.get("started")
    return isinstance(pid, int) and isinstance(started, str) and process_start(pid) == started


def names_a_command(name: str) -> bool:
    """Whether the command of any process here has a name in it: a job that is about to begin, or to be submitted."""
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if name.encode() in command.read_bytes():
                return True
    return False


def _object(path: Path) -> dict[str, Any]:
    """The object in a file of ours; empty where it is missing or broken: no such file stops a plan."""
    try:
        content = read_json(path)
    except UserError:
        return {}
    return content if isinstance(content, dict) else {}


def age_s(path: Path) -> float:
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
