"""What the runs of a row have learned, and whether that passes the profile's own gate."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ifrvis.harness.spec.profiles import Learning
from ifrvis.harness.store.records import Record

COMPARES_NOTHING = "not learned, compares nothing"


class Learned(NamedTuple):
    """Means over the runs of a row, in [0, 1], and whether they reach what the gate asks for, if it asks."""

    before: float  # AP on the watched videos with the initial weights
    after: float  # there, at the end
    final: float  # on all held-out videos
    wanted: float | None  # what is asked of `after`
    passes: bool


def learned(records: Sequence[Record], bounds: Learning | None) -> Learned | None:
    """What some records say of their row; None where nothing was watched, or there are none.

    A row has learned if its mean AP reaches what the profile says and if, on the watched videos, it has gained the
    profile's share of what the mean AP of its initial weights left to 1: who starts well has less to gain, and who is
    not trained gains nothing.
    """
    if bounds is None or not records or not all("0" in record.curve for record in records):
        return None
    curves = [sorted(record.curve.items(), key=lambda point: int(point[0])) for record in records]
    before, after = (_mean(curve[place][1] for curve in curves) for place in (0, -1))
    final = _mean(record.metrics.get("AP") for record in records)
    if bounds.gain is None or bounds.reach is None:
        return Learned(before, after, final, None, passes=True)
    share = bounds.gain * (1 - before)
    return Learned(before, after, final, before + share, passes=after - before >= share and final >= bounds.reach)


def _mean(values: Iterable[float | None]) -> float:
    """The mean, in which an undefined AP counts as none."""
    given = [value or 0.0 for value in values]
    return sum(given) / len(given)
