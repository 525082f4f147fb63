"""The page of all reports: one HTML file that opens from a disk, reads nothing else and runs only its own script.

Templates escape whatever comes from tables and records; data for the script stand in a JSON block without any `<`.
"""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any, get_args

import jinja2

from ifrvis.harness.store.playback import Scene, rows_to_play
from ifrvis.harness.store.records import Record
from ifrvis.reporting.claims import Verdict
from ifrvis.reporting.formats import Lines, table_data, unfinished
from ifrvis.reporting.grid import claim_notes, make_grid, warnings
from ifrvis.reporting.report import Report
from ifrvis.reporting.style import ERROR_COLOURS, IDENTITY_COLOURS, PAGE_COLOURS, SCALES, UNDEFINED
from ifrvis.reporting.web.differences import drawings


def _source(name: str) -> str:
    return (files("ifrvis.reporting.web") / "templates" / name).read_text(encoding="utf-8")


def played(reports: Sequence[Report], scenes: Sequence[Scene]) -> list[Scene]:
    """The scenes that a page plays: of each data set the best whose records stand behind these reports."""
    behind = {record.digest for report in reports for record in report.records}
    found: dict[str, Scene] = {}
    for one, other in rows_to_play(reports[0].request):
        fit = [each for each in scenes if each.rows == (one.id, other.id) and behind.issuperset(each.records)]
        if fit:
            found.setdefault(one.dataset, min(fit, key=lambda scene: scene.seed or 0))
    return [found[name] for name in sorted(found)]


def make_page(reports: Sequence[Report], figures: Mapping[str, bytes], scenes: Sequence[Scene]) -> str:
    """The page of one profile's tables; `figures` are by file name, of which the PNG of a table's stem is shown."""
    found = {record.file_name: record for report in reports for record in report.records}
    data = {
        "tables": {report.stem: table_data(report) for report in reports},
        "records": {name: _record(record) for name, record in found.items()},
    }
    # The paper's tables come first, those of a figure after the others.
    in_order = sorted(reports, key=lambda report: (not report.table.place, report.table.axis is not None))
    shown = [_shown(report, figures) for report in in_order]
    verdicts = Counter(judged.verdict for report in reports for judged in report.claims)
    notes = [note for each in reports if each.claims for note in (*warnings(each)[:1], *claim_notes(each))]
    return _page(
        "index.html",
        data,
        scenes,
        tables=shown,
        verdicts={each: verdicts[each] for each in get_args(Verdict) if verdicts[each]},
        claim_notes=[*dict.fromkeys(notes)],
        off_spec=next((report.off_spec for report in reports if report.off_spec), ""),
        **{"report": reports[0], "title": reports[0].profile.name, "undefined": UNDEFINED},
        **{"cost": _cost(found.values()), "provenance": _provenance(found.values()), "num_records": len(found)},
    )


def make_compare_page(said: Sequence[str], tables: Sequence[Lines], scene: Scene) -> str:
    """The page of two sides: sentences, what plays, tables."""
    return _page("compare.html", {"tables": {}, "records": {}}, [scene], title="A and B", said=said, tables=tables)


def _page(template: str, data: dict[str, Any], scenes: Sequence[Scene], **values: Any) -> str:
    """A page with its style, its script and what this reads."""
    data |= {
        "scenes": [scene.model_dump(by_alias=True, exclude_none=True) for scene in scenes],
        "scales": SCALES,
        "colours": {"identity": IDENTITY_COLOURS, "error": ERROR_COLOURS},
    }
    colours = "".join(f"--{name}:light-dark({light},{dark});" for name, (light, dark) in PAGE_COLOURS.items())
    style = f":root{{color-scheme:light dark;{colours}}}\n{_source('style.css')}"
    script = _source("tables.js") + _source("viewer.js")
    checks: dict[str, Any] = {"autoescape": True, "undefined": jinja2.StrictUndefined}
    loader = jinja2.FunctionLoader(_source)
    environment = jinja2.Environment(loader=loader, trim_blocks=True, lstrip_blocks=True, **checks)  # noqa: S701  it escapes
    page = environment.get_template(template).render(
        **{"style": style, "script": script, "style_hash": _hash(style), "script_hash": _hash(script)},
        data=json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
        scenes=scenes,
        **values,
    )
    return page + "\n"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _shown(report: Report, figures: Mapping[str, bytes]) -> dict[str, Any]:
    """What the template needs of one table."""
    grid, claims = make_grid(report), [(judged, [*drawings(report, judged)]) for judged in report.claims]
    return {
        **{"table": report.table, "grid": grid, "stem": report.stem},
        "lines": [line for line in grid.lines if line.numbers or line.row.quoted],
        "bare": [line for line in grid.lines if not (line.numbers or line.row.quoted)],
        "unfinished": unfinished(report),
        "claims": [(judged, drawn) for judged, drawn in claims if drawn],
        "unseen": [judged for judged, drawn in claims if not drawn],
        "picture": base64.b64encode(figures.get(f"{report.stem}.png", b"")).decode(),
    }


def _record(record: Record) -> dict[str, Any]:
    """What a cell's dialog says of one record."""
    commit = str(record.provenance.code.commit)
    return {"digest": record.digest, "commit": commit, "attempts": len(record.attempts), "hours": record.hours}


def _cost(records: Iterable[Record]) -> list[tuple[str, ...]]:
    """Trainings of each method, backbone and dataset: number, hours, attempts, peak memory. Shared runs count once."""
    groups: dict[tuple[str, ...], dict[str, list[Record]]] = {}
    for record in records:
        kind: tuple[str, ...] = (record.method, record.backbone, record.dataset)
        groups.setdefault(kind, {}).setdefault(record.train_sig, []).append(record)
    lines = []
    for kind, trainings in sorted(groups.items()):
        hours = sum(max(each.hours for each in found) for found in trainings.values())
        attempts = sum(max(len(each.attempts) for each in found) for found in trainings.values())
        memory = max(each.peak_memory_bytes or 0 for found in trainings.values() for each in found) / 2**30
        numbers = f"{hours:.2f}", f"{hours / len(trainings):.3f}", str(attempts), f"{memory:.2f}"
        lines.append((*kind, str(len(trainings)), *numbers))
    return lines


def _provenance(records: Iterable[Record]) -> list[tuple[str, str, int]]:
    """What the records say of their making: a name, a value, and of how many records."""
    counts: Counter[tuple[str, str]] = Counter()
    for record in records:
        code, hardware = record.provenance.code, record.provenance.hardware
        changed = ", with uncommitted changes" if code.uncommitted else ""
        counts["code", f"{code.version}, commit {code.commit}{changed}"] += 1
        counts["processor", f"{hardware.processor}, {hardware.cores} cores"] += 1
        counts["determinism", str(record.determinism)] += 1
        counts[f"held-out split of {record.dataset}", record.data.evaluation] += 1
        counts.update((name, f"{each.version}, files {each.sha256}") for name, each in code.methods.items())
        counts.update((name, str(version)) for name, version in record.provenance.versions.items())
    return [(*said, number) for said, number in sorted(counts.items())]
