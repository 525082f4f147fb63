"""The state of a table, and the tidy frame that every report starts from: one row per record and metric."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ifrvis.harness.plan.plan import Plan, PlannedRow
from ifrvis.harness.spec.tables import Row, Table
from ifrvis.harness.store.states import PlanState

Record = Mapping[str, Any]

COLUMNS = (
    *("table", "row", "group", "label", "method", "backbone", "dataset", "profile", "protocol", "seed", "metric"),
    *("value", "published_mean", "published_std", "train_sig", "eval_sig"),
)


@dataclass(frozen=True)
class RowState:
    """A row, its state and the records of the seeds asked for that are there."""

    row: Row
    state: PlanState
    records: Mapping[int, Record]


@dataclass(frozen=True, eq=False)  # each is itself, so that what is made of it can be remembered
class TableState:
    """All that a report of one table is a function of.

    Args:
        table: The table as declared.
        profile: The scale at which it was run.
        seeds: The declared seeds that were asked for.
        rows: The rows asked for.
        off_spec: The options that make these other runs than the table's, as typed; empty where none do.
    """

    table: Table
    profile: str
    seeds: tuple[int, ...]
    rows: tuple[RowState, ...]
    off_spec: str = ""

    @property
    def stem(self) -> str:
        """The files' name without ending; an off-spec report never takes the place of the table's own."""
        return self.table.name + ("-off-spec" if self.off_spec else "")

    @property
    def is_smoke(self) -> bool:
        """Whether these numbers mean nothing and never stand beside the paper's."""
        return self.profile == "smoke"

    @property
    def shows_paper(self) -> bool:
        """Whether the paper's values have columns: never under `smoke`, nor where it prints none."""
        means = (mean for each in self.rows for mean, _ in each.row.published.values())
        return not self.is_smoke and any(mean is not None for mean in means)

    @property
    def compares(self) -> bool:
        """Whether measured values may be set against the paper's: same data, same protocol, same runs."""
        return self.profile == "paper" and not self.off_spec and self.table.protocol == self.table.paper.protocol

    def counted(self) -> Iterator[tuple[RowState, Record]]:
        """Each row with its records of the table's own protocol, in the order of the seeds."""
        for each in self.rows:
            for seed in self.seeds:
                if seed in each.records and each.records[seed]["protocol"] == self.table.protocol:
                    yield each, each.records[seed]


def table_states(plan: Plan) -> list[TableState]:
    """What there is to report of each table of a plan that has a row of those asked for."""
    request = plan.request
    return [
        TableState(
            table=table,
            profile=request.profile.name,
            seeds=request.seeds(table),
            rows=tuple(_row_state(planned) for planned in plan.rows if planned.table is table),
            off_spec=request.changes,
        )
        for table in request.tables
        if any(planned.table is table for planned in plan.rows)
    ]


def _row_state(planned: PlannedRow) -> RowState:
    found = {seed: evaluation.record for seed, evaluation in planned.evaluations.items()}
    return RowState(planned.row, planned.state, {seed: record for seed, record in found.items() if record is not None})


def tidy_frame(states: Iterable[TableState]) -> pd.DataFrame:
    """One row per record and metric, in the order of tables, rows, seeds and metrics.

    Returns:
        `value` is a fraction (a count for IDs; NaN where undefined); `published_mean` and `published_std` are as
        printed, in percent (IDs a count), NaN where the paper prints none.
    """
    lines = [line for state in states for each, record in state.counted() for line in _lines(state, each.row, record)]
    frame = pd.DataFrame(lines, columns=list(COLUMNS))
    return frame.astype({"value": float, "published_mean": float, "published_std": float})


def _lines(state: TableState, row: Row, record: Record) -> Iterator[tuple[Any, ...]]:
    profile = f"{state.profile} off-spec" if state.off_spec else state.profile
    named = (state.table.name, row.id, row.group, row.label, row.method, row.backbone, record["dataset"], profile)
    for metric in state.table.metrics:
        if not isinstance(record["metrics"].get(metric, {}), dict | list):  # it is there, and a number or null
            published = (None, None) if state.is_smoke else row.published.get(metric, (None, None))
            measured = (record["protocol"], record["seed"], metric, record["metrics"][metric])
            yield (*named, *measured, *published, record["train_sig"], record["eval_sig"])
