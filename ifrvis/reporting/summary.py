"""Mean and standard deviation over seeds, cell by cell: a number only if every record behind it exists."""

import math
from dataclasses import dataclass
from statistics import fmean, stdev

import pandas as pd

from ifrvis.reporting.frame import RowState, TableState
from ifrvis.reporting.statistics import Interval, mean_interval
from ifrvis.reporting.style import UNDEFINED


@dataclass(frozen=True)
class Cell:
    """One row and metric over the seeds asked for.

    Args:
        n: Records there are.
        mean: Mean over all seeds asked for, as a fraction (IDs a count); None where the cell is no number.
        std: Standard deviation (ddof 1); None where the cell is no number or of one seed.
        missing: What stands in the place of a number; empty where there is one.
        interval: The t-interval of the mean; None where there is no std.
    """

    n: int
    mean: float | None = None
    std: float | None = None
    missing: str = ""
    interval: Interval | None = None


def summarise(state: TableState, frame: pd.DataFrame) -> dict[tuple[str, str], Cell]:
    """The cell of each (row id, metric) of one table, from a tidy frame that holds it."""
    groups = frame[frame["table"] == state.table.name].groupby(["row", "metric"], sort=False)["value"]
    values = {key: group.tolist() for key, group in groups}
    return {
        (each.row.id, metric): _cell(values.get((each.row.id, metric), []), each, len(state.seeds))
        for each in state.rows
        for metric in state.table.metrics
    }


def _cell(values: list[float], row: RowState, num_seeds: int) -> Cell:
    n = len(values)
    if n == 0:
        return Cell(n, missing="not scored" if row.state == "complete" else row.state)
    if n < num_seeds:
        return Cell(n, missing=f"{n}/{num_seeds}")
    if any(math.isnan(value) for value in values):
        return Cell(n, missing=UNDEFINED)
    return Cell(n, fmean(values), stdev(values) if n > 1 else None, interval=mean_interval(values))
