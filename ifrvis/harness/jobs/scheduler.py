"""What SLURM says, in one question for all jobs, and what it means for their attempts, whose own files come first.

None is no answer, and never means that a job is gone.
"""

import os
import re
import subprocess
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from submitit.slurm.slurm import SlurmInfoWatcher

from ifrvis.errors import UserError
from ifrvis.harness.store.alive import names_a_command
from ifrvis.harness.store.attempts import Attempt, attempts_of
from ifrvis.harness.store.lives import Place
from ifrvis.harness.store.logs import job_output, last_said
from ifrvis.harness.store.recovery import SETBACK_LIMIT, kind_of
from ifrvis.harness.store.states import GOES_ON

ANSWER_LIMIT_S = 60.0
INTENT_LIMIT_S = 120.0  # from slurm.json to the job, where its launcher cannot be seen
Key = tuple[str, int]  # name of an array, and the place in it
OVER = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"}
OVER |= {"REVOKED", "TIMEOUT"}
FIELDS = "Name:|,ArrayTaskID:|,JobArrayID:|,State:|,exit_code:|,Reason:|"
FULL = re.compile(r"\w*(Max|Grp)\w*Submit\w*|MaxJobCount|temporarily unable to accept")
LOST = re.compile(r"(?i)timed out|unable to contact|connection|communication|zero bytes")


@dataclass(frozen=True)
class Job:
    """A job as the scheduler knows it."""

    id: str
    state: str
    reason: str = ""
    exit_code: str = ""  # `code:signal`

    @property
    def is_over(self) -> bool:
        """Whether it is known to have ended for good; what a newer scheduler calls otherwise is not."""
        return self.state in OVER


def ask(*command: str) -> "subprocess.CompletedProcess[str] | None":
    """Run one of SLURM's commands; None if it is not here or does not come back."""
    # Without what SLURM tells a job about itself: a job that submits jobs is none of them.
    own = ("SLURM_", "SBATCH_", "SRUN_", "SQUEUE_", "SACCT_", "SUBMITIT_")
    clean = {key: value for key, value in os.environ.items() if key == "SLURM_CONF" or not key.startswith(own)}
    try:
        return subprocess.run(command, capture_output=True, errors="replace", timeout=ANSWER_LIMIT_S, env=clean)
    except (OSError, subprocess.SubprocessError):
        return None


def answer(*command: str) -> str | None:
    """What one of SLURM's commands prints; None if it fails, is not here or does not come back."""
    done = ask(*command)
    return done.stdout if done is not None and done.returncode == 0 else None


def settings() -> dict[str, str]:
    """The scheduler's settings, by name; none without an answer."""
    said = answer("scontrol", "show", "config") or ""
    found = dict(re.findall(r"^(\w+)\s*= (.*?)\s*$", said, re.MULTILINE))
    return found if "ClusterName" in found else {}


def jobs_of(keys: Collection[Key]) -> dict[Key, Job] | None:
    """Those of some jobs that the queue knows, and what accounting, if there is any, knows of the others."""
    named = f"--name={','.join(sorted({name for name, _ in keys}))}"
    listed = answer("squeue", "-h", "-r", "-t", "all", named, "-O", FIELDS) if keys else ""
    if listed is None:
        return None
    found: dict[Key, Job] = {}
    lines = [line.split("|", 6) for line in listed.splitlines() if line.strip()]
    for name, index, number, state, status, reason, _ in (each for each in lines if len(each) == 7):
        code = f"{int(status) >> 8}:{int(status) & 127}" if status.isdigit() else ""
        found[name, int(index) if index.isdigit() else 0] = Job(number, state, reason, code)
    if all(key in found for key in keys):
        return found
    past = answer("sacct", "-X", "--parsable2", "-S", "now-30days", named, "-o", "JobID,JobName%60,State,ExitCode")
    rows = re.findall(r"^\S[^|\n]*(?:\|\S[^|\n]*){3}$", past or "", re.MULTILINE)
    for number, told in SlurmInfoWatcher(delay_s=0).read_info("\n".join(rows)).items():
        key = told["JobName"], int(number.partition("_")[2] or 0)
        found.setdefault(key, Job(number, told["State"].split()[0], exit_code=told["ExitCode"]))
    # Beside an error that it prints as if it were an answer, a job that it does not list may be there.
    return found if all(len(each) == 7 for each in lines) or all(key in found for key in keys) else None


class RefusedError(UserError):
    """The scheduler has not taken a script."""

    def __init__(self, said: str) -> None:
        limit = FULL.search(said)
        self.is_full = limit is not None  # it takes no more jobs now, and will take this one later
        full = limit and f"SLURM takes no more of these jobs until others leave ({limit[0]})"
        super().__init__(full or f"Correct the cluster file, or ask your administrator: sbatch said {said!r}.")


def submit(script: Path) -> str:
    """Submit a script; the job's id, wherever it stands in what a site's `sbatch` prints. RefusedError if the scheduler
    refuses it; UserError if it does not answer: the script may have been taken.
    """
    done = ask("sbatch", "--parsable", str(script))
    if done is None:
        raise UserError("Start the same command again where SLURM is: sbatch is not here, or does not answer.")
    said = " ".join(f"{done.stderr} {done.stdout}".split())
    if done.returncode and not LOST.search(said):
        raise RefusedError(said)
    numbers = [line.partition(";")[0] for line in done.stdout.split("\n") if re.fullmatch("[0-9]+(;.*)?", line)]
    if done.returncode or not numbers:
        raise UserError(f"Start the same command again, which asks SLURM what came of it: sbatch said {said!r}.")
    return numbers[-1]


def cancel_jobs(jobs: Iterable[Job]) -> bool:
    """Cancel jobs; tells whether the scheduler took it."""
    numbers = [job.id for job in jobs]
    return bool(numbers) and answer("scancel", *numbers) is not None


def our_place(attempt: Attempt) -> Place | None:
    """The job behind an attempt, if it is this user's: others' may be hidden from us."""
    place = attempt.place()
    return place if place is not None and place.user == os.getuid() else None


def settle(attempts: Iterable[Attempt]) -> dict[Attempt, Job | None] | None:
    """End the attempts whose jobs are gone.

    Args:
        attempts: Newest attempts; those that are not on this user's jobs, or have ended for good, are passed over.

    Returns:
        The living job behind each of the others, or None; one behind an attempt that has ended makes the next one
        itself. Without an answer, nothing is ended and nothing returned.
    """
    still = [each for each in attempts if each.ending() is None or kind_of(each) in GOES_ON]
    asked = {each: place for each in still if (place := our_place(each))}
    if not asked:
        return {}
    here = settings().get("ClusterName")
    asked = {each: place for each, place in asked.items() if place.cluster == here}
    jobs = jobs_of({(place.name, place.index) for place in asked.values()}) if here else None
    if jobs is None:
        return None
    found: dict[Attempt, Job | None] = {}
    for attempt, place in asked.items():
        job = jobs.get((place.name, place.index))
        if job is None and attempt.ending() is None and _may_be_submitted_yet(attempt, place.name):
            continue
        found[attempt] = job if job and not job.is_over else None
        if found[attempt] is None:
            _end(attempt, job)
    return found


def _may_be_submitted_yet(attempt: Attempt, name: str) -> bool:
    if attempt.launcher_lives() is False:  # its sbatch may outlive it
        return names_a_command(name)
    return attempt.placed_s() < INTENT_LIMIT_S


def _end(attempt: Attempt, job: Job | None) -> None:
    """Say how an attempt ended that could not say so itself."""
    state, output = job.state if job else "", job_output(attempt)
    said = f"SLURM says {state}, exit code {job.exit_code or 'unknown'}" if job else "its job has left the queue"
    said += last_said(output) if output else ""
    if attempt.ending() is not None:
        if state == "CANCELLED" and kind_of(attempt) == "preempted":  # by a person, not by the scheduler
            attempt.end("stopped", kind="cancelled", message="cancelled with scancel")
    elif job is None and output is None:
        attempt.end_unless_ended("killed", kind="killed", message="SLURM knows no such job: it was never submitted")
    elif job and state == "CANCELLED" and not job.reason.startswith("Dependency"):
        attempt.end_unless_ended("stopped", kind="cancelled", message="cancelled with scancel")
    elif state == "OUT_OF_MEMORY":
        attempt.end_unless_ended("failed", kind="memory", message="Raise memory_gb of the cluster: out of memory.")
    elif attempt.has_begun() or state not in ("", "FAILED", "COMPLETED"):
        kind = {"TIMEOUT": "timeout", "DEADLINE": "timeout", "PREEMPTED": "preempted"}.get(state, "killed")
        attempt.end_unless_ended("killed", kind=kind, message=said)
    else:
        before = [kind_of(each) for each in attempts_of(attempt.run) if each.number < attempt.number]
        last = before[1 - SETBACK_LIMIT :] == ["startup"] * (SETBACK_LIMIT - 1)
        message = f"Look at 'setup' of the cluster: the job ended before the program began; {said}"
        attempt.end_unless_ended("failed" if last else "killed", kind="input" if last else "startup", message=message)
