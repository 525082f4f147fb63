"""One table as JSON: every cell with its seeds, intervals and records, and the claims; what the page reads, too."""

import json
from dataclasses import asdict
from typing import Any

from ifrvis.evaluation.scores import units_of
from ifrvis.reporting.report import Report, RowRecords
from ifrvis.reporting.style import stored


def table_json(report: Report) -> str:
    """`table_data` as text."""
    return json.dumps(table_data(report), indent=1, allow_nan=False) + "\n"


def table_data(report: Report) -> dict[str, Any]:
    """A table with all that stands behind it; values as stored, the paper's in the same units."""
    table = report.table
    return {
        **{"table": table.name, "title": table.title, "place": table.place, "profile": report.profile.name},
        **{"off_spec": report.off_spec, "protocol": table.protocol, "declared_seeds": table.seeds},
        **{"seeds": report.seeds, "metrics": table.metrics, "rows": [_row(report, each) for each in report.rows]},
        "units": units_of(table.metrics),
        "claims": [each.to_json() for each in report.claims],
    }


def _row(report: Report, each: RowRecords) -> dict[str, Any]:
    shown = ("id", "group", "label", "data", "method", "backbone", "dataset", "note")
    return {
        **{key: getattr(each.row, key) for key in shown},
        "off_spec": each.off_spec,
        "records": {record.seed: record.file_name for record in each.counted},
        "cells": {metric: _cell(report, each, metric) for metric in report.table.metrics},
    }


def _cell(report: Report, each: RowRecords, metric: str) -> dict[str, Any]:
    published = each.row.published.get(metric, (None, None))
    compared = report.compared(each.row, metric)
    return {
        **asdict(report.cells[each.row.id, metric]),
        "seeds": report.values[each.row.id, metric],
        **({"paper": [stored(metric, value) for value in published]} if report.shows_paper else {}),
        **({"against_paper": asdict(compared)} if compared else {}),
    }
