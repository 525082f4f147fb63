"""The files of a report, and the manifest of the records behind them."""

import json
from pathlib import Path
from typing import Any

from ifrvis.errors import UserError
from ifrvis.files import canonical_json, read_json, sha256_bytes, write_atomically
from ifrvis.harness.runs import Results
from ifrvis.reporting.frame import Record, TableState
from ifrvis.reporting.tables import latex, markdown, seeds_csv, summary_csv

__all__ = ["write_report"]

MANIFEST_SCHEMA = 1


def write_report(state: TableState, folder: Path) -> list[Path]:
    """Write a table as Markdown, LaTeX and CSV (every seed, and summary), and its entry in `manifest.json`.

    The files are a pure function of the state; what the manifest says of other reports stays.

    Returns:
        The paths written, the manifest's last.

    Raises:
        UserError: If the folder cannot be written or the manifest there is not one.
    """
    outputs = {
        f"{state.stem}.md": markdown(state),
        f"{state.stem}.tex": latex(state),
        f"{state.stem}.csv": seeds_csv(state),
        f"{state.stem}-summary.csv": summary_csv(state),
    }
    manifest = folder / "manifest.json"
    content = _read_manifest(manifest)
    content["reports"][state.stem] = _entry(state, outputs)
    for name, text in outputs.items():
        write_atomically(folder / name, text)
    write_atomically(manifest, json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n")
    return [*(folder / name for name in outputs), manifest]


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
        "records": records,
        "outputs": {name: sha256_bytes(text.encode()) for name, text in outputs.items()},
    }


def _record_file(state: TableState, record: Record) -> str:
    return Results(Path()).record(state.profile, record["name"], record["train_sig"], record["eval_sig"]).name
