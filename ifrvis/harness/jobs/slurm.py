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
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from submitit.slurm.slurm import _make_sbatch_string

from ifrvis.errors import UserError
from ifrvis.files import write_atomically
from ifrvis.harness.jobs.cluster import Cluster
from ifrvis.harness.jobs.machine import job_environment
from ifrvis.harness.jobs.queue import Item, Queue
from ifrvis.harness.jobs.scheduler import settings, submit
from ifrvis.harness.jobs.settle import our_place
from ifrvis.harness.jobs.snapshot import in_snapshot, take_snapshot
from ifrvis.harness.jobs.together import name_of
from ifrvis.harness.plan.plan import Request, Training
from ifrvis.harness.store.attempts import Attempt
from ifrvis.harness.store.lives import Place, Submission
from ifrvis.harness.store.recovery import kind_of
from ifrvis.harness.store.states import GOES_ON


def script_text(
    cluster: Cluster, command: list[str], folder: Path, snapshot: Path, *, processes: int = 1, **more: Any
) -> str:
    """The script of a job that runs Python from a snapshot of the code; `more` are further parameters of submitit."""
    asked = cluster.parameters(processes)
    exports = {**cluster.environment, "PYTHONSAFEPATH": "1"}
    asked["setup"] += [f"export {name}={shlex.quote(value)}" for name, value in exports.items()]
    asked["setup"] += [f"export PYTHONPATH={shlex.quote(str(snapshot))}${{PYTHONPATH:+:$PYTHONPATH}}"]
    # Since 22.05 srun forgets what sbatch was told of cores. A process that dies must not take the first along, nor
    # may those that are done (--wait=0): they only train, and the first goes on to predict and score for hours.
    asked["srun_args"] = [f"--cpus-per-task={cluster.cpus}", "--kill-on-bad-exit=0", "--wait=0"]
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

    def __init__(self, trainings: list[Training], request: Request, *, cluster: Cluster, **how: Any) -> None:
        super().__init__(trainings, request, **how)
        self.poll_s, self.ask_s = min(2.0, cluster.poll_s), cluster.poll_s
        self._cluster = cluster
        self._submitted: dict[str, int] = {}  # runs of each array, by its job
        self._here = (settings() or {}) if trainings else {}
        if trainings and not self._here:
            raise UserError("Start this where SLURM is, or again later: scontrol is not here, or does not answer.")
        low = next((each for each in trainings if each.spec.threads > cluster.cpus), None)
        if low:
            raise UserError(f"Raise 'cpus' of the cluster to {low.spec.threads}, the threads of {low.name}.")
        for processes in sorted({cluster.processes(each.spec) for each in trainings}):
            check_accepted(cluster, request.store.jobs, processes)

    @functools.cached_property
    def _snapshot(self) -> Path:
        return take_snapshot(self._request.store)

    def launch(self) -> list[str]:
        """Submit what can be, and return; what was submitted, and what is there already, in lines for people."""
        self._step()
        arrays = ", ".join(f"job {job}, an array of {runs}" for job, runs in self._submitted.items())
        new, states = sum(self._submitted.values()), Counter(item.state for item in self.items)
        counts = {
            f"submitted: {arrays}": new,
            "submitted before, queued or running": states["running"] - new,
            "left until the pretraining is there: start the same command again then": states["waiting"],
        }
        return [f"{number} of {len(self.items)} runs {what}" for what, number in counts.items() if number]

    def _can_wait_for(self, before: Item) -> bool:
        return before.state == "running" and (before.ours or self._job(before.attempt) is not None)

    def _claim(self, item: Item) -> bool:
        newest = self._newest(item)
        if newest is not None and self._is_followed_by_its_job(newest):
            item.state, item.attempt = "running", newest
            return False
        claimed = super()._claim(item)
        item.job = "" if claimed else None
        return claimed

    def _submission(self, training: Training) -> Submission:
        asked = super()._submission(training)
        if asked.init is None:
            return asked
        init = in_snapshot(Path(asked.init), self._snapshot)  # shipped weights are code, too
        return asked.model_copy(update={"init": str(init)})

    def _is_followed_by_its_job(self, attempt: Attempt) -> bool:
        """Whether the job behind an attempt makes, or may make, the next one itself."""
        place = our_place(attempt)
        if place is None or place.cluster != self._here["ClusterName"] or kind_of(attempt) not in GOES_ON:
            return False
        return self._scheduled is None or attempt not in self._scheduled or self._job(attempt) is not None

    def _has_left(self, item: Item) -> bool:
        item.attempt = self._newest(item)
        assert item.attempt is not None
        job = self._job(item.attempt)
        item.message = job.reason if job and job.state == "PENDING" else ""
        return not self._is_followed_by_its_job(item.attempt)

    def _start(self, items: list[Item]) -> None:
        for array in self._arrays(items):
            try:
                self._submit(array, self._unfinished_before(array[0]))
            except UserError as error:  # it may have come through all the same: the next launch asks the scheduler
                for item in array:
                    item.state, item.attempt, item.message = "failed", None, str(error)

    def _arrays(self, items: list[Item]) -> Iterator[list[Item]]:
        """Items of equal resources that wait for the same pretraining, those that wait for none first."""
        groups: dict[tuple[int, int, int], list[Item]] = {}
        for item in items:
            spec, before = item.training.spec, self._unfinished_before(item)
            key = (self.items.index(before) if before else -1, self._cluster.processes(spec), spec.threads)
            groups.setdefault(key, []).append(item)
        most = min(self._cluster.array_limit, int(self._here.get("MaxArraySize", "1001")))
        for key in sorted(groups):
            for start in range(0, len(groups[key]), most):
                yield groups[key][start : start + most]

    def _unfinished_before(self, item: Item) -> Item | None:
        before = self._before(item)
        return None if before is None or before.state == "complete" else before

    def _submit(self, items: list[Item], before: Item | None) -> None:
        """Write down what is about to be submitted, then submit it."""
        more: dict[str, Any] = {"map_count": len(items), "array_parallelism": len(items)}
        if before is not None:
            job = before.job or getattr(self._job(before.attempt), "id", "")
            if not job:
                raise UserError(f"Start the same command again: {before.training.name} could not be submitted.")
            more["dependency"] = f"afterok:{job}"
        name, spec = f"ifrvis-{uuid.uuid4().hex[:12]}", items[0].training.spec
        folder, processes = self._request.store.jobs / name, self._cluster.processes(spec)
        command = ["-m", "ifrvis.harness.jobs.node", str(folder)]
        attempts = [item.attempt for item in items if item.attempt is not None]
        array = {
            "attempts": [str(each.folder.resolve()) for each in attempts],
            "run_attempt": name_of(self._run_attempt),
            "told_after_s": 60 * self._cluster.time_min - self._cluster.signal_delay_s,
        }
        write_atomically(folder / "array.json", json.dumps(array, indent=1))
        text = script_text(self._cluster, command, folder, self._snapshot, processes=processes, job_name=name, **more)
        write_atomically(folder / "submit.sh", text)
        for index, attempt in enumerate(attempts):
            attempt.put(Place(name=name, index=index, cluster=self._here["ClusterName"], user=os.getuid()))
        with job_environment(spec.threads):
            job = submit(folder / "submit.sh")
        self._submitted[job] = len(items)
        for index, item in enumerate(items):
            item.job = f"{job}_{index}"
