"""Whether reports are what their manifest and records say: each is made again, from its records alone, and compared."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from ifrvis.errors import UserError
from ifrvis.files import read_bytes, seen_in, sha256_bytes
from ifrvis.harness.spec.request import TableRequest
from ifrvis.harness.spec.tables import load_table, run_on
from ifrvis.harness.spec.weights import Given
from ifrvis.harness.store.finding import Finding, held_against
from ifrvis.harness.store.paths import Store
from ifrvis.harness.store.records import Record, read_record
from ifrvis.reporting.match import make_reports
from ifrvis.reporting.output import MANIFEST, Entry, Manifest, outputs_of
from ifrvis.reporting.over_videos import Kept, read_kept
from ifrvis.reporting.report import Report
from ifrvis.schema import read_model


def verify_reports(folder: Path, store: Store) -> Iterator[Finding]:
    """Check the reports of one profile's folder, whose `manifest.json` names them."""
    path, profile = folder / MANIFEST, folder.name
    if not path.is_file():
        if seen_in(folder, ".md"):
            yield Finding("wrong", path, "without it nothing says what the reports there were made of")
        return
    try:
        manifest = read_model(Manifest, path, "the manifest of the reports")
        sound = read_bytes(path, "the manifest") == manifest.text().encode()
    except UserError:
        sound = False
    if not sound:
        yield Finding("wrong", path, "it is not as `ifrvis report` wrote it")
        return
    yield Finding("digest only", path)
    named = {*manifest.pages, *(name for entry in manifest.reports.values() for name in entry.outputs)}
    tables = (each for each in seen_in(folder, ".md") if each.with_suffix(".csv").is_file())
    for other in sorted(each for each in (*tables, *folder.glob("index*.html")) if each.name not in named):
        yield Finding("wrong", other, f"{MANIFEST} does not say what it was made of")
    for _, entry in sorted(manifest.reports.items()):
        yield from _verify_report(entry, folder, store)
    for name, page in sorted(manifest.pages.items()):
        found = held_against(folder / name, page.sha256)
        if found.outcome == "digest only" and page.shows != manifest.shown(list(page.shows)):
            found = Finding("wrong", found.path, "what it shows was made again; `ifrvis report all` writes it")
        yield found
        yield from (held_against(store.scenes(profile) / scene, digest) for scene, digest in page.scenes.items())


def _verify_report(entry: Entry, folder: Path, store: Store) -> Iterator[Finding]:
    """Check the files of one report against the manifest, then against what its records give now."""
    outcome: Literal["wrong", "not kept"] = "wrong"
    why, same = "its records and table give another; `ifrvis report` writes it", set[str]()
    try:
        again = {name: sha256_bytes(text.encode()) for name, text in outputs_of(_made_again(entry, store)).items()}
        same = {name for name, digest in entry.outputs.items() if again.get(name) == digest}
        same |= entry.figures.keys() if same == entry.outputs.keys() else set()
    except _RecordError as error:
        why = str(error)
    except UserError as error:  # it was made of a table or a data set that are not packed, or lack a row
        why, outcome = f"not made again: {error}", "not kept"
    for name, digest in {**entry.outputs, **entry.figures}.items():
        found = held_against(folder / name, digest)
        if found.outcome == "digest only" and name not in same:
            found = Finding(outcome, found.path, why)
        elif found.outcome == "digest only" and name in entry.outputs:  # how a figure is drawn, a version decides
            found = Finding("recomputed", found.path)
        yield found


class _RecordError(Exception):
    """What is behind a report is missing, broken or another."""


def _made_again(entry: Entry, store: Store) -> Report:
    """The report again; _RecordError, or UserError if its table or data set is not packed here, or lacks a row."""
    init = Given(Path(entry.init), entry.init, None) if entry.init else None
    options = entry.rows, entry.num_seeds, entry.overrides, entry.dataset, init
    request = TableRequest((run_on(load_table(entry.table), entry.dataset),), entry.profile, *options)
    home = store.records(entry.profile.name)
    if entry.records and not any((home / name).is_file() for name in entry.records):
        raise _RecordError(f"none of the records behind it is in {home}; --results says where they are")
    kept = _kept(store.bootstrap(entry.profile.name), entry.intervals)
    (report,) = make_reports(request, [_record(home / name, digest) for name, digest in entry.records.items()], kept)
    return report


def _kept(path: Path, digests: Sequence[str]) -> list[Kept]:
    try:
        known = {each.digest: each for each in (read_kept(path) if digests else ())}
        return [known[digest] for digest in digests]
    except (KeyError, UserError) as error:
        raise _RecordError(f"{path} no longer has an interval over videos that it shows") from error


def _record(path: Path, digest: str) -> Record:
    try:
        record = read_record(path)
    except UserError as error:
        raise _RecordError(f"a record behind it is gone or was changed: {error}") from error
    if record.digest != digest:
        raise _RecordError(f"{path} is not the record that it was made from")
    return record
