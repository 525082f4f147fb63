"""What SLURM says, in one question for all jobs. None is no answer, and never means that a job is gone."""

import os
import re
import subprocess
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from submitit.slurm.slurm import SlurmInfoWatcher

from ifrvis.errors import UserError

ANSWER_LIMIT_S = 60.0
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


def settings() -> dict[str, str] | None:
    """The scheduler's settings, by name."""
    done = ask("scontrol", "show", "config")
    if done is None or done.returncode:
        return None
    found = dict(re.findall(r"^(\w+)\s*= (.*?)\s*$", done.stdout, re.MULTILINE))
    return found if "ClusterName" in found else None


def jobs_of(keys: Collection[Key]) -> dict[Key, Job] | None:
    """Those of some jobs that the queue knows, and what accounting, if there is any, knows of the others."""
    if not keys:
        return {}
    done = ask("squeue", "-h", "-r", "-t", "all", _named(keys), "-O", FIELDS)
    if done is None or done.returncode:
        return None
    found: dict[Key, Job] = {}
    for line in done.stdout.splitlines():
        name, index, number, state, status, reason, _ = line.split("|", 6)
        code = f"{int(status) >> 8}:{int(status) & 127}" if status.isdigit() else ""
        found[name, int(index) if index.isdigit() else 0] = Job(number, state, reason, code)
    return _accounted({key for key in keys if key not in found}) | found


def _accounted(keys: Collection[Key]) -> dict[Key, Job]:
    if not keys:
        return {}
    columns = ["-o", "JobID,JobName%60,State,ExitCode"]
    done = ask("sacct", "-X", "--parsable2", "-S", "now-30days", _named(keys), *columns)
    if done is None or done.returncode:
        return {}
    found = {}
    for number, stats in SlurmInfoWatcher(delay_s=0).read_info(done.stdout).items():
        index = number.partition("_")[2]
        found[stats["JobName"], int(index or 0)] = Job(number, stats["State"].split()[0], "", stats.get("ExitCode", ""))
    return found


def _named(keys: Collection[Key]) -> str:
    return f"--name={','.join(sorted({name for name, _ in keys}))}"


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
    done = ask("scancel", *numbers) if numbers else None
    return done is not None and done.returncode == 0
