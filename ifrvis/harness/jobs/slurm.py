"""Jobs on a cluster: one SLURM array for each row of a table, a job for each of its seeds, with a life of their own.

What a job runs is on disk before `sbatch` is asked, under a name of ours: a launcher that is lost then leaves jobs that
find what to do, and the next one finds them. submitit's executors cannot promise that (docs/architecture.md).
"""

import functools
import json
import os
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Any

from ifrvis.errors import UserError
from ifrvis.files import write_atomically
from ifrvis.harness.jobs.cluster import Cluster
from ifrvis.harness.jobs.machine import job_environment
from ifrvis.harness.jobs.queue import Item, Queue
from ifrvis.harness.jobs.scheduler import INTENT_LIMIT_S, RefusedError, our_place, settings, submit
from ifrvis.harness.jobs.snapshot import in_snapshot, take_snapshot
from ifrvis.harness.jobs.together import name_of
from ifrvis.harness.plan.plan import Request, Training
from ifrvis.harness.store.attempts import Attempt
from ifrvis.harness.store.lives import Place, Submission
from ifrvis.harness.store.recovery import kind_of
from ifrvis.harness.store.states import GOES_ON, LIVE

LOOKS = 3  # of a launch, where others are submitting what its runs wait for


class SlurmQueue(Queue):
    """Submits trainings to a cluster; `launch` does no more, `run` stays and starts again what was killed."""

    def __init__(self, trainings: list[Training], request: Request, *, cluster: Cluster, **how: Any) -> None:
        super().__init__(trainings, request, **how)
        self.poll_s, self.ask_s = min(2.0, cluster.poll_s), cluster.poll_s
        self._cluster, self._has_gpus = cluster, cluster.gpus > 0
        self._submitted: dict[str, int] = {}  # runs of each array, by its job
        self._full_until = 0.0  # when SLURM, which takes no more jobs of ours, is asked again
        self._here = settings() if trainings else {}
        cluster.script([], request.store.jobs, request.store.snapshots)  # or it says why there can be none
        low = next((each for each in trainings if each.spec.threads > cluster.cpus), None)
        if low:
            raise UserError(f"Raise 'cpus' of the cluster to {low.spec.threads}, the threads of {low.name}.")

    @functools.cached_property
    def _snapshot(self) -> Path:
        return take_snapshot(self._request.store)

    def launch(self, *, leave: bool) -> list[str]:
        """Submit what can be; what was submitted, what is there already and what is left, in lines for people.
        `leave`: nobody stays for what is left, which the next launch takes up. UserError if SLURM does not answer, or
        refuses the first array for good.
        """
        if self.items and not self._here:
            raise UserError("Start this where SLURM is, or again later: scontrol is not here, or does not answer.")
        for look in range(LOOKS):
            time.sleep(self.poll_s * bool(look))
            self._asked = float("-inf")
            self._step()
            if not any(item.state == "waiting" and not item.message for item in self.items):
                break
        arrays = ", ".join(f"{job} (of {runs})" for job, runs in self._submitted.items())
        new, states = sum(self._submitted.values()), Counter(item.state for item in self.items)
        left = Counter(item.message for item in self.items if item.state == "waiting")
        counts = {
            f"submitted, as arrays {arrays}": new,
            "submitted before, queued or running": states["running"] - new,
            "left until the pretraining is there: start the same command again then": left.pop("", 0),
            **{f"left waiting: {message}": number for message, number in left.items()},
        }
        if leave:
            self._stop(lambda items: None)
        return [f"{number} of {len(self.items)} runs {what}" for what, number in counts.items() if number]

    def dump(self, folder: Path) -> list[Path]:
        """Write the scripts that a launch would submit for what is not submitted yet, and submit nothing."""
        written: list[Path] = []
        for array in self._arrays([item for item in self.items if item.training.state not in LIVE]):
            before, first = self._before(array[0]), array[0].training
            written.append(folder / f"{len(written):03d}-{first.name.removesuffix(f'-s{first.seed}')}.sh")
            after = f"<{before.training.name}>" if before else ""
            write_atomically(written[-1], self._script(self._new_folder(), array, after))
        return written

    def _stop(self, on_poll: Callable[[list[Item]], None]) -> None:
        for item in self.items:
            if item.state == "waiting" and item.attempt is not None:  # claimed, and then refused
                item.attempt.end_unless_ended("stopped", kind="interrupted", message=item.message)

    def _has_room(self, items: list[Item]) -> bool:
        return time.monotonic() >= self._full_until

    def _can_wait_for(self, before: Item) -> bool:
        return before.state == "running" and (before.ours or self._job(before.attempt) is not None)

    def _claim(self, item: Item) -> bool:
        newest = self._newest(item)
        if newest is not None and item.attempt == newest and newest.ending() is None:  # claimed, and then refused
            item.state = "running"
            if newest.is_asked_to_stop():
                newest.end_unless_ended("stopped", kind="cancelled", message="cancelled before it began")
            return newest.ending() is None
        if newest is not None and self._is_followed_by_its_job(newest):
            item.state, item.attempt = "running", newest
            return False
        claimed = super()._claim(item)
        item.job = "" if claimed else None
        return claimed

    def _submission(self, training: Training) -> Submission:
        asked = super()._submission(training)
        init = asked.init and str(in_snapshot(Path(asked.init), self._snapshot))  # shipped weights are code, too
        return asked.model_copy(update={"init": init})

    def _is_followed_by_its_job(self, attempt: Attempt) -> bool:
        """Whether the job behind an attempt makes, or may make, the next one itself."""
        place = our_place(attempt)
        if place is None or place.cluster != self._here["ClusterName"] or kind_of(attempt) not in GOES_ON:
            return False
        return (self._scheduled or {}).get(attempt, "not asked about yet") is not None

    def _has_left(self, item: Item) -> bool:
        item.attempt = self._newest(item)
        assert item.attempt is not None
        job = self._job(item.attempt)
        item.message = job.reason if job and job.state == "PENDING" else ""
        return not self._is_followed_by_its_job(item.attempt)

    def _start(self, items: list[Item]) -> None:
        arrays = self._arrays(items)
        while arrays:
            array, *arrays = arrays
            try:
                self._submit(array)
            except RefusedError as error:
                half = len(array) // 2
                if error.is_full and half:  # a part of it may still be taken
                    arrays = [array[:half], array[half:], *arrays]
                elif error.is_full:
                    # Asked again before what is claimed for it would pass for lost (`scheduler.settle`).
                    self._full_until = time.monotonic() + min(self.ask_s, INTENT_LIMIT_S / 2)
                    for item in chain(array, *arrays):
                        item.state, item.message = "waiting", str(error)
                    return
                elif self._submitted:
                    self._fail(array, error)
                else:
                    self._fail(chain(array, *arrays), error)
                    raise
            except UserError as error:  # it may have come through all the same: the next launch asks the scheduler
                self._fail(array, error)

    def _fail(self, items: Iterable[Item], error: UserError) -> None:
        for item in items:
            if isinstance(error, RefusedError) and item.attempt is not None:
                item.attempt.end_unless_ended("stopped", kind="interrupted", message=str(error))
            item.state, item.attempt, item.message = "failed", None, str(error)

    def _arrays(self, items: list[Item]) -> list[list[Item]]:
        """The seeds of each row, those that wait for no pretraining first."""
        rows: dict[str, list[Item]] = {}
        for item in sorted(items, key=lambda item: self._before(item) is not None):
            rows.setdefault(item.training.spec.model_dump_json(exclude={"seed"}), []).append(item)
        most = min(self._cluster.array_limit, int(self._here.get("MaxArraySize", "1001")))
        return [row[start : start + most] for row in rows.values() for start in range(0, len(row), most)]

    def _new_folder(self) -> Path:
        return self._request.store.jobs / f"ifrvis-{uuid.uuid4().hex[:12]}"

    def _script(self, folder: Path, items: list[Item], after: str) -> str:
        """The script of an array that is described in this folder."""
        command = ["-m", "ifrvis.harness.jobs.node", str(folder)]
        how: Any = {"processes": self._cluster.processes(items[0].training.spec), "runs": len(items), "after": after}
        return self._cluster.script(command, folder, self._snapshot, **how)

    def _submit(self, items: list[Item]) -> None:
        """Write down what is about to be submitted, then submit it."""
        before, after = self._before(items[0]), ""
        if before is not None:
            after = before.job or getattr(self._job(before.attempt), "id", "")
            if not after:
                raise UserError(f"Start the same command again: {before.training.name} could not be submitted.")
        folder, attempts = self._new_folder(), [item.attempt for item in items if item.attempt is not None]
        array = {
            "attempts": [str(each.folder.resolve()) for each in attempts],
            "run_attempt": name_of(self._run_attempt),
            "processes": self._cluster.processes(items[0].training.spec),
            "snapshot": str(self._snapshot),
            "told_after_s": 60 * self._cluster.time_min - self._cluster.signal_delay_s,
        }
        write_atomically(folder / "array.json", json.dumps(array, indent=1))
        write_atomically(folder / "submit.sh", self._script(folder, items, after))
        for index, attempt in enumerate(attempts):
            attempt.put(Place(name=folder.name, index=index, cluster=self._here["ClusterName"], user=os.getuid()))
        try:
            with job_environment(items[0].training.spec.threads):
                job = submit(folder / "submit.sh")
        except RefusedError:
            shutil.rmtree(folder)
            raise
        self._submitted[job] = len(items)
        for index, item in enumerate(items):
            item.job = f"{job}_{index}"
