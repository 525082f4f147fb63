"""The queue of trainings, the same wherever they run: what may start, what goes on, what has failed.

A run's attempt is claimed, then its job is started; from then on its own files tell how it is. How a job is started,
watched and stopped is what the queues of `local` and `slurm` add.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ifrvis.errors import UserError
from ifrvis.harness.jobs.scheduler import Job, settle
from ifrvis.harness.plan.plan import Evaluation, Request, Training
from ifrvis.harness.store.attempts import Attempt, claim, latest
from ifrvis.harness.store.lives import PLAIN, Asked, Handling, Submission
from ifrvis.harness.store.recovery import gives_up
from ifrvis.harness.store.states import DONE, GOES_ON, OVERTAKEN, ItemState


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


def submission(training: Training, request: Request, handling: Handling = PLAIN) -> Submission:
    """What a worker is asked for: the evaluations whose records are not there, and where things lie."""
    init, learning = training.initial_weights(request.store), request.profile.learning
    return Submission(
        profile=request.profile.name,
        method=training.method,
        backbone=training.backbone,
        dataset=training.dataset.source,
        data_root=str(request.data_root.resolve()),
        role=training.split.role,
        init=str(init.resolve()) if init else None,
        init_name=training.init_name,
        stills=training.stills,
        publish_weights=training.is_pretraining,
        watch_videos=0 if learning is None or training.is_pretraining else learning.videos,
        **handling.model_dump(),
        evaluations=tuple(_asked(each) for each in training.evaluations if each.state != "complete"),
    )


def _asked(evaluation: Evaluation) -> Asked:
    split, sig = evaluation.split, evaluation.sig
    assert sig is not None
    assert split.fingerprint is not None
    return Asked(
        eval_sig=sig,
        inference=evaluation.inference,
        split=split.fingerprint,
        role=split.role,
        part=split.part,
        protocol=evaluation.protocol,
        off_spec=evaluation.off_spec,
    )


class Queue(ABC):
    """Runs trainings, each started at most once; `run_attempt` lives an attempt, given its folder."""

    poll_s = 0.5  # of our own files
    ask_s = 40.0  # of the scheduler, where attempts are on a cluster
    _has_gpus = False  # for its jobs

    def __init__(
        self,
        trainings: list[Training],
        request: Request,
        *,
        run_attempt: Callable[[str], None],
        handling: Handling = PLAIN,
        tell: Callable[[str], None] = lambda _: None,  # what is to be said at once
    ) -> None:
        self.items: list[Item] = []
        for training in trainings:
            newest = latest(training.run(request.store))
            ended = newest.number - newest.is_alive() if newest else 0  # of one that lives, the one before
            self.items.append(Item(training, seen=ended, found=ended))
        self._request, self._handling, self._run_attempt = request, handling, run_attempt
        self._tell = tell
        self._scheduled: dict[Attempt, Job | None] | None = {}
        self._asked = float("-inf")

    def run(self, on_poll: Callable[[list[Item]], None]) -> bool:
        """Work until nothing is left; tells whether every item is complete.

        Ctrl-C does what `_stop` says, then raises KeyboardInterrupt.
        """
        try:
            while not all(item.state in DONE for item in self.items):
                self._step()
                on_poll(self.items)
                time.sleep(self.poll_s)
        except KeyboardInterrupt:
            self._stop(on_poll)
            raise
        return all(item.state == "complete" for item in self.items)

    def _has_room(self, items: list[Item]) -> bool:
        """Whether one more job may be started beside those of `items`, which are about to be."""
        return True

    def _can_wait_for(self, before: Item) -> bool:
        """Whether a job can be started that waits for another one by itself."""
        return False

    @abstractmethod
    def _start(self, items: list[Item]) -> None:
        """Start the jobs of items whose attempts were claimed; one that cannot be started becomes `failed`."""

    @abstractmethod
    def _has_left(self, item: Item) -> bool:
        """Whether no job stands behind an item's attempt any more."""

    def _stop(self, on_poll: Callable[[list[Item]], None]) -> None:  # noqa: B027  nothing is an answer
        """What Ctrl-C means for the jobs: nothing, where they need no launcher."""

    def _step(self) -> None:
        if time.monotonic() - self._asked >= self.ask_s:
            newest = [self._newest(item) for item in self.items if item.state in ("waiting", "running")]
            self._scheduled, self._asked = settle(each for each in newest if each is not None), time.monotonic()
        for item in self.items:
            if item.state == "running":
                self._follow(item)
        claimed: list[Item] = []
        for item in self.items:
            if item.state == "waiting" and self._has_room(claimed) and self._may_start(item):
                try:
                    claimed += [item] if self._claim(item) else []
                except UserError as error:  # a failure of one run never stops the others
                    item.state, item.message = "failed", str(error)
        if claimed:
            self._start(claimed)

    def _newest(self, item: Item) -> Attempt | None:
        return latest(item.training.run(self._request.store))

    def _job(self, attempt: Attempt | None) -> Job | None:
        """The living job of a cluster behind an attempt, as of the scheduler's last answer."""
        return (self._scheduled or {}).get(attempt) if attempt else None

    def _before(self, item: Item) -> Item | None:
        """The pretraining that an item starts from, if it is not complete."""
        found = (each for each in self.items if each.training is item.training.after and each.state != "complete")
        return next(found, None)

    def _may_start(self, item: Item) -> bool:
        """Whether the pretraining that an item starts from is there; an item whose pretraining failed fails too."""
        before = self._before(item)
        if before is not None and before.state in ("failed", "stopped"):
            item.state, item.message = "failed", f"{before.training.name}, which it starts from, {before.state}"
        return before is None or self._can_wait_for(before)

    def _claim(self, item: Item) -> bool:
        """Claim the next attempt of an item; tells whether a job is to be started for it."""
        run = item.training.run(self._request.store)
        run.write_spec(item.training.spec)
        newest = latest(run)
        if newest is not None and newest.number > item.seen and newest.state() != "killed":
            item.state, item.attempt = "running", newest  # another launcher's: follow it, or take its end for ours
            return False
        attempt = claim(run, self._submission(item.training), after=newest.number if newest else 0)
        if attempt is not None:  # else somebody has just taken it: the next look follows
            item.state, item.attempt = "running", attempt
        return attempt is not None

    def _submission(self, training: Training) -> Submission:
        on_gpu = self._request.profile.needs_gpu and self._has_gpus
        return submission(training, self._request, self._handling).model_copy(update={"on_gpu": on_gpu})

    def _follow(self, item: Item) -> None:
        assert item.attempt is not None
        if not self._has_left(item):
            return
        ending = item.attempt.ended()
        if ending is None:
            return
        item.message = ending.message
        if ending.cause not in (*GOES_ON, OVERTAKEN):
            item.state = ending.reason if ending.reason in ("complete", "stopped") else "failed"
        elif why := gives_up(item.training.run(self._request.store), since=item.found):
            item.state, item.message = "failed", why
        else:  # ended from outside or overtaken, by whomever it was started: the next attempt goes on
            item.state, item.seen, item.attempt, item.job = "waiting", item.attempt.number, None, None
