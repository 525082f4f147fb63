"""Jobs on this machine: submitit's local executor behind `--jobs` slots of our own.

The executor starts every job at once and knows nothing of slots, claims or terminals. Here a run gets a slot, its
attempt is claimed, and its job is started so that neither Ctrl-C nor a lost terminal reaches it: on Ctrl-C the queue
asks each worker to stop at the next safe point, where it writes a checkpoint.
"""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import submitit

from ifrvis.errors import UserError
from ifrvis.harness.jobs.machine import gpus, handled, job_environment, kills_for_memory
from ifrvis.harness.jobs.queue import Item, Queue
from ifrvis.harness.jobs.together import gpus_of, run_on
from ifrvis.harness.plan.plan import Request, Training
from ifrvis.harness.store.alive import lives
from ifrvis.harness.store.logs import last_said

TIMEOUT_MIN = 60 * 24 * 14  # submitit's own default is two minutes
STOP_PATIENCE_S = 120.0


class LocalQueue(Queue):
    """Runs trainings on this machine, at most `jobs` at once, each with so many GPUs (or processes, without any)."""

    def __init__(
        self, trainings: list[Training], request: Request, *, jobs: int, gpus_per_run: int = 1, **how: Any
    ) -> None:
        evenly = sorted(trainings, key=lambda training: training.seed)  # cut short, all rows have as many seeds
        super().__init__(evenly, request, **how)
        self._jobs, self._gpus, self._gpus_per_run = jobs, gpus(), gpus_per_run
        self._has_gpus = bool(self._gpus)
        if 0 < len(self._gpus) < gpus_per_run:
            raise UserError(f"Give --gpus-per-run at most {len(self._gpus)}: so many GPUs are visible here.")

    def _has_room(self, items: list[Item]) -> bool:
        return len(self._taken()) + len(items) < self._jobs

    def _taken(self) -> set[int]:
        return {item.slot for item in self.items if item.state == "running" and item.ours}

    def _start(self, items: list[Item]) -> None:
        for item in items:
            assert item.attempt is not None
            item.slot = next(slot for slot in range(self._jobs) if slot not in self._taken())
            item.memory_kills = kills_for_memory()
            executor = submitit.LocalExecutor(folder=item.attempt.folder / "submitit")
            executor.update_parameters(timeout_min=TIMEOUT_MIN, stderr_to_stdout=True)
            spec, per_run = item.training.spec, self._gpus_per_run
            processes = min(per_run, spec.global_batch)
            gpus = gpus_of(item.slot, self._gpus, per_run, processes)
            with job_environment(spec.threads), handled((signal.SIGINT, signal.SIGHUP), signal.SIG_IGN):
                item.job = executor.submit(run_on, gpus, processes, self._run_attempt, str(item.attempt.folder))

    def _has_left(self, item: Item) -> bool:
        """Whether its process is gone: it may have written its ending, but its slot is free only then."""
        assert item.attempt is not None
        if not item.ours:
            return True
        if not item.job.done():
            return False
        if item.attempt.ending() is None and not lives(item.attempt.process()):
            said = f"the worker was killed{last_said(Path(str(item.job.paths.stdout)))}"
            if kills_for_memory() > item.memory_kills:
                item.attempt.end_unless_ended("failed", kind="memory", message=f"out of memory; {said}")
            else:
                item.attempt.end_unless_ended("killed", kind="killed", message=said)
        return True

    def _stop(self, on_poll: Callable[[list[Item]], None]) -> None:
        ours = [item for item in self.items if item.state == "running" and item.ours]
        for item in ours:
            assert item.attempt is not None
            item.attempt.ask_to_stop("interrupted")
        if ours:
            self._tell(
                f"stopping at the next safe point ({len(ours)} running, at most {STOP_PATIENCE_S:.0f} s); Ctrl-C again "
                "leaves at once, and they stop there by themselves"
            )
        deadline = time.monotonic() + STOP_PATIENCE_S
        while (running := [item for item in ours if item.state == "running"]) and time.monotonic() < deadline:
            for item in running:
                self._follow(item)
            on_poll(self.items)
            time.sleep(self.poll_s)
