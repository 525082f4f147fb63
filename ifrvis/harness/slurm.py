"""Jobs on a cluster: one SLURM array for all runs of equal resources, with a life of their own.

submitit writes the script and tells a job who it is. What the job runs is `node`, with plain files, instead of a
pickle: submitit names that by the id of the job, once sbatch has answered, and a launcher that is lost before would
leave jobs that find nothing to do. Here all is on disk beforehand, and a job is known by the name of its array and its
place there.
"""

import functools
import json
import os
import shlex
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submitit.slurm.slurm import _make_sbatch_string

from ifrvis.errors import UserError
from ifrvis.files import write_atomically
from ifrvis.harness.attempts import Attempt, latest
from ifrvis.harness.cluster import Cluster
from ifrvis.harness.machine import job_environment
from ifrvis.harness.plan import Request, Training
from ifrvis.harness.queue import Item, Queue
from ifrvis.harness.recovery import GOES_ON, kind_of
from ifrvis.harness.scheduler import Job, jobs_of, settings, submit
from ifrvis.harness.settle import array_folder, is_ours, settle
from ifrvis.harness.snapshot import in_snapshot, take_snapshot

__all__ = ["SlurmQueue", "Submitted", "check_accepted", "script_text"]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


@dataclass(frozen=True)
class Submitted:
    """An array as it was submitted."""

    job: str
    runs: int


def script_text(
    cluster: Cluster, command: list[str], folder: Path, snapshot: Path, *, processes: int = 1, **more: Any
) -> str:
    """The script of a job that runs Python from a snapshot of the code.

    Args:
        cluster: What is asked for.
        command: Arguments of Python.
        folder: Where its output goes.
        snapshot: The code.
        processes: How many of it run at once.
        more: Further parameters of submitit: `job_name`, `map_count`, `dependency`.
    """
    asked = cluster.parameters(processes)
    exports = {**cluster.environment, "PYTHONSAFEPATH": "1"}
    asked["setup"] += [f"export {name}={shlex.quote(value)}" for name, value in exports.items()]
    asked["setup"] += [f"export PYTHONPATH={shlex.quote(str(snapshot))}${{PYTHONPATH:+:$PYTHONPATH}}"]
    # Since 22.05 srun forgets what sbatch was told of cores; one process that dies must not take the first along.
    asked["srun_args"] = [f"--cpus-per-task={cluster.cpus}", "--kill-on-bad-exit=0"]
    return str(_make_sbatch_string(shlex.join([sys.executable, "-u", *command]), folder, **asked, **more))


def check_accepted(cluster: Cluster, folder: Path, processes: int) -> str:
    """Ask the scheduler whether it would take a job, and when and where that would begin; nothing is submitted.

    Raises:
        UserError: If it would not, or does not answer.
    """
    script = folder / f"test-{uuid.uuid4().hex[:12]}.sh"
    write_atomically(script, script_text(cluster, ["-V"], folder, folder, processes=processes))
    try:
        return submit(script, only_test=True)
    finally:
        script.unlink()


class SlurmQueue(Queue):
    """Submits trainings to a cluster; `launch` does no more, `run` stays and starts again what was killed."""

    def __init__(
        self,
        trainings: list[Training],
        request: Request,
        *,
        cluster: Cluster,
        run_attempt: Callable[[str], None],
        workers: int = 0,
    ) -> None:
        super().__init__(trainings, request, run_attempt=run_attempt, workers=workers)
        self.poll_s = min(2.0, cluster.poll_s)  # of our own files
        self.submitted: list[Submitted] = []
        self._cluster = cluster
        self._jobs: dict[Attempt, Job | None] | None = {}
        self._asked = float("-inf")
        self._here = (settings() or {}) if trainings else {}
        if trainings and not self._here:
            raise UserError("Start this where SLURM is, or again later: scontrol is not here, or does not answer.")
        low = next((each for each in trainings if int(each.spec["threads"]) > cluster.cpus), None)
        if low:
            raise UserError(f"Raise 'cpus' of the cluster to {low.spec['threads']}, the threads of {low.name}.")
        for processes in sorted({cluster.processes(each.spec) for each in trainings}):
            check_accepted(cluster, array_folder(request.results, ""), processes)

    @functools.cached_property
    def _snapshot(self) -> Path:
        return take_snapshot(self._request.results)

    def launch(self) -> None:
        """Submit what can be, and return."""
        self._step()

    def submitted_lines(self) -> list[str]:
        """What was submitted, and what was found to be already."""
        new, going = len([item for item in self.items if item.job]), Counter(item.state for item in self.items)
        arrays = ", ".join(f"{each.job} of {each.runs}" for each in self.submitted)
        lines = (
            [f"submitted {_counted(new, 'run')} as {_counted(len(self.submitted), 'array')}: {arrays}"] if new else []
        )
        if going["running"] > new:
            lines.append(f"{_counted(going['running'] - new, 'run')} submitted before, queued or running")
        if going["waiting"]:
            lines.append(
                f"{_counted(going['waiting'], 'run')} left until the pretraining is there: start this again then"
            )
        return lines

    def _step(self) -> None:
        if time.monotonic() - self._asked >= self._cluster.poll_s:
            newest = [self._newest(item) for item in self.items if item.state in ("waiting", "running")]
            self._jobs = settle(each for each in newest if each is not None)
            self._asked = time.monotonic()
        super()._step()

    def _newest(self, item: Item) -> Attempt | None:
        return latest(item.training.run(self._request.results))

    def _has_room(self, items: list[Item]) -> bool:
        return True

    def _can_wait_for(self, before: Item) -> bool:
        return before.state == "running" and (before.ours or self._job(before.attempt) is not None)

    def _job(self, attempt: Attempt | None) -> Job | None:
        """The living job behind an attempt, as of the last answer."""
        job = (self._jobs or {}).get(attempt) if attempt else None
        return None if job is None or job.is_over else job

    def _claim(self, item: Item) -> bool:
        newest = self._newest(item)
        if newest is not None and self._is_followed_by_its_job(newest):
            item.state, item.attempt = "running", newest
            return False
        claimed = super()._claim(item)
        item.job = "" if claimed else None
        return claimed

    def _submission(self, training: Training) -> dict[str, Any]:
        asked = super()._submission(training)
        init = asked["init"] and in_snapshot(Path(asked["init"]), self._snapshot)  # shipped weights are code, too
        return {**asked, "init": init and str(init)}

    def _is_followed_by_its_job(self, attempt: Attempt) -> bool:
        """Whether the job behind an attempt makes, or may make, the next one itself."""
        here = is_ours(attempt) and attempt.place()["cluster"] == self._here["ClusterName"]
        if not here or kind_of(attempt) not in GOES_ON:
            return False
        return self._jobs is None or attempt not in self._jobs or self._job(attempt) is not None

    def _has_left(self, item: Item) -> bool:
        item.attempt = self._newest(item)
        assert item.attempt is not None
        job = self._job(item.attempt)
        item.message = job.reason if job and job.state == "PENDING" else ""
        return not self._is_followed_by_its_job(item.attempt)

    def _stop(self, on_poll: Callable[[list[Item]], None]) -> None:
        """The jobs need no launcher: they go on."""

    def _start(self, items: list[Item]) -> None:
        for group in self._arrays(items):
            try:
                self._submit(group)
            except UserError as error:
                self._explain(group, error)

    def _arrays(self, items: list[Item]) -> Iterator[list[Item]]:
        """Items of equal resources that wait for the same pretraining, those that wait for none first."""
        groups: dict[tuple[bool, int, int, int], list[Item]] = {}
        for item in items:
            spec, before = item.training.spec, self._living_before(item)
            key = (before is not None, id(before), self._cluster.processes(spec), int(spec["threads"]))
            groups.setdefault(key, []).append(item)
        most = min(self._cluster.array_limit, int(self._here.get("MaxArraySize", "1001")))
        for _, group in sorted(groups.items(), key=lambda each: each[0][0]):
            for start in range(0, len(group), most):
                yield group[start : start + most]

    def _living_before(self, item: Item) -> Item | None:
        before = self._before(item)
        return None if before is None or before.state == "complete" else before

    def _submit(self, items: list[Item]) -> None:
        """Write down what is about to be submitted, then submit it."""
        name = f"ifrvis-{uuid.uuid4().hex[:12]}"
        folder = array_folder(self._request.results, name)
        attempts = [item.attempt for item in items if item.attempt is not None]
        run = f"{self._run_attempt.__module__}:{self._run_attempt.__qualname__}"
        times = {"time_min": self._cluster.time_min, "signal_delay_s": self._cluster.signal_delay_s}
        array = {"attempts": [str(each.folder.resolve()) for each in attempts], "run_attempt": run, **times}
        write_atomically(folder / "array.json", json.dumps(array, indent=1))
        write_atomically(folder / "submit.sh", self._script(name, items, folder))
        for index, attempt in enumerate(attempts):
            place = {"name": name, "index": index, "cluster": self._here["ClusterName"], "user": os.getuid()}
            write_atomically(attempt.folder / "slurm.json", json.dumps(place))
        with job_environment(int(items[0].training.spec["threads"])):
            job = submit(folder / "submit.sh")
        self._note(items, [f"{job}_{index}" for index in range(len(items))])

    def _note(self, items: list[Item], jobs: list[str]) -> None:
        self.submitted.append(Submitted(jobs[0].partition("_")[0], len(items)))
        for item, job in zip(items, jobs):
            item.job = job

    def _script(self, name: str, items: list[Item], folder: Path) -> str:
        before = self._living_before(items[0])
        more: dict[str, Any] = {"job_name": name, "map_count": len(items), "array_parallelism": len(items)}
        if before is not None:
            job = before.job or getattr(self._job(before.attempt), "id", "")
            if not job:
                raise UserError(f"Start the same command again: {before.training.name} could not be submitted.")
            more["dependency"] = f"afterok:{job}"
        processes = self._cluster.processes(items[0].training.spec)
        command = ["-m", "ifrvis.harness.node", str(folder)]
        return script_text(self._cluster, command, folder, self._snapshot, processes=processes, **more)

    def _explain(self, items: list[Item], error: UserError) -> None:
        """A submission that failed: it may have come through all the same, then its jobs are taken for ours."""
        for item in items:
            assert item.attempt is not None
            place = item.attempt.place()
            jobs = jobs_of({(place["name"], place["index"])}) if place else {}
            job = jobs.get((place["name"], place["index"])) if jobs and place else None
            if job is not None:
                item.job = job.id
            elif jobs is not None:
                item.attempt.end("stopped", kind="interrupted", message="it could not be submitted")
                item.state, item.message = "failed", str(error)
