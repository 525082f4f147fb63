"""Cancelling runs: at the next safe point, or now; what waits in the queue of a cluster leaves it."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable

from ifrvis.errors import UserError
from ifrvis.harness.jobs.queue import submission
from ifrvis.harness.jobs.scheduler import cancel_jobs, settle
from ifrvis.harness.plan.plan import Request, Training
from ifrvis.harness.store.alive import lives
from ifrvis.harness.store.attempts import Attempt, claim, latest
from ifrvis.harness.store.paths import Run

POLL_S = 0.2


def cancel_waiting(trainings: Iterable[Training], request: Request) -> None:
    """Take runs out of the queues of living launchers: they find an attempt that was cancelled before it began."""
    for training in trainings:
        run = training.run(request.store)
        run.write_spec(training.spec)
        attempt = claim(run, submission(training, request))
        if attempt is not None:
            attempt.end("stopped", kind="cancelled", message="cancelled before it began")


def cancel(runs: Iterable[Run], *, now: bool, patience_s: float, say: Callable[[str], None]) -> bool:
    """Stop the living attempts of some runs, `now`, or at the next safe point; tells whether all ended in `patience_s`.

    To kill loses what came after the last checkpoint. `say` is given a line about each. UserError if one is to be
    killed that is not on this machine.
    """
    living = [each for each in map(latest, runs) if each is not None and each.is_alive()]
    for attempt in living:
        attempt.ask_to_stop("cancelled")
        if now:
            _kill(attempt)
        say(f"{attempt.run.name} {'killed' if now else 'asked to stop'}")
    deadline = time.monotonic() + patience_s
    while living:
        for attempt in [each for each in living if not each.is_alive()]:
            living.remove(attempt)
            say(f"{attempt.run.name} {attempt.state()}")
        if time.monotonic() >= deadline:
            break
        time.sleep(POLL_S)
    for attempt in living:
        say(f"{attempt.run.name} has not stopped yet; it will at its next safe point, or add --now")
    return not living


def leave_queues(newest: Iterable[Attempt]) -> list[Attempt]:
    """Cancel the jobs of a cluster that have not begun, or would begin again; the attempts that they stood behind."""
    jobs = settle(newest) or {}
    waiting = {each: job for each, job in jobs.items() if job and (job.state == "PENDING" or each.ending() is not None)}
    if not cancel_jobs(waiting.values()):
        return []
    for attempt in waiting:
        attempt.end_unless_ended("stopped", kind="cancelled", message="cancelled before it began")
    return list(waiting)


def _kill(attempt: Attempt) -> None:
    """End an attempt before its process, so that no launcher takes it for one that was killed and goes on."""
    process, jobs = attempt.process(), list(filter(None, (settle([attempt]) or {}).values()))
    here = lives(process) is not None
    if not (here or jobs or (attempt.place() and attempt.is_silent())):  # a person may end what cannot be asked
        raise UserError(f"Cancel {attempt.run.name} without --now: its process is not on this machine, or not yet.")
    attempt.end("stopped", kind="cancelled", message="cancelled; the next attempt goes on from the last checkpoint")
    cancel_jobs(jobs)
    if process is not None and lives(process):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
