"""A table's cells, heads and notes as text, once, for Markdown, LaTeX, HTML and the terminal alike."""

import functools
from dataclasses import dataclass

from ifrvis.harness.spec.tables import Row
from ifrvis.reporting.claims import JudgedClaim, judge
from ifrvis.reporting.comparison import Compared, compare
from ifrvis.reporting.frame import RowState, TableState, tidy_frame
from ifrvis.reporting.style import UNDEFINED, difference_text, headline, is_count, measured_text, published_text
from ifrvis.reporting.summary import Cell, summarise

DIFFERENCE = "difference"
CLAIM_NOTE = (
    "Differences are first row minus second row, over the seeds of both; intervals at 95 % for each by itself, p-values"
    " corrected after Holm over all tests of the table. A claim is decided with all declared seeds only."
)


@dataclass(frozen=True)
class Line:
    """One row of the grid: its table's row, the number of records, a text for each head and each metric's column."""

    row: Row
    n: int
    heads: tuple[str, ...]
    cells: tuple[str, ...]
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
    claims: tuple[JudgedClaim, ...]


@functools.lru_cache(maxsize=16)
def make_grid(state: TableState) -> Grid:
    """Everything that a report of one table shows; a pure function of its state."""
    frame = tidy_frame([state])
    cells = summarise(state, frame)
    return Grid(
        flags=_flags(state),
        title=f"{_flags(state)}{state.table.place}: {state.table.title}",
        caption=f"{_flags(state)}{state.table.title.rstrip('.')} ({state.table.place} of the paper).",
        head=" · ".join(_head(state)),
        row_heads=tuple(state.table.heads.values()),
        metrics=tuple(headline(metric) for metric in state.table.metrics),
        sources=_sources(state),
        lines=tuple(_line(state, index, cells) for index in range(len(state.rows))),
        notes=tuple(_notes(state, cells)),
        claims=tuple(judge(state, frame)),
    )


def _sources(state: TableState) -> tuple[str, ...]:
    if not state.shows_paper:
        return (state.table.protocol,)
    return (_paper_source(state), state.table.protocol, *([DIFFERENCE] if state.compares else []))


def _flags(state: TableState) -> str:
    flags = ["smoke"] if state.is_smoke else []
    flags += [f"off-spec ({state.off_spec})"] if state.off_spec else []
    return ", ".join(flags) + (" · " if flags else "")


def _head(state: TableState) -> list[str]:
    declared, seeds = len(state.table.seeds), len(state.seeds)
    share = f"{declared} seeds" if seeds == declared else f"{seeds} of {declared} seeds"
    measured_on = sorted({record.dataset for _, record in state.counted()})
    return [
        f"profile {state.profile}" + (", off-spec" if state.off_spec else ""),
        *([f"measured on {', '.join(measured_on)}"] if measured_on else []),
        f"protocol {state.table.protocol}",
        f"{share} ({', '.join(map(str, state.seeds))})",
        "mean ± std over seeds, ddof 1" if seeds > 1 else "one seed, no std",
        "percent" + ", IDs a count" * any(is_count(metric) for metric in state.table.metrics),
    ]


def _paper_source(state: TableState) -> str:
    protocol = "held-out" if state.table.paper.protocol == "heldout" else "server"
    return f"paper ({protocol})" if state.profile == "paper" else f"paper ({_paper_data(state)}, {protocol})"


def _paper_data(state: TableState) -> str:
    years = sorted({each.row.dataset.removeprefix("ytvis") for each in state.rows})
    return "YouTube-VIS " + "/".join(f"20{year}" for year in years)


def _line(state: TableState, index: int, cells: dict[tuple[str, str], Cell]) -> Line:
    row, before = state.rows[index].row, state.rows[index - 1].row
    texts: list[str] = []
    for metric in state.table.metrics:
        if state.shows_paper:
            texts.append(published_text(metric, *row.published.get(metric, (None, None))))
        texts.append(_cell_text(metric, cells[row.id, metric]))
        if state.shows_paper and state.compares:
            texts.append(_compared_text(metric, compare(state, row, metric, cells[row.id, metric])))
    n = max(cells[row.id, metric].n for metric in state.table.metrics)
    first = next(iter(state.table.heads))
    opens = index == 0 or (getattr(row, first), row.dataset) != (getattr(before, first), before.dataset)
    return Line(row, n, tuple(getattr(row, name) for name in state.table.heads), tuple(texts), opens)


def _compared_text(metric: str, compared: Compared | None) -> str:
    if compared is None:
        return UNDEFINED
    outside = compared.verdict in ("above", "below")
    return difference_text(metric, compared.difference) + "*" * outside


def _cell_text(metric: str, cell: Cell) -> str:
    return cell.missing if cell.mean is None else measured_text(metric, cell.mean, cell.std)


def _notes(state: TableState, cells: dict[tuple[str, str], Cell]) -> list[str]:
    gaps = [note for each in state.rows for note in _gaps(state, each, cells)]
    if state.is_smoke:
        return ["A smoke run shows that everything works; its numbers mean nothing.", *gaps]
    rows = [f"{each.row.id}: {each.row.note}" for each in state.rows if each.row.note]
    return [*_comparison(state), *state.table.notes, *rows, *gaps]


def _comparison(state: TableState) -> list[str]:
    """What the paper's values beside the measured ones can be taken for."""
    if not state.shows_paper:
        return []
    if state.profile != "paper":
        return [f"The paper's values are for {_paper_data(state)} and models of full size: not a comparison."]
    if not state.compares:
        return [
            "The paper's values come from the official server on the validation split, the measured ones from held-out"
            " training videos: only differences between rows can be set beside the paper's."
        ]
    notes = ["The paper's 400 held-out videos are another random draw."] if state.table.protocol == "heldout" else []
    if len(state.seeds) < len(state.table.seeds):
        return [
            *notes,
            "Difference: measured minus paper. With fewer seeds than declared none is called consistent, or not.",
        ]
    tolerance = ", ".join(f"{metric} {value:g}" for metric, value in state.table.paper.tolerance.items())
    return [
        *notes,
        "Difference: measured minus paper. *: outside the interval in which 95 % of such means are expected after the"
        f" paper's, widened by a tolerance ({tolerance}); the others are consistent with the paper.",
    ]


def _gaps(state: TableState, each: RowState, cells: dict[tuple[str, str], Cell]) -> list[str]:
    found = {record.seed for other, record in state.counted() if other is each}
    lost = [str(seed) for seed in state.seeds if seed not in found]
    undefined = [metric for metric in state.table.metrics if cells[each.row.id, metric].missing == UNDEFINED]
    codes = {record.provenance.code for other, record in state.counted() if other is each}
    notes = [f"{each.row.id}: no record of seed {', '.join(lost)} ({each.state})."] if found and lost else []
    notes += [f"{each.row.id}: mixed, its records come from {len(codes)} states of the code."] if len(codes) > 1 else []
    return notes + ([f"{each.row.id}: {', '.join(undefined)} undefined in at least one seed."] if undefined else [])
