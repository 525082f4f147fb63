"""Whether reports are what their manifest and records say: each is made again and compared."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ifrvis.errors import UserError
from ifrvis.files import read_json, sha256_bytes, sha256_file
from ifrvis.harness.spec.tables import Table, load_table
from ifrvis.harness.store.paths import Store
from ifrvis.harness.store.records import read_record
from ifrvis.harness.upkeep.verify import Finding
from ifrvis.reporting.frame import RowState, TableState
from ifrvis.reporting.report import figure_digest, manifest_text, outputs_of, shows_of


def verify_reports(folder: Path, store: Store) -> Iterator[Finding]:
    """Check the reports of one profile's folder, whose `manifest.json` names them."""
    path = folder / "manifest.json"
    if not path.is_file():
        return
    try:
        manifest = read_json(path)
        sound = path.read_text(encoding="utf-8") == manifest_text(manifest)
        entries, pages = sorted(manifest["reports"].items()), sorted(manifest.get("pages", {}).items())
    except (AttributeError, LookupError, TypeError, ValueError):
        sound, entries, pages = False, [], []
    if not sound:
        yield Finding("CHANGED", path, "it is not as `ifrvis report` wrote it")
        return
    yield Finding("verified", path)
    for _, entry in entries:
        yield from _verify_report(entry, folder, store)
    for name, page in pages:
        (found,) = _verify_files({name: page["sha256"]}, folder)
        if found.outcome == "verified" and page["shows"] != shows_of(manifest, list(page["shows"])):
            found = Finding("CHANGED", found.path, "what it shows was made again; `ifrvis report all` writes it")
        yield found


def _verify_files(digests: dict[str, str], folder: Path) -> list[Finding]:
    """Compare files with their digests."""
    found = []
    for name, digest in digests.items():
        path = folder / name
        if not path.is_file():
            found.append(Finding("not kept", path))
        elif sha256_file(path) != digest:
            found.append(Finding("CHANGED", path, "it is not as `ifrvis report` wrote it"))
        else:
            found.append(Finding("verified", path))
    return found


def _verify_report(entry: dict[str, Any], folder: Path, store: Store) -> Iterator[Finding]:
    """Check the files of one report against the manifest, then against what its records give now."""
    figure = entry.get("figure", {"files": {}})
    found = _verify_files({**entry["outputs"], **figure["files"]}, folder)
    try:
        state = _state(entry, load_table(entry["table"]), store)
    except _RecordError as error:
        found = [Finding("CHANGED", each.path, str(error)) if each.outcome == "verified" else each for each in found]
        yield from found
        return
    except UserError as error:  # a table that is not packed, or a row that it has no more
        yield from (Finding("not kept", each.path, f"not made again: {error}") for each in found)
        return
    outputs = {name: sha256_bytes(text.encode()) for name, text in outputs_of(state).items()}
    drawn = figure_digest(state) if figure["files"] else ""
    for each in found:
        name = each.path.name
        same = figure["data"] == drawn if name in figure["files"] else outputs.get(name) == entry["outputs"][name]
        why = "its records and table give another; `ifrvis report` writes it"
        yield each if same or each.outcome != "verified" else Finding("CHANGED", each.path, why)


class _RecordError(Exception):
    """A record behind a report is missing, broken or another."""


def _state(entry: dict[str, Any], table: Table, store: Store) -> TableState:
    """The state that a report was made from.

    Raises:
        _RecordError: If a record is missing, broken or another.
    """
    home, rows = store.records(entry["profile"]), []
    for row in table.selected(list(entry["rows"])):
        said = entry["rows"][row.id]
        try:
            records = {int(seed): read_record(home / name) for seed, name in said["records"].items()}
        except UserError as error:
            raise _RecordError(f"a record behind it is gone or was changed: {error}") from error
        for name, record in zip(said["records"].values(), records.values()):
            if entry["records"].get(name, record.digest) != record.digest:
                raise _RecordError(f"{home / name} is not the record that it was made from")
        rows.append(RowState(row, said["state"], records))
    return TableState(table, entry["profile"], tuple(entry["seeds"]), tuple(rows), entry["off_spec"])
