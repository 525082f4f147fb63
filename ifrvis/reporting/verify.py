"""Whether reports are what their manifest and records say: each is made again and compared."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ifrvis.errors import UserError
from ifrvis.files import read_json, sha256_bytes, sha256_file
from ifrvis.harness.records import read_record
from ifrvis.harness.runs import Results
from ifrvis.harness.tables import load_table
from ifrvis.harness.verify import Finding
from ifrvis.reporting.frame import RowState, TableState
from ifrvis.reporting.report import manifest_text, outputs_of

__all__ = ["verify_reports"]


def verify_reports(folder: Path, results: Results) -> Iterator[Finding]:
    """Check the reports of one profile's folder, whose `manifest.json` names them."""
    path = folder / "manifest.json"
    if not path.is_file():
        return
    try:
        manifest = read_json(path)
        sound = path.read_text(encoding="utf-8") == manifest_text(manifest)
        entries = sorted(manifest["reports"].items())
    except (AttributeError, LookupError, TypeError, ValueError):
        sound, entries = False, []
    if not sound:
        yield Finding("CHANGED", path, "it is not as `ifrvis report` wrote it")
        return
    yield Finding("verified", path)
    for _, entry in entries:
        yield from _verify_report(entry, folder, results)


def _verify_report(entry: dict[str, Any], folder: Path, results: Results) -> Iterator[Finding]:
    """Check the files of one report against the manifest, then against what its records give now."""
    sound = True
    for name, digest in entry["outputs"].items():
        if not (folder / name).is_file():
            yield Finding("not kept", folder / name)
        elif sha256_file(folder / name) != digest:
            sound = False
            yield Finding("CHANGED", folder / name, "it is not as `ifrvis report` wrote it")
    if not sound:
        return
    try:
        outputs = outputs_of(_state(entry, results))
    except UserError as error:
        yield from (Finding("not kept", folder / name, f"not made again: {error}") for name in entry["outputs"])
        return
    for name, digest in entry["outputs"].items():
        if (folder / name).is_file():
            same = name in outputs and sha256_bytes(outputs[name].encode()) == digest
            why = "its records and table give another; `ifrvis report` writes it"
            yield Finding("verified", folder / name) if same else Finding("CHANGED", folder / name, why)


def _state(entry: dict[str, Any], results: Results) -> TableState:
    """The state that a report was made from.

    Raises:
        UserError: If the table is not packed, or a record is missing, broken or another.
    """
    table, home = load_table(entry["table"]), results.root / "records" / entry["profile"]
    rows = []
    for row in table.selected(list(entry["rows"])):
        said = entry["rows"][row.id]
        records = {int(seed): read_record(home / name) for seed, name in said["records"].items()}
        for name, record in zip(said["records"].values(), records.values()):
            if entry["records"].get(name, record["digest"]) != record["digest"]:
                raise UserError(f"Report again: {home / name} is not the record that the report was made from.")
        rows.append(RowState(row, said["state"], records))
    return TableState(table, entry["profile"], tuple(entry["seeds"]), tuple(rows), entry["off_spec"])
