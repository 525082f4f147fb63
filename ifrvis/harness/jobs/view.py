"""What a queue shows: live, one line a run on a terminal, a line a change elsewhere; and at its end, what failed."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ifrvis.harness.jobs.queue import Item
from ifrvis.harness.plan.cost import duration_text
from ifrvis.harness.store.logs import end_of
from ifrvis.harness.store.recovery import kind_of

REPEAT_S = 30.0  # without a terminal: how often a line about what runs
LOG_LINES = 20
SHOWN, URGENCY = 20, ("running", "failed", "waiting", "stopped", "complete")  # of more items, those that fit a screen
CURES = {
    "startup": "Look at 'setup' and the paths of the cluster file: its job ended before the program began.",
    "killed": "It was killed, by the system or a person: start the same command again and it goes on.",
    "preempted": "Others took its place: start the same command again and it goes on.",
    "timeout": "Its time was over: start the same command again and it goes on.",
    "memory": "Choose fewer --jobs, then `ifrvis retry {run}` and the same command again.",
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
        yield partial(_print_changes, console, {})


def _print_changes(console: Console, shown: dict[str, tuple[str, float]], items: list[Item]) -> None:
    """A line for each item whose state is another than was shown, or that runs and was not shown for long."""
    for item in items:
        name, state, now = item.training.name, _state(item), time.monotonic()
        before, when = shown.get(name, ("", now))
        if state != before or (state == "running" and now - when > REPEAT_S):
            shown[name] = state, now
            step, loss, ap, left = _cells(item)
            named = [f"loss {loss}" * bool(loss), f"AP so far {ap}" * bool(ap), f"{left} left" * bool(left)]
            words = [name, state, step, *named, *[item.message] * (state not in ("queued", "waiting"))]
            line = " ".join(word for word in words if word)
            console.print(line, soft_wrap=True, highlight=False, markup=False)


def _table(items: list[Item], on_interrupt: str) -> Group:
    table = Table(box=None, pad_edge=False)
    for name in ("run", "state", "step", "loss", "AP so far", "time left"):
        table.add_column(name, no_wrap=name != "run", justify="left" if name in ("run", "state") else "right")
    shown = items if len(items) <= SHOWN else sorted(items, key=lambda item: URGENCY.index(item.state))[:SHOWN]
    for item in shown:
        state = _state(item)
        style = {"complete": "green", "failed": "red", "running": "bold"}.get(state, "dim")
        table.add_row(item.training.name, state, *_cells(item), style=style)
    done = sum(item.state == "complete" for item in items)
    hint = f"{done} of {len(items)} complete; {on_interrupt}, the same command goes on"
    return Group(table, Text(hint, style="dim italic"))


def _state(item: Item) -> str:
    """The state for people: on a cluster, what was submitted or requeued waits for its place."""
    attempt = item.attempt if item.state == "running" else None
    waits = attempt is not None and attempt.place() and attempt.state() in ("pending", "stopped", "killed")
    return "queued" if waits else item.state


def _cells(item: Item) -> tuple[str, str, str, str]:
    """Step, loss, AP so far (percent, on the watched videos) and time left of a running item; why one waits."""
    if _state(item) in ("queued", "waiting"):
        return item.message, "", "", ""
    said = item.attempt.progress() if item.attempt and item.state == "running" else None
    if said is None:
        return "", "", "", ""
    steps = f" {said.iteration}/{said.iterations}" if None not in (said.iteration, said.iterations) else ""
    trains = said.phase == "training"
    loss = f"{said.loss:.2f}" if trains and said.loss is not None else ""
    ap = f"{100 * said.ap:.1f}" if said.ap is not None else ""
    return said.phase + steps, loss, ap, duration_text(said.eta_s) if trains else ""


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
