"""The queue of jobs on this machine: submitit's local executor behind `--jobs` slots of our own.

The executor starts every job at once and knows nothing of slots, claims or terminals. Here a run gets a slot, its
attempt is claimed, and its job is started so that neither Ctrl-C nor a lost terminal reaches it: on Ctrl-C the queue
asks each worker to stop at the next safe point, where it writes a checkpoint.
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import submitit

from ifrvis.errors import UserError
from ifrvis.harness.attempts import Attempt, StaleAttemptError, claim, latest
from ifrvis.harness.machine import gpus, job_environment, kills_for_memory
from ifrvis.harness.plan import Evaluation, Request, Training
from ifrvis.harness.recovery import GOES_ON, gives_up, kind_of

__all__ = ["Item", "LocalQueue", "submission"]

POLL_S = 0.5
TIMEOUT_MIN = 60 * 24 * 14  # submitit's own default is two minutes
STOP_PATIENCE_S = 120.0
ItemState = Literal["waiting", "running", "complete", "failed", "stopped"]


@dataclass
class Item:
    """A training in the queue."""

    training: Training
    state: ItemState = "waiting"
    attempt: Attempt | None = None
    job: Any = None
    slot: int = -1
    message: str = ""
    seen: int = 0  # number of the newest attempt that this launch has done with
    found: int = 0  # that number when the launch began
    memory_kills: int = 0  # of the machine, when the attempt began

    @property
    def ours(self) -> bool:
        """Whether this launcher started the attempt."""
        return self.job is not None


def submission(training: Training, request: Request, *, workers: int) -> dict[str, Any]:
    """What a worker is asked for: the evaluations whose records are not there, and where things lie."""
    init, learning = training.initial_weights(request.results), request.profile.learning
    return {
        "name": training.name,
        "train_sig": training.sig,
        "profile": request.profile.name,
        "off_spec": request.off_spec,
        "data_root": str(request.data_root.resolve()),
        "results": str(request.results.root.resolve()),
        "dataset": training.dataset.source,
        "role": training.split.role,
        "init": str(init.resolve()) if init else None,
        "stills": asdict(training.stills) if training.stills else None,
        "publish_weights": training.is_pretraining,
        "watch_videos": 0 if learning is None or training.is_pretraining else learning.videos,
        "workers": workers,
        "method": training.method,
        "backbone": training.backbone,
        "evaluations": [_evaluation(each) for each in training.evaluations if each.state != "complete"],
    }


def _evaluation(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "eval_sig": evaluation.sig,
        "inference": evaluation.inference,
        "split": evaluation.split.fingerprint,
        "role": evaluation.split.role,
        "protocol": evaluation.protocol,
    }


class LocalQueue:
    """Runs trainings on this machine, at most `jobs` at once, each started at most once."""

    def __init__(
        self,
        trainings: list[Training],
        request: Request,
        *,
        jobs: int,
        run_attempt: Callable[[str], None],
        workers: int = 0,
    ) -> None:
        ended = [_newest_ended(training, request) for training in trainings]
        self.items = [Item(training, seen=number, found=number) for training, number in zip(trainings, ended)]
        self._request = request
        self._jobs = jobs
        self._workers = workers
        self._run_attempt = run_attempt
        self._gpus = gpus()

    def run(self, on_poll: Callable[[list[Item]], None]) -> bool:
        """Work until nothing is left; tells whether every item is complete.

        Ctrl-C asks the workers to stop, waits for them, and raises KeyboardInterrupt.
        """
        try:
            while not self._is_done():
                self._step()
                on_poll(self.items)
                time.sleep(POLL_S)
        except KeyboardInterrupt:
            self._stop(on_poll)
            raise
        return all(item.state == "complete" for item in self.items)

    def _is_done(self) -> bool:
        return all(item.state in ("complete", "failed", "stopped") for item in self.items)

    def _step(self) -> None:
        for item in self.items:
            if item.state == "running":
                self._follow(item)
        for item in self.items:
            free = self._free_slot()
            if item.state == "waiting" and free is not None and self._may_start(item):
                try:
                    self._start(item, free)
                except UserError as error:  # a failure of one run never stops the others
                    item.state, item.message = "failed", str(error)

    def _may_start(self, item: Item) -> bool:
        """Whether the pretraining that an item starts from is there; an item whose pretraining failed fails too."""
        before = next((each for each in self.items if each.training is item.training.after), None)
        if before is not None and before.state in ("failed", "stopped"):
            item.state, item.message = "failed", f"{before.training.name}, which it starts from, {before.state}"
        return before is None or before.state == "complete"

    def _free_slot(self) -> int | None:
        taken = {item.slot for item in self.items if item.state == "running" and item.ours}
        return next((slot for slot in range(self._jobs) if slot not in taken), None)

    def _start(self, item: Item, slot: int) -> None:
        run = item.training.run(self._request.results)
        run.write_spec(item.training.spec)
        newest, item.state = latest(run), "running"
        if newest is not None and newest.number > item.seen and newest.state() != "killed":
            item.attempt = newest  # another launcher's: follow it, or take its end for ours
            return
        asked = submission(item.training, self._request, workers=self._workers)
        attempt = claim(run, asked, after=newest.number if newest else 0)
        if attempt is None:
            item.state = "waiting"  # somebody has just taken it: look again
            return
        item.attempt, item.slot, item.memory_kills = attempt, slot, kills_for_memory()
        threads = int(item.training.spec["threads"])
        with job_environment(threads), _out_of_the_terminals_reach():
            item.job = self._executor(attempt.folder / "submitit", slot).submit(self._run_attempt, str(attempt.folder))

    def _executor(self, folder: Path, slot: int) -> submitit.LocalExecutor:
        executor = submitit.LocalExecutor(folder=folder)
        visible = (self._gpus[slot % len(self._gpus)],) if self._gpus else ()
        executor.update_parameters(
            timeout_min=TIMEOUT_MIN, gpus_per_node=len(visible), visible_gpus=visible, stderr_to_stdout=True
        )
        return executor

    def _follow(self, item: Item) -> None:
        assert item.attempt is not None
        if item.ours and not item.job.done():
            return  # it may have written its ending, but its slot is free only when its process is gone
        if item.ours and item.attempt.ending() is None and not item.attempt.process_lives():
            if kills_for_memory() > item.memory_kills:
                item.attempt.end("failed", kind="memory", message=f"out of memory; {_last_words(item)}")
            else:
                item.attempt.end("killed", kind="killed", message=_last_words(item))
        state, kind = item.attempt.state(), kind_of(item.attempt)
        if state in ("pending", "running"):
            return
        item.message = str((item.attempt.ending() or {}).get("message", ""))
        if kind not in (*GOES_ON, StaleAttemptError.__name__):
            item.state = "complete" if state == "complete" else "stopped" if state == "stopped" else "failed"
        elif why := gives_up(item.training.run(self._request.results), since=item.found):
            item.state, item.message = "failed", why
        else:  # ended from outside or overtaken, by whomever it was started: the next attempt goes on
            item.state, item.seen, item.attempt, item.job = "waiting", item.attempt.number, None, None

    def _stop(self, on_poll: Callable[[list[Item]], None]) -> None:
        ours = [item for item in self.items if item.state == "running" and item.ours and item.attempt]
        for item in ours:
            assert item.attempt is not None
            item.attempt.ask_to_stop("interrupted")
        deadline = time.monotonic() + STOP_PATIENCE_S
        while any(item.state == "running" for item in ours) and time.monotonic() < deadline:
            for item in ours:
                if item.state == "running":
                    self._follow(item)
            on_poll(self.items)
            time.sleep(POLL_S)


def _newest_ended(training: Training, request: Request) -> int:
    """The number of a training's newest attempt if that has ended; else the one before."""
    attempt = latest(training.run(request.results))
    if attempt is None:
        return 0
    return attempt.number - (attempt.state() in ("pending", "running"))


def _last_words(item: Item) -> str:
    """The end of what a job that wrote no `exit.json` has said."""
    output = Path(str(item.job.paths.stdout))
    lines = output.read_text(errors="replace").splitlines() if output.exists() else []
    return "the worker was killed" + (f"; it last said: {lines[-1]}" if lines else "")


@contextmanager
def _out_of_the_terminals_reach() -> Iterator[None]:
    """Processes started inside ignore Ctrl-C and hang-up: a signal that is ignored stays so across exec."""
    kept = {each: signal.signal(each, signal.SIG_IGN) for each in (signal.SIGINT, signal.SIGHUP)}
    try:
        yield
    finally:
        for each, handler in kept.items():
            signal.signal(each, handler)
