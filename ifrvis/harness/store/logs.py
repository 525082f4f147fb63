"""The log of a run's last attempt, as it is or as it grows."""

import time
from collections.abc import Iterator
from pathlib import Path

from ifrvis.errors import UserError, printable
from ifrvis.files import read_end
from ifrvis.harness.store.attempts import Attempt, attempts_of, latest
from ifrvis.harness.store.paths import Run

POLL_S = 0.5


def log_lines(run: Run, lines: int, *, follow: bool = False) -> Iterator[str]:
    """The last lines of the log of a run's last attempt; then what is added, also by later ones, until the run ends.
    UserError if it has none yet.
    """
    logged = [attempt for attempt in attempts_of(run) if _log_of(attempt)]
    if not logged:
        raise UserError(f"Wait until it starts: {run.folder.name} has no log yet.")
    attempt, path = logged[-1], _log_of(logged[-1])
    found, offset = _read(path, 0)
    yield from found[-lines:]
    while follow:
        newest = latest(run)
        alive = newest is not None and newest.is_alive()
        found, offset = _read(path, offset)  # after the look at the state, so that the last words are not lost
        yield from found
        if newest is not None and newest.number > attempt.number and _log_of(newest):
            attempt, path, offset = newest, _log_of(newest), 0
        elif (begun := _log_of(attempt)) != path:  # the program has, after the set-up lines of its job
            path, offset = begun, 0
        elif alive:
            time.sleep(POLL_S)
        else:
            return


def job_output(attempt: Attempt) -> Path | None:
    """What the job of a cluster behind an attempt has printed outside its log, set-up lines included."""
    place = attempt.place()
    found = attempt.run.store.jobs.glob(f"{place.name}/*_{place.index}.out") if place else ()
    return next(iter(found), None)


def _log_of(attempt: Attempt) -> Path | None:
    return attempt.log if attempt.log.is_file() else job_output(attempt)


def last_said(path: Path) -> str:
    """The last line of an output, as the end of a message; empty where there is none."""
    lines = end_of(path, 1)
    return f"; it last said: {lines[-1]}" if lines else ""


def end_of(path: Path, lines: int) -> list[str]:
    """The last lines of an output as a terminal can print them; none where it cannot be read."""
    try:
        return _lines(read_end(path, "the log")[0])[-lines:]
    except UserError:
        return []


def _read(path: Path | None, offset: int) -> tuple[list[str], int]:
    """The lines that a log has from `offset` bytes on, and where they end."""
    assert path is not None
    text, offset = read_end(path, "the log", offset)
    return _lines(text), offset


def _lines(text: str) -> list[str]:
    return [printable(line) for line in text.splitlines()]
