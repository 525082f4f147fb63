"""What follows an attempt that did not complete: it goes on by itself, or waits for `retry`.

What may go on by itself came from outside: the process was killed, preempted, or ran out of its time. A launch starts
the next attempt, which goes on from the last checkpoint, until three in a row have written none; another launch may go
on from there. All else (an error, a loss that is not finite, memory, wrong input) would only happen again: no launch
starts it until somebody has looked and asks for `retry`.
"""

from itertools import takewhile

from ifrvis.harness.store.attempts import Attempt, attempts_of, latest
from ifrvis.harness.store.paths import Run
from ifrvis.harness.store.states import GOES_ON

SETBACK_LIMIT = 3
RETRY = "retry"  # see `attempts`


def kind_of(attempt: Attempt) -> str:
    """Why an attempt ended (`Ending.cause`); empty where it lives."""
    ending = attempt.ended()
    return ending.cause if ending else ""


def why_blocked(run: Run) -> str:
    """Why a run waits for `retry`; empty where the next launch may start it or go on with it."""
    newest = latest(run)
    ending = newest.ended() if newest else None
    if newest is None or ending is None or ending.reason != "failed" or (newest.folder / RETRY).exists():
        return ""
    return "" if ending.cause in GOES_ON else f"{ending.cause}: {ending.message}"


def gives_up(run: Run, *, since: int) -> str:
    """Why a launch that found attempt `since` does not go on with a run that is killed again and again; else empty."""
    attempts = [attempt for attempt in attempts_of(run) if attempt.number > since]
    setbacks = len(list(takewhile(_is_setback, reversed(attempts))))
    if setbacks < SETBACK_LIMIT:
        return ""
    return f"{kind_of(attempts[-1])} {setbacks} times in a row before it had written a checkpoint"


def ask_for_retry(run: Run) -> str:
    """Let the next launch start a run that waits for it; why it did, or nothing (`why_blocked`)."""
    if why := why_blocked(run):
        (attempts_of(run)[-1].folder / RETRY).touch()
    return why


def _is_setback(attempt: Attempt) -> bool:
    """Whether an attempt ended from outside without having written a checkpoint."""
    written = attempt.checkpoints.is_dir() and any(attempt.checkpoints.iterdir())
    return kind_of(attempt) in GOES_ON and not written
