"""A table's cells, heads and notes as text, once, for Markdown, LaTeX, HTML and the terminal alike."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ifrvis.datasets.catalog import load_dataset
from ifrvis.harness.spec.compose import compose_row
from ifrvis.harness.spec.tables import Row, command_name
from ifrvis.reporting.report import Report, RowRecords
from ifrvis.reporting.style import UNDEFINED, difference_text, headline, measured_text, published_text, units_text


@dataclass(frozen=True)
class Line:
    """One row of the grid: its table's row, the number of records, and texts."""

    row: Row
    n: int
    heads: tuple[str, ...]  # a text each
    cells: tuple[tuple[str, ...], ...]  # of each metric, a text for each of the grid's `sources`
    numbers: int  # of how many metrics there is a measured one
    opens_group: bool


@dataclass(frozen=True)
class Grid:
    """A table as text. Each metric has `sources` columns side by side, the paper's first where it is shown."""

    flags: str
    title: str
    caption: str  # the title where a document numbers its own tables
    head: str
    row_heads: tuple[str, ...]
    metrics: tuple[str, ...]  # with arrows
    sources: tuple[str, ...]  # whose values, under which protocol
    lines: tuple[Line, ...]
    notes: tuple[str, ...]


@functools.lru_cache(maxsize=16)
def make_grid(report: Report) -> Grid:
    """Everything that a report of one table shows but its claims; a pure function of the report."""
    table, flags = report.table, _flags(report)
    called = (table.title or table.name).rstrip(".")
    return Grid(
        flags=flags,
        title=flags + ": ".join(filter(None, [table.heading, table.title])),
        caption=f"{flags}{called} ({f'{table.place} of the paper' if table.place else 'our own'}).",
        head=" · ".join(_head(report)),
        row_heads=tuple(table.heads.values()),
        metrics=tuple(headline(metric) for metric in table.metrics),
        sources=_sources(report),
        lines=tuple(_line(report, index) for index in range(len(report.rows))),
        notes=tuple(_notes(report)),
    )


def claim_notes(report: Report) -> list[str]:
    """How the numbers behind claims are to be read; the first two are of any table."""
    n, pairs = len(report.seeds), [pair for judged in report.claims for pair in judged.pairs]
    means = [pair.difference for pair in pairs if pair.difference and pair.statement.of == "mean"]
    here = report.means_something and report.table.protocol == "heldout"  # there is what they are made of
    lacking = here * sum(each.over_videos is None for each in means)
    notes = [
        "Differences are first row minus second row, over the seeds of both; intervals at 95 % for each by itself: over"
        " seeds for other seeds on these videos, over videos for these runs on other videos. P-values are corrected"
        " after Holm over all tests of the table, run or not. A claim is decided with all declared seeds only.",
        f"An exact sign test of {n} pairs cannot end below p = {0.5 ** (n - 1):.4g}: a p below that rests on"
        " differences being normal." * (n > 1),
        f"Of these records no interval over videos is kept for {lacking} of {len(means)} differences of means:"
        f" `ifrvis bootstrap {command_name(report.table)}` makes it." * bool(lacking),
    ]
    return [*filter(None, notes)]


def _sources(report: Report) -> tuple[str, ...]:
    if not report.shows_paper:
        return (report.table.protocol,)
    data = "" if report.profile.compares else f"{_paper_data(report)}, "
    paper = f"paper ({data}{'held-out' if report.table.paper.protocol == 'heldout' else 'server'})"
    return (paper, report.table.protocol, *["difference"] * report.compares)


def _flags(report: Report) -> str:
    flags = [] if report.means_something else [report.profile.name]
    flags += [f"{_off_spec(report)} ({report.off_spec})"] if report.off_spec else []
    return ", ".join(flags) + (" · " if flags else "")


def _off_spec(report: Report) -> str:
    """The word for what a report shows, where it shows other runs than the table's; their rows are marked."""
    return "off-spec" if all(each.off_spec for each in report.rows) else "partly off-spec"


def _head(report: Report) -> list[str]:
    declared, seeds = len(report.table.seeds), len(report.seeds)
    share = f"{declared} seeds" if seeds == declared else f"{seeds} of {declared} seeds"
    measured_on = sorted({record.dataset for record in report.records})
    return [
        *filter(None, [report.nothing_learned]),
        f"profile {report.profile.name}" + f", {_off_spec(report)}" * bool(report.off_spec),
        *([f"measured on {', '.join(measured_on)}"] if measured_on else []),
        f"protocol {report.table.protocol}",
        f"{share} ({', '.join(map(str, report.seeds))})",
        "mean ± std over seeds, ddof 1" if seeds > 1 else "one seed, no std",
        units_text(report.table.metrics),
        *report.profile.head,
    ]


def _paper_data(report: Report) -> str:
    names = dict.fromkeys(each.row.dataset for each in report.rows)
    return ", ".join(load_dataset(name, Path()).config.title for name in names)


def _line(report: Report, index: int) -> Line:
    table, row, before = report.table, report.rows[index].row, report.rows[index - 1].row
    of_row = [report.cells[row.id, metric] for metric in report.table.metrics]
    n, numbers = max(cell.n for cell in of_row), sum(cell.mean is not None for cell in of_row)
    first = next(iter(table.heads))
    opens = index == 0 or (getattr(row, first), row.dataset) != (getattr(before, first), before.dataset)
    heads, marked = table.heads, "label" if "label" in table.heads else [*table.heads][-1]
    mark = (
        f" (off-spec{report.request.on})" * report.rows[index].off_spec
        + f" ({row.protocol})" * row.quoted
        + " (external)" * row.is_external
    )
    own = {"group": row.method * row.is_run, "label": row.id.removeprefix(f"{row.method}-")}
    texts_of_heads = tuple((getattr(row, name) or own.get(name, "")) + mark * (name == marked) for name in heads)
    return Line(row, n, texts_of_heads, tuple(_texts(report, row, each) for each in table.metrics), numbers, opens)


def _texts(report: Report, row: Row, metric: str) -> tuple[str, ...]:
    cell = report.cells[row.id, metric]
    measured = cell.missing if cell.mean is None else measured_text(metric, cell.mean, cell.std)
    if not report.shows_paper:
        return (measured,)
    paper = published_text(metric, *row.published.get(metric, (None, None)))
    if not report.compares:
        return paper, measured
    compared = report.compared(row, metric)
    if compared is None:
        return paper, measured, UNDEFINED
    outside = compared.verdict in ("above", "below")
    return paper, measured, difference_text(metric, compared.difference) + "*" * outside


def _notes(report: Report) -> list[str]:
    gaps = [note for each in report.rows for note in _gaps(report, each)]
    if not report.means_something:
        return [*warnings(report), *gaps]
    rows = [f"{each.row.id}: {each.row.note}" for each in report.rows if each.row.note]
    request, ids = report.request, [each.row.id for each in report.rows]
    real = request.with_real_weights(report.table, ids, request.data)
    starts = [f"No row has learned: {real} starts from real weights, on a GPU."] * bool(report.nothing_learned and real)
    return [*starts, *warnings(report), *report.table.notes, *rows, *gaps]


def warnings(report: Report) -> list[str]:
    """What its values, and the paper's beside them, can be taken for."""
    if not report.means_something:
        return [f"Profile {report.profile.name}: {report.profile.title}."]
    if not report.shows_paper:
        return []
    if not report.profile.compares:
        return [f"The paper's values are for {_paper_data(report)} and models of full size: not a comparison."]
    if not report.compares:
        return [
            "The paper's values come from the official server on the validation split, the measured ones from held-out"
            " training videos: only differences between rows can be set beside the paper's."
        ]
    notes = ["The paper's 400 held-out videos are another random draw."] if report.table.protocol == "heldout" else []
    tolerance = ", ".join(f"{metric} {value:g}" for metric, value in report.table.paper.tolerance.items())
    judged = (
        "*: outside the interval in which 95 % of such means are expected after the paper's, widened by a tolerance"
        f" ({tolerance}); the others are consistent with the paper."
    )
    if len(report.seeds) < len(report.table.seeds):
        judged = "With fewer seeds than declared none is called consistent, or not."
    return [*notes, f"Difference: measured minus paper. {judged}"]


def _stills(report: Report, row: Row) -> str:
    """The stills that a row trains on beside videos, if others stand for them at this scale."""
    as_named = report.profile.model_copy(update={"stills": {}})
    train = compose_row(row, as_named, report.request.overrides, num_classes=1).train
    name = (train.get("stills") or {}).get("dataset", "")
    return name if name in report.profile.stills else ""


def _gaps(report: Report, each: RowRecords) -> Iterator[str]:
    """What a row's numbers lack, or would not tell."""
    row = each.row.id
    if each.row.quoted:
        yield f"{row}: quoted from {each.row.source}."
    elif each.row.is_external:
        yield f"{row}: predicted by another program, scored here."
    elif stills := _stills(report, each.row):
        yield f"{row}: the stills of {report.profile.stills[stills]} stand for {stills}."
    lost = [str(seed) for seed in report.seeds if seed not in each.found]
    if each.found and lost:
        yield f"{row}: no record of seed{'s' * (len(lost) > 1)} {', '.join(lost)}."
    for seed, records in each.found.items():
        if len(records) > 1:
            yield f"{row}: seed {seed} has {' and '.join(record.file_name for record in records)}; one may stay."
    if len(each.starts) > 1:
        named = "; ".join(f"{(digest or 'none')[:12]} in {', '.join(files)}" for digest, files in each.starts.items())
        yield f"{row}: its records start from different weights, which are not averaged: {named}."
    codes = {str(record.provenance.code) for record in each.counted}
    if len(codes) > 1:
        yield f"{row}: mixed, its records come from {len(codes)} states of the code."
    devices = sorted({record.cost.device for record in each.counted if record.cost.device})
    if len(devices) > 1:
        yield f"{row}: mixed, its records were made on {' and '.join(devices)}, which round otherwise."
    undefined = [metric for metric in report.table.metrics if report.cells[row, metric].missing == UNDEFINED]
    if undefined:
        yield f"{row}: {', '.join(undefined)} undefined in at least one seed."
