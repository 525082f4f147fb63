"""Reports of small tables with known records."""

import io
from dataclasses import replace

import pytest
from made_reports import made_report
from rich.console import Console

from ifrvis.harness.store.provenance import Code, Hardware, Provenance
from ifrvis.reporting.report import RowRecords


@pytest.fixture
def make_report():
    """What makes a report; see `made_report`."""
    return made_report


@pytest.fixture
def shown():
    """What a terminal of some width shows."""

    def show(what, width=80):
        console = Console(width=width, file=io.StringIO())
        console.print(what)
        return console.file.getvalue()

    return show


@pytest.fixture
def hostile_copy():
    """The same report with one text in the place of every text of table and records but what numbers go by."""

    def copy(report, text):
        made_by = Provenance(
            code=Code(version=text, commit=text),
            versions={text: text},
            hardware=Hardware(machine=text, processor=text, cores=1, system=text),
        )
        named = dict.fromkeys(("digest", "name", "method", "backbone", "dataset"), text)
        rows = []
        for each in report.rows:
            row = each.row.model_copy(update=dict.fromkeys(("label", "group", "data", "note"), text))
            found = {
                seed: [record.model_copy(update={**named, "provenance": made_by}) for record in records]
                for seed, records in each.found.items()
            }
            rows.append(RowRecords(row, found))
        shown = {each.row.id for each in report.rows}
        claims = [each for each in report.table.claims if any(shown.issuperset(pair) for pair in each.pairs)]
        judged = [*claims, *report.table.claims][0]
        claim = judged.model_copy(update=dict.fromkeys(("text", "note", "place"), text))
        changed = {"title": text, "place": text, "notes": (text,), "claims": (claim,)}
        return replace(report, table=report.table.model_copy(update=changed), rows=tuple(rows), others={})

    return copy
