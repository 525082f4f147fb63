"""Measured values against the paper's, only where they were measured under the paper's protocol on the paper's data."""

from dataclasses import dataclass
from typing import Literal

from ifrvis.harness.spec.tables import Row
from ifrvis.reporting.frame import TableState
from ifrvis.reporting.statistics import Interval, expected_interval
from ifrvis.reporting.style import scale
from ifrvis.reporting.summary import Cell


@dataclass(frozen=True)
class Compared:
    """A cell against the paper's value; in stored units.

    Args:
        difference: Measured minus the paper's.
        expected: Where the measured mean was to be expected, tolerance included; None after a single seed.
        verdict: `consistent` if it lies there, else on which side it does not; nothing below the declared seeds.
    """

    difference: float
    expected: Interval | None
    verdict: Literal["consistent", "above", "below", "too few seeds"]


def compare(state: TableState, row: Row, metric: str, cell: Cell) -> Compared | None:
    """Compare a cell with the paper's value; None where there is nothing to compare, or no leave to.

    The spread of single runs is the paper's where it prints one, else the measured one.
    """
    published, printed_std = row.published.get(metric, (None, None))
    if not state.compares or cell.mean is None or published is None:
        return None
    paper, unit, declared = state.table.paper, scale(metric), len(state.table.seeds)
    difference = cell.mean - published / unit
    if cell.std is None:
        return Compared(difference, None, "too few seeds")
    std, runs_of_std = (cell.std, cell.n) if printed_std is None else (printed_std / unit, paper.runs)
    tolerance = paper.tolerance.get(metric, 0.0) / unit
    df = max(1, runs_of_std - 1)
    expected = expected_interval(published / unit, std, runs=paper.runs, n=cell.n, df=df, tolerance=tolerance)
    if cell.n < declared:
        return Compared(difference, expected, "too few seeds")
    inside = expected.low <= cell.mean <= expected.high
    return Compared(difference, expected, "consistent" if inside else "above" if difference > 0 else "below")
