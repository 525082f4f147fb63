"""One table as Markdown, LaTeX, CSV and in the terminal."""

import csv
import io
import re
import shutil
import textwrap
from collections.abc import Iterable, Sequence

from ifrvis.reporting.escape import csv_text, latex_text, markdown_text, plain_text
from ifrvis.reporting.frame import TableState, tidy_frame
from ifrvis.reporting.grid import Grid, Line, make_grid
from ifrvis.reporting.summary import summarise

__all__ = ["latex", "markdown", "render_terminal", "seeds_csv", "summary_csv"]

ROW_HEADS = ("Method", "Backbone", "Data")
AS_PRINTED = {"published_mean": "paper_mean_as_printed", "published_std": "paper_std_as_printed"}


def markdown(state: TableState) -> str:
    """The table as a page of Markdown."""
    grid = make_grid(state)
    heads = [*ROW_HEADS, "n", *(f"{metric} {source}" for metric in grid.metrics for source in grid.sources)]
    lines = [[each.row.group, each.row.label, each.row.data, str(each.n), *each.cells] for each in grid.lines]
    align = ["---"] * len(ROW_HEADS) + ["---:"] * (len(heads) - len(ROW_HEADS))
    table = [_bars(map(markdown_text, heads)), _bars(align), *(_bars(map(markdown_text, line)) for line in lines)]
    notes = [f"- {markdown_text(note)}" for note in grid.notes]
    parts = [[f"# {markdown_text(grid.title)}"], [markdown_text(grid.head)], table, notes]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _bars(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def latex(state: TableState) -> str:
    """The table as a float to paste into a document or to input; it needs booktabs and graphicx."""
    grid = make_grid(state)
    rules = f"{'l' * len(ROW_HEADS)}r{'r' * len(grid.metrics) * len(grid.sources)}"
    notes = [f"  {latex_text(note)}\\par" for note in grid.notes]
    lines = [
        r"% Needs \usepackage{booktabs,graphicx}.",
        r"\begin{table}[tp]",
        r"  \centering",
        f"  \\caption{{{latex_text(grid.caption)} {latex_text(grid.head)}.}}",
        f"  \\label{{tab:{state.stem}}}",
        r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        f"  \\begin{{tabular}}{{{rules}}}",
        r"    \toprule",
        *_latex_heads(grid),
        *(text for each in grid.lines for text in _latex_line(each)),
        r"    \bottomrule",
        r"  \end{tabular}}",
        *([r"  \par\smallskip\raggedright\footnotesize", *notes] if notes else []),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _latex_heads(grid: Grid) -> list[str]:
    span, first = len(grid.sources), len(ROW_HEADS) + 2
    metrics = [f"\\multicolumn{{{span}}}{{c}}{{{latex_text(metric)}}}" for metric in grid.metrics]
    rules = [f"\\cmidrule(lr){{{left}-{left + span - 1}}}" for left in range(first, first + span * len(metrics), span)]
    sources = [f"\\multicolumn{{1}}{{c}}{{{latex_text(source)}}}" for source in grid.sources] * len(metrics)
    return [
        f"    {' & '.join([*ROW_HEADS, '$n$', *metrics])} \\\\",
        f"    {' '.join(rules)}",
        f"    {' & '.join([''] * (first - 1) + sources).strip()} \\\\",
    ]


def _latex_line(line: Line) -> list[str]:
    group = line.row.group if line.opens_group else ""
    numbers = [re.sub(r"^-(?=\d)", "$-$", latex_text(cell)) for cell in line.cells]
    cells = [*map(latex_text, (group, line.row.label, line.row.data, str(line.n))), *numbers]
    return ([r"    \midrule"] if line.opens_group else []) + [f"    {' & '.join(cells)} \\\\"]


def seeds_csv(state: TableState) -> str:
    """The tidy frame of one table: a line per row, seed and metric at full precision."""
    frame = tidy_frame([state]).rename(columns=AS_PRINTED)
    frame = frame.drop(columns=list(AS_PRINTED.values())) if not state.shows_paper else frame
    texts = frame.select_dtypes(include="object").columns
    frame[texts] = frame[texts].map(csv_text)
    return str(frame.to_csv(index=False, lineterminator="\n"))


def summary_csv(state: TableState) -> str:
    """A line per row and metric: its state or n, mean and std at full precision, and the paper's values."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    paper = list(AS_PRINTED.values()) if state.shows_paper else []
    writer.writerow(["table", "row", "profile", "protocol", "metric", "seeds", "n", "mean", "std", "missing", *paper])
    profile = f"{state.profile} off-spec" if state.off_spec else state.profile
    rows = {each.row.id: each.row for each in state.rows}
    for (row_id, metric), cell in summarise(state, tidy_frame([state])).items():
        named = [state.table.name, row_id, profile, state.table.protocol, metric, " ".join(map(str, state.seeds))]
        published = rows[row_id].published.get(metric, (None, None)) if paper else ()
        writer.writerow([*map(csv_text, named), cell.n, cell.mean, cell.std, csv_text(cell.missing), *published])
    return stream.getvalue()


def render_terminal(state: TableState, width: int | None = None) -> str:
    """The same cells as plain text; columns that do not fit the width go into a block below."""
    grid = make_grid(state)
    width = width or shutil.get_terminal_size().columns
    row_ids = ["", "", *(each.row.id for each in grid.lines)]
    columns = [_aligned(["", "n", *(str(each.n) for each in grid.lines)]), *_terminal_columns(grid)]
    heads = [line for text in (grid.title, grid.head) for line in textwrap.wrap(plain_text(text), width)]
    blocks = [heads, *_blocks(row_ids, columns, width)]
    if len(grid.sources) > 1:
        blocks.append([f"paper: {grid.sources[0].removeprefix('paper (').removesuffix(')')}"])
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _terminal_columns(grid: Grid) -> list[list[str]]:
    """One block of text for each metric: the columns of its sources side by side."""
    heads = [(metric, source.split(" ")[0]) for metric in grid.metrics for source in grid.sources]
    columns = [_aligned([*head, *(each.cells[index] for each in grid.lines)]) for index, head in enumerate(heads)]
    span = len(grid.sources)
    return [["  ".join(cells) for cells in zip(*columns[left : left + span])] for left in range(0, len(columns), span)]


def _aligned(cells: Sequence[str]) -> list[str]:
    return [cell.rjust(max(map(len, cells))) for cell in cells]


def _blocks(row_ids: Sequence[str], columns: list[list[str]], width: int) -> list[list[str]]:
    """Columns set side by side behind the rows' names, as many as fit, at least one a block."""
    names = [name.ljust(max(map(len, row_ids))) for name in row_ids]
    blocks: list[list[str]] = []
    lines = list(names)
    for column in columns:
        if len(lines[0]) + 2 + len(column[0]) > width and lines != names:
            blocks.append(lines)
            lines = list(names)
        lines = [f"{line}  {cell}" for line, cell in zip(lines, column)]
    return [[line.rstrip() for line in block] for block in [*blocks, lines]]
