"""What a queue shows: on a terminal a line a row, elsewhere now and then one line; and at its end, what failed."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ifrvis.errors import REPEAT_S
from ifrvis.harness.jobs.queue import Item
from ifrvis.harness.plan.cost import duration_text
from ifrvis.harness.store.lives import Progress
from ifrvis.harness.store.logs import end_of
from ifrvis.harness.store.recovery import kind_of
from ifrvis.harness.store.states import DONE

LOGGED = 4  # running items in it
LOG_LINES = 20
SHOWN, URGENCY = 20, ("running", "failed", "waiting", "stopped", "complete")  # of more rows, those that fit a screen
CURES = {
    "startup": "Look at 'setup' and the paths of the cluster file: its job ended before the program began.",
    "killed": "It was killed, by the system or a person: start the same command again and it goes on.",
    "preempted": "Others took its place: start the same command again and it goes on.",
    "timeout": "Its time was over: start the same command again and it goes on.",
    "memory": "Choose fewer --jobs, or --micro-batch 1, then `ifrvis retry {run}` and the same command again.",
    "nan": "Lower train.optimizer.lr, or look at the data that the message names; `ifrvis retry {run}` tries it again.",
    "input": "Put right what the message names, then `ifrvis retry {run}` and the same command again.",
    "error": "This is a mistake in the program, the log has the traceback; `ifrvis retry {run}` tries it again.",
}


@contextmanager
def live_view(console: Console, *, on_interrupt: str) -> Iterator[Callable[[list[Item]], None]]:
    """Show the items of a queue while the block lasts; what it gives is to be called with them at every poll."""
    if console.is_terminal:
        with Live(console=console) as live:
            yield lambda items: live.update(_table(items, on_interrupt))
    else:
        yield partial(_log, console, [-REPEAT_S])


def _log(console: Console, last: list[float], items: list[Item]) -> None:
    """One line about all items, every `REPEAT_S` and once all are done."""
    if time.monotonic() - last[0] >= REPEAT_S or all(item.state in DONE for item in items):
        last[0] = time.monotonic()
        console.print(_log_line(items), soft_wrap=True, highlight=False, markup=False)


def _log_line(items: list[Item]) -> str:
    """How many items are in which state, the first of those that run, and what time is left."""
    said = [", ".join(f"{number} {state}" for state, number in Counter(map(_state, items)).items())]
    for item in [item for item in items if _state(item) == "running"][:LOGGED]:
        step, loss, *_ = _cells(item)
        said.append(" ".join(filter(None, [item.training.name, step, f"loss {loss}" * bool(loss)])))
    return "; ".join(filter(None, [*said, _time_left(items)]))


def _table(items: list[Item], on_interrupt: str) -> Group:
    """A line a row, whose seeds are counted; the cells are of the most urgent."""
    table = Table(box=None, padding=(0, 1, 0, 0))  # so that names of rows have room on 80 columns
    for name in ("row", "done", "state", "step", "loss", "AP\nso far", "time\nleft"):
        left = name in ("row", "state")
        table.add_column(name, no_wrap=name != "row", overflow="fold", justify="left" if left else "right")
    rows: dict[str, list[Item]] = {}
    for item in items:
        rows.setdefault(re.sub("-s[0-9]+$", "", item.training.name), []).append(item)
    first = {name: min(of_row, key=lambda item: URGENCY.index(item.state)) for name, of_row in rows.items()}
    names = [*rows] if len(rows) <= SHOWN else sorted(rows, key=lambda name: URGENCY.index(first[name].state))[:SHOWN]
    for name in names:
        state = _state(first[name])
        done = f"{sum(item.state == 'complete' for item in rows[name])}/{len(rows[name])}"
        style = {"complete": "green", "failed": "red", "running": "bold"}.get(state, "dim")
        table.add_row(name, done, state, *_cells(first[name]), style=style)
    done = f"{sum(item.state == 'complete' for item in items)} of {len(items)} runs complete"
    hint = "; ".join(filter(None, [done, _time_left(items), f"{on_interrupt}, the same command goes on"]))
    return Group(table, Text(hint, style="dim italic"))


def _time_left(items: list[Item]) -> str:
    """How long all that is not done takes, the pretrainings' share apart; empty where it is not known.

    The estimates of what waits are corrected by the pace at which the first iterations of what runs were timed.
    """
    left: dict[bool, list[float]] = {True: [], False: []}
    paces = {kind: [_pace(item) for item in items if item.training.is_pretraining == kind] for kind in left}
    known = {kind: [pace for pace in of_kind if pace is not None] or [1.0] for kind, of_kind in paces.items()}
    for item in items:
        if item.state in ("waiting", "running"):
            said, hours, kind = _progress(item), item.training.est_gpu_hours, item.training.is_pretraining
            guess = None if hours is None else 3600 * hours * sum(known[kind]) / len(known[kind])
            trained = said is not None and said.phase in ("predicting", "scoring")  # then little is left, if unsaid
            seconds = said.eta_s if said and said.eta_s is not None else 0.0 if trained else guess
            if seconds is None:
                return ""
            left[kind].append(seconds)
    at_once, texts = max(1, sum(item.state == "running" for item in items)), list[str]()
    for each, what in ((left[True], " of pretraining"), (left[False], "")):
        if any(each):  # so many at once take no less than the longest of them
            texts.append(f"about {duration_text(max(*each, sum(each) / at_once))}{what}")
    return f"{', then '.join(texts)} left" if texts else ""


def _pace(item: Item) -> float | None:
    """How many times its estimate a running item takes, by its timed iterations; None where one is not known."""
    said, hours = _progress(item), item.training.est_gpu_hours
    if said is None or said.phase != "training" or not hours or not said.eta_s or not said.iterations:
        return None
    left = 1 - (said.iteration or 0) / said.iterations
    return said.eta_s / left / (3600 * hours) if left > 0 else None


def _progress(item: Item) -> Progress | None:
    return item.attempt.progress() if item.attempt and item.state == "running" else None


def _state(item: Item) -> str:
    """The state for people: on a cluster, what was submitted or requeued waits for its place."""
    attempt = item.attempt if item.state == "running" else None
    waits = attempt is not None and attempt.place() and attempt.state() in ("pending", "stopped", "killed")
    return "queued" if waits else item.state


def _cells(item: Item) -> tuple[str, str, str, str]:
    """Step, loss, AP so far (percent, on the watched videos) and time left of a running item; why one waits."""
    if _state(item) in ("queued", "waiting"):
        return item.message, "", "", ""
    if (said := _progress(item)) is None:
        return "", "", "", ""
    steps = f" {said.iteration}/{said.iterations}" if None not in (said.iteration, said.iterations) else ""
    trains = said.phase == "training"
    loss = f"{said.loss:.2f}" if trains and said.loss is not None else ""
    ap = f"{100 * said.ap:.1f}" if said.ap is not None else ""
    return said.phase + steps, loss, ap, duration_text(said.eta_s)


def failure_lines(items: list[Item]) -> list[str]:
    """For each run that failed: why, the end of its log, and the cure."""
    lines: list[str] = []
    for item in items:
        if item.state == "failed":
            lines.append(f"{item.training.name} failed: {item.message}")
            if item.attempt:
                lines += [f"  | {line}" for line in end_of(item.attempt.log, LOG_LINES)]
                cure = CURES.get(kind_of(item.attempt), CURES["error"]).format(run=item.training.name)
                lines += [f"  log: {item.attempt.log}", f"  {cure}"]
    return lines
