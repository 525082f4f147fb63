"""The files of a report, and the manifest of the records behind them."""

import json
from pathlib import Path
from typing import Any

from ifrvis.errors import UserError
from ifrvis.files import canonical_json, read_json, sha256_bytes, write_atomically
from ifrvis.harness.plan.plan import Plan
from ifrvis.reporting.as_json import table_json
from ifrvis.reporting.figure import figure_files, figure_json
from ifrvis.reporting.formats import claims_latex, figure_latex, latex, markdown, seeds_csv, summary_csv
from ifrvis.reporting.frame import RowState, TableState
from ifrvis.reporting.grid import make_grid

MANIFEST_SCHEMA = 1


def write_report(state: TableState, folder: Path) -> list[Path]:
    """Write a table in every form, its figure if it has one, and its entry in `manifest.json`.

    The files are a pure function of the state; what the manifest says of other reports stays.

    Returns:
        The paths written, the manifest's last.

    Raises:
        UserError: If the folder cannot be written or the manifest there is not one.
    """
    outputs, figures = outputs_of(state), figure_files(state) if state.table.axis else {}
    manifest = folder / "manifest.json"
    content = _read_manifest(manifest)
    content["reports"][state.stem] = _entry(state, outputs, figures)
    for name, text in outputs.items():
        write_atomically(folder / name, text)
    for name, data in figures.items():
        write_atomically(folder / name, data)
    write_atomically(manifest, manifest_text(content))
    return [*(folder / name for name in [*outputs, *figures]), manifest]


def outputs_of(state: TableState) -> dict[str, str]:
    """The files of a report that are text, by their names: a pure function of the state."""
    from ifrvis.reporting.web.page import table_html

    return {
        f"{state.stem}.md": markdown(state),
        f"{state.stem}.tex": latex(state),
        f"{state.stem}.html": table_html(state),
        f"{state.stem}.csv": seeds_csv(state),
        f"{state.stem}-summary.csv": summary_csv(state),
        f"{state.stem}.json": table_json(state),
        **({f"{state.stem}-claims.tex": claims_latex(state)} if make_grid(state).claims else {}),
        **({f"{state.stem}-figure.tex": figure_latex(state)} if state.table.axis else {}),
    }


def figure_digest(state: TableState) -> str:
    """SHA-256 of what a figure shows: its files depend on the version of matplotlib, too."""
    return sha256_bytes(canonical_json(figure_json(state)))


def write_page(states: list[TableState], plan: Plan, folder: Path) -> list[Path]:
    """Write `index.html` of tables whose reports are written already, and say in the manifest what it shows."""
    from ifrvis.reporting.web.page import make_page
    from ifrvis.reporting.web.viewer import scenes

    figures = {path.name: path.read_bytes() for state in states for path in folder.glob(f"{state.stem}.png")}
    name = "index-off-spec.html" if states[0].off_spec else "index.html"
    page = make_page(states, figures, scenes(plan))
    content = _read_manifest(folder / "manifest.json")
    shows = shows_of(content, [state.stem for state in states])
    content.setdefault("pages", {})[name] = {"sha256": sha256_bytes(page.encode()), "shows": shows}
    write_atomically(folder / name, page)
    write_atomically(folder / "manifest.json", manifest_text(content))
    return [folder / name]


def shows_of(content: dict[str, Any], stems: list[str]) -> dict[str, str]:
    """A digest of each report's entry: a page that shows an older one is out of date."""
    return {stem: sha256_bytes(canonical_json(content["reports"].get(stem))) for stem in stems}


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


def _entry(state: TableState, outputs: dict[str, str], figures: dict[str, bytes]) -> dict[str, Any]:
    records = {record.file_name: record.digest for _, record in state.counted()}
    files = {name: sha256_bytes(data) for name, data in figures.items()}
    return {
        "table": state.table.name,
        "profile": state.profile,
        "off_spec": state.off_spec,
        "protocol": state.table.protocol,
        "seeds": list(state.seeds),
        "rows": {each.row.id: _row_entry(state, each) for each in state.rows},
        "records": records,
        "outputs": {name: sha256_bytes(text.encode()) for name, text in outputs.items()},
        **({"figure": {"data": figure_digest(state), "files": files}} if figures else {}),
    }


def _row_entry(state: TableState, each: RowState) -> dict[str, Any]:
    """What the report knew of a row: its state, and the file of the record of each seed, of any protocol."""
    files = {str(seed): record.file_name for seed, record in sorted(each.records.items())}
    return {"state": each.state, "records": files}
