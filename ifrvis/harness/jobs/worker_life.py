"""The life of an attempt on its machine: its log, its heartbeat, and how it ends. What it does is given."""

import contextlib
import logging
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ifrvis.errors import UserError
from ifrvis.harness.jobs.machine import handled
from ifrvis.harness.store.attempts import Attempt, StaleAttemptError, attempt_at
from ifrvis.harness.store.lives import Progress
from ifrvis.harness.store.provenance import environment
from ifrvis.harness.store.states import OVERTAKEN, EndState

HEARTBEAT_S = 2.0
KINDS = {"NotFiniteLossError": "nan", "MemoryError": "memory", "OutOfMemoryError": "memory"}  # by name: torch's too
# Torch says so in plain RuntimeErrors, and another process of the run in those of `training.processes`.
OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "ALLOC_FAILED", "MemoryError in process")
OTHER_KILLED = re.compile(  # one that loads data, or one that trains beside this one (Gloo, NCCL)
    "DataLoader worker .*(killed by signal|exited unexpectedly)"
    "|gloo/transport/.*(Connection (closed|reset) by peer|Broken pipe)"
    "|remote process exited or there was a network error",
    re.DOTALL,
)
SIGNALS = {signal.SIGTERM: "preempted", signal.SIGUSR1: "timeout", signal.SIGUSR2: "timeout"}
log = logging.getLogger("ifrvis")


class StoppedError(Exception):
    """Somebody asked this attempt to stop, and it has: the next attempt goes on."""


class Heart:
    """What each heartbeat of this process says."""

    def __init__(self) -> None:
        self.progress = Progress(phase="starting")

    def say(self, **changes: Any) -> None:
        """Change fields of the progress."""
        self.progress = self.progress.model_copy(update=changes)


def live(folder: str, work: Callable[[Attempt, Heart], None]) -> None:
    """Live the attempt of a folder; how it ended is in its `exit.json`. `work` tells the heart how far it is."""
    attempt = attempt_at(Path(folder))
    if attempt.ending() is not None:  # its launcher gave it up before it began: a later one may be at work already
        return
    with _output_to(attempt.log), _heart(attempt) as heart, signals_ask(attempt):
        started, kind, message = time.monotonic(), "", ""
        reason: EndState = "complete"
        try:
            attempt.check_fence()
            work(attempt, heart)
        except StoppedError as error:
            reason, kind, message = "stopped", attempt.why_asked_to_stop(), str(error)
        except StaleAttemptError as error:
            reason, kind, message = "stopped", OVERTAKEN, str(error)
        except Exception as error:
            reason, kind, message = _failure(error)
        attempt.end(reason, kind=kind, message=message, seconds=time.monotonic() - started)
        log.info("%s %s", reason, message)


def _failure(error: Exception) -> tuple[EndState, str, str]:
    """How an attempt ended that an error has ended: reason, kind, and one line for people."""
    if killed := next((str(each) for each in _chain(error) if OTHER_KILLED.search(str(each))), None):
        log.error("%s", killed)
        return "killed", "killed", f"a process beside this one was killed: {killed}"
    if isinstance(error, UserError):
        log.error("%s", error)
        return "failed", KINDS.get(type(error).__name__, "input"), str(error)
    log.error("%s", "".join(traceback.format_exception(error)))
    kind = "memory" if any(each in str(error) for each in OUT_OF_MEMORY) else "error"
    kind = KINDS.get(type(error).__name__, kind)
    cure = "Start with fewer --jobs, or --micro-batch 1: out of memory. " if kind == "memory" else ""
    return "failed", kind, f"{cure}{type(error).__name__}: {error}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it was raised from: torch speaks of a killed loader wherever its process just is."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def signals_ask(attempt: Attempt) -> contextlib.AbstractContextManager[None]:
    """While the block lasts, what a cluster sends before it kills asks for a stop at the next safe point."""
    return handled(SIGNALS, lambda got, _: attempt.ask_to_stop(SIGNALS[signal.Signals(got)]))


@contextlib.contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Everything that this process and its C code print goes to the attempt's log, while the block lasts."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    with path.open("ab") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        for stream_number, original in zip((1, 2), kept):
            os.dup2(original, stream_number)
            os.close(original)


@contextlib.contextmanager
def _heart(attempt: Attempt) -> Iterator[Heart]:
    """Beat until the block ends."""
    attempt.begin(environment())
    heart = Heart()
    attempt.beat(heart.progress)
    over = threading.Event()

    def beat() -> None:
        while not over.wait(HEARTBEAT_S):
            with contextlib.suppress(UserError):  # a full disk for a moment is no reason to die
                attempt.beat(heart.progress)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield heart
    finally:
        over.set()
        thread.join()
