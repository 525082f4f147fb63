"""One table as JSON: every cell with its seeds, intervals and records, and the claims; what the page reads, too."""

import json
from dataclasses import asdict
from typing import Any

from ifrvis.harness.store.records import Record
from ifrvis.reporting.comparison import compare
from ifrvis.reporting.figure import figure_json
from ifrvis.reporting.frame import RowState, TableState, tidy_frame
from ifrvis.reporting.grid import make_grid
from ifrvis.reporting.summary import Cell, summarise


def table_json(state: TableState) -> str:
    """`table_data` as text."""
    return json.dumps(table_data(state), indent=1, allow_nan=False) + "\n"


def table_data(state: TableState) -> dict[str, Any]:
    """A table with all that stands behind it; values as stored, those of the paper as printed."""
    table, cells = state.table, summarise(state, tidy_frame([state]))
    return {
        **{"table": table.name, "title": table.title, "place": table.place, "profile": state.profile},
        **{"off_spec": state.off_spec, "protocol": table.protocol, "declared_seeds": table.seeds, "seeds": state.seeds},
        **{"metrics": table.metrics, "rows": [_row(state, each, cells) for each in state.rows]},
        "claims": [each.to_json() for each in make_grid(state).claims],
        **({"figure": figure_json(state)} if table.axis else {}),
    }


def _row(state: TableState, each: RowState, cells: dict[tuple[str, str], Cell]) -> dict[str, Any]:
    row, records = each.row, {record.seed: record for other, record in state.counted() if other is each}
    return {
        **{key: getattr(row, key) for key in ("id", "group", "label", "data", "method", "backbone", "dataset", "note")},
        **{
            "state": each.state,
            "records": {seed: found.file_name for seed, found in records.items()},
        },
        "cells": {metric: _cell(state, each, metric, cells[row.id, metric], records) for metric in state.table.metrics},
    }


def _cell(state: TableState, each: RowState, metric: str, cell: Cell, records: dict[int, Record]) -> dict[str, Any]:
    compared = compare(state, each.row, metric, cell)
    return {
        **asdict(cell),
        "seeds": {seed: record.metrics.get(metric) for seed, record in records.items()},
        **({"paper": each.row.published.get(metric, (None, None))} if state.shows_paper else {}),
        **({"against_paper": asdict(compared)} if compared else {}),
    }
