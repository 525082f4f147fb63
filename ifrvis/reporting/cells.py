"""One row and metric over the seeds: a number only if every record behind it exists, and what it is to the paper's."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from ifrvis.harness.spec.tables import UNJUDGED, Row, Table
from ifrvis.reporting.statistics import Interval, expected_interval, mean_interval
from ifrvis.reporting.style import UNDEFINED, scale


@dataclass(frozen=True)
class Cell:
    """One row and metric over the seeds asked for."""

    n: int  # records there are
    # Mean over all seeds asked for, as a fraction (IDs a count); None where the cell is no number.
    mean: float | None = None
    std: float | None = None  # standard deviation (ddof 1); None where the cell is no number or of one seed
    missing: str = ""  # what stands in the place of a number; empty where there is one
    interval: Interval | None = None  # the t-interval of the mean; None where there is no std


def make_cell(values: Sequence[float | None], num_seeds: int, missing: str) -> Cell:
    """The cell of some values; None is undefined, and `missing` says why the row has no number, whatever the metric."""
    n = len(values)
    if missing or not n or n < num_seeds:
        return Cell(n, missing=missing or (f"{n}/{num_seeds}" if n else "not scored"))
    known = [value for value in values if value is not None]
    if len(known) < n:
        return Cell(n, missing=UNDEFINED)
    return Cell(n, fmean(known), stdev(known) if n > 1 else None, interval=mean_interval(known))


@dataclass(frozen=True)
class Compared:
    """A cell against the paper's value; in stored units."""

    difference: float  # measured minus the paper's
    # Where the measured mean was to be expected, tolerance included; None after a single seed.
    expected: Interval | None
    # `consistent` if it lies there, else on which side it does not; nothing below the declared seeds.
    verdict: Literal["consistent", "above", "below", "too few seeds"]


def compare(table: Table, row: Row, metric: str, cell: Cell) -> Compared | None:
    """Compare a cell, measured as the paper did, with its value; None where there is nothing to compare.

    The spread of single runs is the paper's where it prints one, else the measured one.
    """
    published, printed_std = row.published.get(metric, (None, None))
    if cell.mean is None or published is None or metric in UNJUDGED:
        return None
    paper, unit = table.paper, scale(metric)
    difference = cell.mean - published / unit
    if cell.std is None:
        return Compared(difference, None, "too few seeds")
    std, runs_of_std = (cell.std, cell.n) if printed_std is None else (printed_std / unit, paper.runs)
    tolerance = paper.tolerance.get(metric, 0.0) / unit
    df = max(1, runs_of_std - 1)
    expected = expected_interval(published / unit, std, runs=paper.runs, n=cell.n, df=df, tolerance=tolerance)
    if cell.n < len(table.seeds):
        return Compared(difference, expected, "too few seeds")
    inside = expected.low <= cell.mean <= expected.high
    return Compared(difference, expected, "consistent" if inside else "above" if difference > 0 else "below")
