"""Reports of small tables with known records."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.spec.request import TableRequest
from ifrvis.harness.spec.tables import load_table, rows_elsewhere
from ifrvis.harness.store.provenance import Code, Hardware, Provenance
from ifrvis.harness.store.records import Data, Life, Record
from ifrvis.reporting.report import Report, RowRecords

MADE_BY = Provenance(
    code=Code(version="1", commit="c" * 40),
    versions={"torch": "2"},
    hardware=Hardware(machine="x86_64", processor="one", cores=1, system="linux"),
)


def record(row, seed, metrics, profile, protocol):
    """A record as reports read it; that its signatures follow from its content is the store's matter."""
    dataset = row.dataset if profile == "paper" else row.dataset.replace("ytvis", profile)
    return Record.model_construct(
        **{"digest": f"{seed:064x}", "name": f"{row.id}-s{seed}", "profile": profile, "dataset": dataset},
        **{"train_sig": f"{seed:064x}", "eval_sig": f"{seed + 256:064x}", "seed": seed, "method": row.method},
        **{"backbone": row.backbone, "protocol": protocol, "metrics": metrics, "provenance": MADE_BY},
        data=Data(train="a" * 64, evaluation="b" * 64),
        attempts=(Life(reason="complete", kind="", seconds=720.0),),
        peak_memory_bytes=3 << 30,
    )


@pytest.fixture
def make_report():
    """A report of some rows of a packed table: `values[row id][seed]` is one value for every metric, or a dict."""

    def build(name, values, *, seeds=(0, 1), profile="mini", request=None, scored="heldout", **changes):
        table = load_table(name).model_copy(update=changes)

        def records_of(row, of_row):
            found = {}
            for seed, given in sorted(of_row.items()):
                metrics = given if isinstance(given, dict) else dict.fromkeys(table.metrics, given)
                if seed in seeds:
                    found[seed] = [record(row, seed, metrics, profile, scored)]
            elsewhere = [each for (each,) in found.values()] if scored != table.protocol else ()
            return RowRecords(row, {} if elsewhere else found, elsewhere, bool(request))

        rows = tuple(records_of(row, values[row.id]) for row in table.rows if row.id in values)
        others = {each: records_of(row, values.get(each, {})) for each, (_, row) in rows_elsewhere(table).items()}
        request = TableRequest((table,), load_profile(profile), tuple(values), len(seeds), **(request or {}))
        return Report(request, table, rows, others)

    return build


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
