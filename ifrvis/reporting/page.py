"""The page of all reports: one HTML file that opens from a disk, reads nothing else and runs only its own script.

Templates escape whatever comes from tables and records; data for the script stand in a JSON block without any `<`.
"""

import base64
import hashlib
import json
from collections import Counter
from importlib.resources import files
from typing import Any

import jinja2

from ifrvis.reporting.claims import HEADS, pair_texts
from ifrvis.reporting.data import record_file, table_data
from ifrvis.reporting.frame import Record, TableState
from ifrvis.reporting.grid import CLAIM_NOTE, make_grid
from ifrvis.reporting.style import ERROR_COLOURS, IDENTITY_COLOURS, PAGE_COLOURS
from ifrvis.schema import is_number

__all__ = ["make_page", "table_html"]


def _source(name: str) -> str:
    return (files("ifrvis.reporting") / "page" / name).read_text(encoding="utf-8")


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_source),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def table_html(state: TableState) -> str:
    """One table as an HTML `<table>`, to put into any page."""
    return _environment().get_template("table.html").render(grid=make_grid(state), stem=state.stem)


def make_page(states: list[TableState], figures: dict[str, bytes], scenes: list[dict[str, Any]]) -> str:
    """The page.

    Args:
        states: The tables of one profile.
        figures: Drawn figures by file name; the PNG of a table's stem is shown.
        scenes: What the viewer plays.
    """
    records = {
        record_file(state.profile, record): record for state in states for _, record in state.counted()
    }
    data = {
        "tables": {state.stem: table_data(state) for state in states},
        "records": {name: _record(record) for name, record in records.items()},
        "scenes": scenes,
        "colours": {"identity": IDENTITY_COLOURS, "error": ERROR_COLOURS},
    }
    style, script = _colours() + _source("style.css"), _source("tables.js") + _source("viewer.js")
    return _environment().get_template("index.html").render(
        states=[_shown(state, figures) for state in states],
        profile=states[0].profile,
        is_smoke=states[0].is_smoke,
        off_spec=states[0].off_spec,
        scenes=scenes,
        cost=_cost(list(records.values())),
        provenance=_provenance(list(records.values())),
        num_records=len(records),
        claim_heads=HEADS,
        claim_note=CLAIM_NOTE,
        style=style,
        script=script,
        policy=f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)};"
        " base-uri 'none'; form-action 'none'",
        data=json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _colours() -> str:
    each = "".join(f"--{name}:light-dark({light},{dark});" for name, (light, dark) in PAGE_COLOURS.items())
    return f":root{{color-scheme:light dark;{each}}}\n"


def _shown(state: TableState, figures: dict[str, bytes]) -> dict[str, Any]:
    """What the template needs of one table."""
    grid, picture = make_grid(state), figures.get(f"{state.stem}.png")
    counts = Counter(each.state for each in state.rows)
    claims = [(claim, [pair_texts(pair) for pair in claim.pairs]) for claim in grid.claims]
    return {
        **{"state": state, "grid": grid, "stem": state.stem, "counts": counts, "claims": claims},
        "verdicts": Counter(claim.verdict for claim in grid.claims),
        "num_records": sum(1 for _ in state.counted()),
        "picture": base64.b64encode(picture).decode() if picture else "",
    }


def _record(record: Record) -> dict[str, Any]:
    """What the page says of one record."""
    code = record["provenance"].get("code", {})
    return {
        **{key: record[key] for key in ("digest", "name", "seed", "dataset", "protocol", "train_sig", "eval_sig")},
        "commit": str(code.get("commit")) if isinstance(code, dict) else "",
        "attempts": len(record["attempts"]),
        "hours": _hours(record),
    }


def _hours(record: Record) -> float:
    seconds = [each.get("seconds") for each in record["attempts"] if isinstance(each, dict)]
    return sum(each for each in seconds if is_number(each)) / 3600


def _cost(records: list[Record]) -> list[dict[str, Any]]:
    """Trainings of each method, backbone and dataset: number, hours, attempts, peak memory. Shared runs count once."""
    trainings: dict[str, list[Record]] = {}
    for record in records:
        trainings.setdefault(record["train_sig"], []).append(record)
    kinds: dict[tuple[str, ...], list[list[Record]]] = {}
    for found in trainings.values():
        kinds.setdefault(tuple(found[0][key] for key in ("method", "backbone", "dataset")), []).append(found)
    return [
        {
            **{"kind": kind, "trainings": len(group), "hours": sum(max(map(_hours, found)) for found in group)},
            "attempts": sum(max(len(each["attempts"]) for each in found) for found in group),
            "memory": max((_memory(each) for found in group for each in found), default=0.0),
        }
        for kind, group in sorted(kinds.items())
    ]


def _memory(record: Record) -> float:
    peak = record.get("peak_memory_bytes")
    return peak / 2**30 if is_number(peak) else 0.0


def _provenance(records: list[Record]) -> list[tuple[str, str, int]]:
    """What the records say of their making: a name, a value, and of how many records."""
    counts: Counter[tuple[str, str]] = Counter()
    for record in records:
        said = record["provenance"]
        code, versions, hardware, data = (
            said[key] if isinstance(said.get(key), dict) else {} for key in ("code", "versions", "hardware", "data")
        )
        changed = ", with uncommitted changes" if code.get("uncommitted") else ""
        counts["code", f"{code.get('version')}, commit {code.get('commit')}{changed}"] += 1
        counts["processor", f"{hardware.get('processor')}, {hardware.get('cores')} cores"] += 1
        counts["determinism", str(said.get("determinism"))] += 1
        counts[f"held-out split of {record['dataset']}", str(data.get("evaluation"))] += 1
        counts.update((str(name), str(version)) for name, version in versions.items())
    return [(name, value, number) for (name, value), number in sorted(counts.items())]
