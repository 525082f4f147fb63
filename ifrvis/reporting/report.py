"""The files of a report, and the manifest of the records behind them."""

import json
from pathlib import Path
from typing import Any

from ifrvis.errors import UserError
from ifrvis.files import canonical_json, read_json, sha256_bytes, write_atomically
from ifrvis.harness.runs import Results
from ifrvis.reporting.frame import Record, RowState, TableState
from ifrvis.reporting.tables import latex, markdown, seeds_csv, summary_csv

__all__ = ["manifest_text", "outputs_of", "write_report"]

MANIFEST_SCHEMA = 1


def write_report(state: TableState, folder: Path) -> list[Path]:
    """Write a table as Markdown, LaTeX and CSV (every seed, and summary), and its entry in `manifest.json`.

    The files are a pure function of the state; what the manifest says of other reports stays.

    Returns:
        The paths written, the manifest's last.

    Raises:
        UserError: If the folder cannot be written or the manifest there is not one.
    """
    outputs = outputs_of(state)
    manifest = folder / "manifest.json"
    content = _read_manifest(manifest)
    content["reports"][state.stem] = _entry(state, outputs)
    for name, text in outputs.items():
        write_atomically(folder / name, text)
    write_atomically(manifest, manifest_text(content))
    return [*(folder / name for name in outputs), manifest]


def outputs_of(state: TableState) -> dict[str, str]:
    """The files of a report by their names: a pure function of the state."""
    return {
        f"{state.stem}.md": markdown(state),
        f"{state.stem}.tex": latex(state),
        f"{state.stem}.csv": seeds_csv(state),
        f"{state.stem}-summary.csv": summary_csv(state),
    }


def manifest_text(content: dict[str, Any]) -> str:
    """A manifest as it is written, with its own digest."""
    rest = {key: value for key, value in content.items() if key != "digest"}
    digest = sha256_bytes(canonical_json(rest))
    return json.dumps({**rest, "digest": digest}, indent=1, sort_keys=True, allow_nan=False) + "\n"


def _read_manifest(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {"schema": MANIFEST_SCHEMA, "reports": {}}
    content = read_json(path, "the manifest of the reports")
    try:
        canonical_json(content)  # what cannot be written again is not ours
        sound = isinstance(content, dict) and isinstance(content.get("reports"), dict)
    except (RecursionError, ValueError):
        sound = False
    if not sound or content.get("schema") != MANIFEST_SCHEMA:
        raise UserError(f"Remove {path} and report again: it is not a manifest of reports that this version knows.")
    return dict(content)


def _entry(state: TableState, outputs: dict[str, str]) -> dict[str, Any]:
    records = {_record_file(state, record): record["digest"] for _, record in state.counted()}
    return {
        "table": state.table.name,
        "profile": state.profile,
        "off_spec": state.off_spec,
        "protocol": state.table.protocol,
        "seeds": list(state.seeds),
        "rows": {each.row.id: _row_entry(state, each) for each in state.rows},
        "records": records,
        "outputs": {name: sha256_bytes(text.encode()) for name, text in outputs.items()},
    }


def _row_entry(state: TableState, each: RowState) -> dict[str, Any]:
    """What the report knew of a row: its state, and the file of the record of each seed, of any protocol."""
    files = {str(seed): _record_file(state, record) for seed, record in sorted(each.records.items())}
    return {"state": each.state, "records": files}


def _record_file(state: TableState, record: Record) -> str:
    return Results(Path()).record(state.profile, record["name"], record["train_sig"], record["eval_sig"]).name
