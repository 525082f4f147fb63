"""The files of reports, and the manifest of what they were made from."""

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from ifrvis.errors import UserError
from ifrvis.files import read_bytes, sha256_bytes, write_atomically
from ifrvis.harness.spec.profiles import Profile
from ifrvis.harness.spec.signatures import Sha256
from ifrvis.harness.store.playback import Scene
from ifrvis.harness.store.records import digest_of
from ifrvis.reporting.figure import figure_files
from ifrvis.reporting.formats import claims_latex, compact_latex, figure_latex, latex, markdown, seeds_csv, table_json
from ifrvis.reporting.report import Report
from ifrvis.schema import Model, Name, read_model

MANIFEST = "manifest.json"
FileName = Annotated[str, Field(pattern=r"^[^/.\x00-\x1f][^/\x00-\x1f]*$")]
Digests = dict[FileName, Sha256]


class Entry(Model):
    """One report: what was asked for (the profile as it was, of other files their names alone), records and files.

    Of intervals over videos it has the digests. The files of a figure depend on the version of matplotlib, too.
    """

    table: Name
    rows: tuple[str, ...]
    num_seeds: int
    profile: Profile
    overrides: dict[str, JsonValue]
    dataset: FileName | None
    init: FileName | None
    records: Digests
    intervals: tuple[Sha256, ...]
    outputs: Digests
    figures: Digests


class PageEntry(Model):
    """A page: the reports that it shows, as digests of their entries, and the scenes that it plays."""

    sha256: Sha256
    shows: Digests
    scenes: Digests


class Manifest(Model):
    """`manifest.json` of a profile's folder."""

    schema_: Literal[3] = Field(default=3, alias="schema")
    digest: str = ""
    reports: dict[Name, Entry] = Field(default_factory=dict)
    pages: dict[Name, PageEntry] = Field(default_factory=dict)

    def text(self) -> str:
        """The manifest as it is written, with its own digest."""
        content = self.model_dump(by_alias=True)
        return json.dumps({**content, "digest": digest_of(content)}, indent=1, sort_keys=True) + "\n"

    def shown(self, stems: list[str]) -> Digests:
        """A digest of each report's entry: a page that shows an older one is out of date."""
        return {stem: digest_of(self.reports[stem].model_dump()) for stem in stems if stem in self.reports}


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write a table in every form, its figure if it has one, and its entry in `manifest.json`; returns their paths.

    The files are a pure function of the report; what the manifest says of other reports stays. A file that the report
    had before and has no more goes: it would stand beside the others with numbers of other records. UserError if the
    folder cannot be written or the manifest there is not one.
    """
    path, manifest = folder / MANIFEST, _read(folder)
    outputs, figures = outputs_of(report), figure_files(report) if report.table.axis else {}
    manifest = _read(folder)  # another report may have been written while the figure was drawn
    entry, old, files = _entry(report, outputs, figures), manifest.reports.get(report.stem), outputs | figures
    for name, content in files.items():
        write_atomically(folder / name, content)
    for name in {*old.outputs, *old.figures} - files.keys() if old else ():
        (folder / name).unlink(missing_ok=True)
    write_atomically(path, Manifest(reports={**manifest.reports, report.stem: entry}, pages=manifest.pages).text())
    return [*(folder / name for name in files), path]


def outputs_of(report: Report) -> dict[str, str]:
    """The files of a report that are text, by their names: a pure function of the report."""
    stem, compact = report.stem, compact_latex(report)
    return {
        f"{stem}.md": markdown(report),
        # Compiled as it is, `figure4.tex` would put its table in the place of the figure, `figure4.pdf`.
        f"{stem}{'-table' * bool(report.table.axis)}.tex": latex(report),
        **({f"{stem}-compact.tex": compact} if compact else {}),
        f"{stem}.csv": seeds_csv(report),
        f"{stem}.json": table_json(report),
        **({f"{stem}-claims.tex": claims_latex(report)} if report.claims else {}),
        **({f"{stem}-figure.tex": figure_latex(report)} if report.table.axis else {}),
    }


def write_page(reports: list[Report], scenes: list[Scene], folder: Path) -> list[Path]:
    """Write `index.html` of reports that are written already, and say in the manifest what it shows."""
    from ifrvis.reporting.web.page import make_page, played

    shown = played(reports, scenes)
    drawn = (path for report in reports for path in folder.glob(f"{report.stem}.png"))
    figures = {path.name: read_bytes(path, "a figure") for path in drawn}
    name = "index-off-spec.html" if any(report.off_spec for report in reports) else "index.html"
    page, manifest = make_page(reports, figures, shown), _read(folder)
    digests = {scene.file_name: sha256_bytes(scene.text()) for scene in shown}
    shows = manifest.shown([report.stem for report in reports])
    entry = PageEntry(sha256=sha256_bytes(page.encode()), shows=shows, scenes=digests)
    manifest = Manifest(reports=manifest.reports, pages={**manifest.pages, name: entry})
    write_atomically(folder / name, page)
    write_atomically(folder / MANIFEST, manifest.text())
    return [folder / name]


def _read(folder: Path) -> Manifest:
    path = folder / MANIFEST
    if not path.exists():
        return Manifest()
    try:
        return read_model(Manifest, path, "the manifest of the reports")
    except UserError as error:
        raise UserError(f"Remove {path} and report again: {error}") from error


def _entry(report: Report, outputs: dict[str, str], figures: dict[str, bytes]) -> Entry:
    request = report.request
    return Entry(
        table=report.table.name,
        rows=tuple(each.row.id for each in report.rows),
        num_seeds=len(report.seeds),
        profile=report.profile,
        overrides=request.overrides,
        dataset=Path(request.dataset).name if request.dataset else None,
        init=request.init.name if request.init else None,
        records={record.file_name: record.digest for record in report.behind},
        intervals=tuple(each.digest for each in report.over_videos.values()),
        outputs={name: sha256_bytes(text.encode()) for name, text in outputs.items()},
        figures={name: sha256_bytes(data) for name, data in figures.items()},
    )
