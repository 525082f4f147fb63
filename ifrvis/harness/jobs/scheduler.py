"""What SLURM says, in one question for all jobs. None is no answer, and never means that a job is gone."""

import os
import re
import shutil
import subprocess
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from submitit.slurm.slurm import SlurmInfoWatcher

from ifrvis.errors import UserError

ANSWER_LIMIT_S = 60.0
Key = tuple[str, int]  # name of an array, and the place in it
OVER = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"}
OVER |= {"REVOKED", "TIMEOUT"}


@dataclass(frozen=True)
class Job:
    """A job as the scheduler knows it."""

    id: str
    state: str
    reason: str = ""

    @property
    def is_over(self) -> bool:
        """Whether it is known to have ended for good; what a newer scheduler calls otherwise is not."""
        return self.state in OVER


def ask(*command: str) -> "subprocess.CompletedProcess[str] | None":
    """Run one of SLURM's commands; None if it is not here or does not come back."""
    if shutil.which(command[0]) is None:
        return None
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=ANSWER_LIMIT_S, env=_clean(os.environ), errors="replace"
        )
    except (OSError, subprocess.SubprocessError):
        return None


def _clean(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what SLURM tells a job about itself: a job that submits jobs is none of them."""
    own = ("SLURM_", "SBATCH_", "SRUN_", "SQUEUE_", "SACCT_", "SUBMITIT_")
    return {key: value for key, value in environment.items() if key == "SLURM_CONF" or not key.startswith(own)}


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
    done = ask("squeue", "-h", "-r", "-t", "all", _named(keys), "-o", "%j|%K|%i|%T|%r")
    if done is None or done.returncode:
        return None
    found: dict[Key, Job] = {}
    for line in done.stdout.splitlines():
        name, index, number, state, reason = line.split("|", 4)
        found[name, int(index) if index.isdigit() else 0] = Job(number, state, reason)
    return _accounted({key for key in keys if key not in found}) | found


def _accounted(keys: Collection[Key]) -> dict[Key, Job]:
    if not keys:
        return {}
    columns = ["-o", "JobID,JobName%60,State"]
    done = ask("sacct", "-X", "--parsable2", "-S", "now-30days", _named(keys), *columns)
    if done is None or done.returncode:
        return {}
    found = {}
    for number, stats in SlurmInfoWatcher(delay_s=0).read_info(done.stdout).items():
        index = number.partition("_")[2]
        found[stats["JobName"], int(index or 0)] = Job(number, stats["State"].split()[0])
    return found


def _named(keys: Collection[Key]) -> str:
    return f"--name={','.join(sorted({name for name, _ in keys}))}"


def submit(script: Path, *, only_test: bool = False) -> str:
    """Submit a script; the job's id, or with `only_test` what the scheduler says to it.

    Raises:
        UserError: If the scheduler refuses it, or does not answer.
    """
    done = ask("sbatch", "--parsable", *["--test-only"] * only_test, str(script))
    if done is None:
        raise UserError("Start this where SLURM is: sbatch is not here, or does not answer.")
    said = done.stderr.strip() if only_test else done.stdout.strip().partition(";")[0]
    if done.returncode:
        raise UserError(f"Correct the cluster file, or ask your administrator: sbatch said {done.stderr.strip()!r}.")
    return said


def cancel_jobs(jobs: Iterable[Job]) -> bool:
    """Cancel jobs; tells whether the scheduler took it."""
    numbers = [job.id for job in jobs]
    done = ask("scancel", *numbers) if numbers else None
    return done is not None and done.returncode == 0
