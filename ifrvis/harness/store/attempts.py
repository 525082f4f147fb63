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

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic_core import PydanticSerializationError

from ifrvis.errors import UserError, printable
from ifrvis.files import publish_once, read_json, read_text, write_atomically
from ifrvis.harness.store.alive import Process, age_s, lives, names_a_command, this_process
from ifrvis.harness.store.lives import Asked, Ending, Place, Progress, Submission
from ifrvis.harness.store.paths import Run, run_at
from ifrvis.harness.store.provenance import Environment
from ifrvis.harness.store.states import STOPS, AttemptState, EndState
from ifrvis.schema import Model, read_model, validated

HEARTBEAT_LIMIT_S = 90.0  # a worker beats every 2 s, also while it builds its model
PENDING_LIMIT_S = 90.0  # from the claim to the first heartbeat, on this machine
CLAIM_LIMIT_S = 5.0  # from the folder to its submit.json, which the launcher writes at once
FOLDER = re.compile(r"[0-9]{4}|[1-9][0-9]{4,8}")
M = TypeVar("M", bound=Model)


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
        if ending := self.ended():
            return ending.reason
        return "running" if self.has_begun() else "pending"

    def ended(self) -> Ending | None:
        """How it ended, also where it is gone without a word; None while it lives."""
        if (ending := self.ending()) or self._is_seen_alive():
            return ending
        # It may have ended after this first look: one that is gone gets a last one.
        return self.ending() or Ending(reason="killed", kind="killed")

    def _is_seen_alive(self) -> bool:
        if lives(self.process()) is False:
            return False
        if self.place():  # it may wait for days, or be suspended: only the scheduler knows that it is gone
            return True
        if self.has_begun():
            return not self.is_silent()
        age = age_s(self.folder)
        return age <= PENDING_LIMIT_S and not self._is_abandoned(age)

    def is_alive(self) -> bool:
        """Whether it runs, or is about to."""
        return self.ended() is None

    def ending(self) -> Ending | None:
        """How the attempt ended, or None; one whose file cannot be used was killed, so that the next goes on."""
        path = self.folder / "exit.json"
        if not path.exists():
            return None
        ending = _said(Ending, path) or Ending(reason="killed", kind="killed", message=f"{path} cannot be used")
        return ending.model_copy(update={"message": printable(ending.message)})

    def end(self, reason: EndState, *, kind: str = "", message: str = "", seconds: float = 0.0) -> None:
        """Write `exit.json`."""
        ending = Ending(reason=reason, kind=kind, message=message, seconds=round(seconds, 3))
        write_atomically(self.folder / "exit.json", _text(ending))

    def end_unless_ended(self, reason: EndState, *, kind: str, message: str) -> None:
        """Write `exit.json` for a worker that is gone; what it wrote itself stays, also if it cannot be seen yet."""
        ending = Ending(reason=reason, kind=kind, message=message, seconds=0.0)
        publish_once(self.folder / "exit.json", _text(ending))

    def place(self) -> Place | None:
        """The SLURM job behind the attempt, if there is one."""
        return _said(Place, self.folder / "slurm.json")

    def put(self, place: Place) -> None:
        """Write `slurm.json`."""
        write_atomically(self.folder / "slurm.json", _text(place))

    def placed_s(self) -> float:
        """Age of `slurm.json`, in seconds."""
        return age_s(self.folder / "slurm.json")

    def has_begun(self) -> bool:
        """Whether its worker has shown a sign of life."""
        return (self.folder / "heartbeat").exists()

    def is_silent(self) -> bool:
        """Whether its worker has shown no sign of life for long, or none yet."""
        return not self.has_begun() or age_s(self.folder / "heartbeat") > HEARTBEAT_LIMIT_S

    def progress(self) -> Progress | None:
        """The last heartbeat; None before the first, and where it cannot be used."""
        return _said(Progress, self.folder / "heartbeat")

    def beat(self, progress: Progress) -> None:
        """Say that the worker lives, and how far it is."""
        write_atomically(self.folder / "heartbeat", _text(progress))

    def begin(self, environment: Environment) -> None:
        """Say which process lives this attempt: this one, and on what machine."""
        write_atomically(self.folder / "job.json", _text(this_process()))
        write_atomically(self.folder / "env.json", _text(environment))

    def process(self) -> Process | None:
        """The job's process; None if it has not begun."""
        return _said(Process, self.folder / "job.json")

    def ask_to_stop(self, kind: str) -> None:
        """Ask the worker to stop at the next safe point: `interrupted`, `cancelled`, `preempted` or `timeout`."""
        write_atomically(self.folder / "stop", kind)

    def is_asked_to_stop(self) -> bool:
        """Whether somebody asked this attempt to stop."""
        return (self.folder / "stop").exists()

    def why_asked_to_stop(self) -> str:
        """What `ask_to_stop` was given; `interrupted` where that cannot be read."""
        try:
            said = read_text(self.folder / "stop", "what asks an attempt to stop")
        except UserError:
            return "interrupted"
        return said if said in STOPS else "interrupted"

    def submission(self) -> Submission:
        """What the worker is asked for; UserError if `submit.json` is missing or broken."""
        path = self.folder / "submit.json"
        try:
            return read_model(Submission, path, "what an attempt is asked for")
        except UserError as error:
            raise UserError(f"Start the same command again: {error}") from error

    def check_fence(self) -> None:
        """Pass only for the highest attempt of the run; StaleAttemptError if a later attempt exists."""
        newest = latest(self.run)
        if newest is not None and newest.number > self.number:
            raise StaleAttemptError(
                f"attempt {self.number} of {self.run.name} was overtaken by attempt {newest.number}"
            )

    def launcher_lives(self) -> bool | None:
        """Whether the process that claimed the attempt lives; None if it cannot be seen from here."""
        submission = _said(Submission, self.folder / "submit.json")
        return lives(submission.launcher) if submission else None

    def _is_abandoned(self, age: float) -> bool:
        """Whether the launcher died, here, before it had started the job: nobody will."""
        if not (self.folder / "submit.json").exists():
            return age > CLAIM_LIMIT_S
        # Without the root, which may be written in several ways.
        return self.launcher_lives() is False and not names_a_command("/".join(self.folder.parts[-4:]))


def attempts_of(run: Run) -> list[Attempt]:
    """All attempts of a run, oldest first."""
    if not run.attempts.is_dir():
        return []
    numbers = sorted(int(path.name) for path in run.attempts.iterdir() if FOLDER.fullmatch(path.name))
    return [Attempt(run, number) for number in numbers]


def checkpoint_folders(run: Run) -> list[Path]:
    """The folders of checkpoints of all attempts of a run, oldest first."""
    return [attempt.checkpoints for attempt in attempts_of(run)]


def asked_of(run: Run) -> list[tuple[Submission, Asked]]:
    """Every evaluation that any attempt of a run was asked for, and the last that was: the newest first; UserError if a
    `submit.json` is broken, or nothing was ever asked.
    """
    jobs = [attempt.submission() for attempt in reversed(attempts_of(run))]
    found = {asked.eval_sig: (job, asked) for job in reversed(jobs) for asked in job.evaluations}
    if not found:
        raise UserError(f"Start {run.folder.name} first: nothing was ever asked of it.")
    return list(reversed(found.values()))


def attempt_at(folder: Path) -> Attempt:
    """The attempt whose folder this is; UserError if its run has no `spec.json` that can be used."""
    return Attempt(run_at(folder.resolve().parents[1]), int(folder.name))


def latest(run: Run) -> Attempt | None:
    """The highest attempt of a run."""
    return max(attempts_of(run), key=lambda attempt: attempt.number, default=None)


def claim(run: Run, submission: Submission, *, after: int | None = None) -> Attempt | None:
    """Make the next attempt of a run, whose `spec.json` is there, unless one is alive; None if another launcher has it.

    `after` is the number that the launcher knows as the newest: it gets no other than the next.
    """
    newest = latest(run)
    number = newest.number if newest else 0
    if after not in (None, number) or (newest is not None and newest.is_alive()):
        return None
    attempt = Attempt(run, number + 1)
    try:
        asked = _text(submission.model_copy(update={"launcher": this_process()}))
    except PydanticSerializationError as error:
        paths = "--results, --data-root, --dataset or --init"
        raise UserError(f"Rename a folder, or set LC_ALL=C.UTF-8: a path of {paths} is not UTF-8.") from error
    try:
        run.attempts.mkdir(parents=True, exist_ok=True)
        attempt.folder.mkdir()  # atomic: of two launchers one gets it
    except OSError as error:
        if isinstance(error, FileExistsError) and attempt.folder.is_dir():
            return None
        raise UserError(f"Make {run.attempts} writable: no attempt can be started there ({error.strerror}).") from error
    write_atomically(attempt.folder / "submit.json", asked)
    return attempt


def _text(model: Model) -> str:
    return model.model_dump_json(indent=1) + "\n"


def _said(cls: type[M], path: Path) -> M | None:
    """What a file of ours says; None where it is missing or broken: no such file stops a plan."""
    try:
        return validated(cls, read_json(path), str(path))
    except UserError:
        return None
