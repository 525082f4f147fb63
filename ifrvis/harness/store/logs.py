"""The log of a run's last attempt, as it is or as it grows."""

import time
from collections.abc import Iterator

from ifrvis.errors import UserError, printable
from ifrvis.harness.store.attempts import Attempt, attempts_of, latest
from ifrvis.harness.store.paths import Run

POLL_S = 0.5


def last_lines(run: Run, lines: int) -> list[str]:
    """The last lines of the log of a run's last attempt.

    Raises:
        UserError: If it has none yet.
    """
    return [printable(line) for line in _read(_logged(run), 0)[0].splitlines()[-lines:]]


def follow_log(run: Run, lines: int) -> Iterator[str]:
    """The last lines of a run's log, then what is added, also by later attempts, until the run ends."""
    attempt = _logged(run)
    text, offset = _read(attempt, 0)
    yield from (printable(line) for line in text.splitlines()[-lines:])
    while True:
        newest = latest(run)
        alive = newest is not None and newest.is_alive()
        text, offset = _read(attempt, offset)  # after the look at the state, so that the last words are not lost
        yield from (printable(line) for line in text.splitlines())
        if newest is not None and newest.number > attempt.number and newest.log.is_file():
            attempt, offset = newest, 0
        elif alive:
            time.sleep(POLL_S)
        else:
            return


def _logged(run: Run) -> Attempt:
    logged = [attempt for attempt in attempts_of(run) if attempt.log.is_file()]
    if not logged:
        raise UserError(f"Wait until it starts: {run.folder.name} has no log yet.")
    return logged[-1]


def _read(attempt: Attempt, offset: int) -> tuple[str, int]:
    """What the log has from `offset` bytes on, and where that ends."""
    with attempt.log.open("rb") as stream:
        stream.seek(offset)
        data = stream.read()
    return data.decode(errors="replace"), offset + len(data)
