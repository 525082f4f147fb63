"""What a launch says at its end: which runs failed and what to do, and which rows have not learned."""

from collections.abc import Iterable

from ifrvis.harness.local import Item
from ifrvis.harness.plan import Plan, PlannedRow

__all__ = ["failure_lines", "verdicts"]

LOG_LINES = 20
CURES = {
    "killed": "It was killed, by the system or a person: start the same command again and it goes on.",
    "memory": "Start it again with fewer --jobs.",
    "nan": "Lower train.optimizer.lr, or look at the data that the message names.",
    "input": "Put right what the message names and start the same command again.",
    "error": "This is a mistake in the program: the log has the traceback.",
}


def failure_lines(items: list[Item]) -> list[str]:
    """For each run that failed: why, the end of its log, and the cure."""
    lines: list[str] = []
    for item in items:
        if item.state == "failed":
            lines.append(f"{item.training.name} failed: {item.message}")
            lines += _log_and_cure(item) if item.attempt else []
    return lines


def _log_and_cure(item: Item) -> list[str]:
    assert item.attempt is not None
    log = item.attempt.log
    tail = log.read_text(errors="replace").splitlines()[-LOG_LINES:] if log.exists() else []
    kind = (item.attempt.ending() or {}).get("kind", "error")
    cure = CURES.get(kind, CURES["error"])
    return [*(f"  | {line}" for line in tail), f"  log: {log}", f"  {cure}"]


def verdicts(plan: Plan) -> tuple[list[str], bool]:
    """A line a complete row, with what it has learned; and whether every row has learned that the profile judges.

    A row has learned if its mean AP on the watched videos exceeds that of its initial weights there by the profile's
    gain, and its mean AP reaches what the profile says. A profile without such bounds judges nothing.
    """
    judged = [_verdict(planned, plan) for planned in plan.rows if planned.state == "complete"]
    known = [verdict for verdict in judged if verdict is not None]
    return [line for line, _ in known], all(learned for _, learned in known)


def _verdict(planned: PlannedRow, plan: Plan) -> tuple[str, bool] | None:
    bounds = plan.request.profile.learning
    records = [each.record for each in planned.evaluations.values() if each.record is not None]
    if bounds is None or not all("0" in record.get("curve", {}) for record in records):
        return None
    curves = [sorted(record["curve"].items(), key=lambda point: int(point[0])) for record in records]
    before, after = (_mean(curve[place][1] for curve in curves) for place in (0, -1))
    final = _mean(record["metrics"]["AP"] for record in records)
    watched = f"{100 * before:.1f} with the initial weights, {100 * after:.1f} after training"
    line = f"{planned.row.id}: AP {100 * final:.1f}; on {bounds.videos} watched videos {watched}"
    if bounds.gain is None or bounds.reach is None:
        return line, True
    learned = after - before >= bounds.gain and final >= bounds.reach
    asked = f"asked for are {100 * bounds.reach:.0f}, and {100 * bounds.gain:.0f} more on the watched"
    return f"{line}: {'learned' if learned else 'not learned'} ({asked})", learned


def _mean(values: Iterable[float | None]) -> float:
    """The mean, in which an undefined AP counts as none."""
    given = [value or 0.0 for value in values]
    return sum(given) / len(given)
