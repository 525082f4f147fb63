"""One table, and the claims on it, as Markdown, LaTeX, CSV and in the terminal."""

import csv
import io
import re
import shutil
import textwrap
from collections.abc import Iterable, Sequence

from ifrvis.reporting.claims import HEADS, JudgedClaim, pair_texts
from ifrvis.reporting.escape import csv_text, latex_text, markdown_text, plain_text
from ifrvis.reporting.frame import TableState, tidy_frame
from ifrvis.reporting.grid import CLAIM_NOTE, Grid, Line, make_grid
from ifrvis.reporting.summary import summarise

LINE_BREAK = r"\\"
# A file is a document by itself, and a float where another document inputs it: there \documentclass is spent.
OPENING = r"""% To input or to paste; needs \usepackage{booktabs,graphicx}.
\expandafter\ifx\csname @twoclasseserror\endcsname\documentclass \let\ifrvisend\relax \else
  \documentclass{article}\usepackage[landscape,margin=15mm]{geometry}\usepackage{booktabs,graphicx}
  \begin{document}\def\ifrvisend{\end{document}}
\fi"""
CLOSING = r"\ifrvisend"
FIT = r"  \setlength{\tabcolsep}{4pt}\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
AS_PRINTED = {"published_mean": "paper_mean_as_printed", "published_std": "paper_std_as_printed"}


def markdown(state: TableState) -> str:
    """The table, and what became of its claims, as a page of Markdown."""
    grid = make_grid(state)
    heads = [*grid.row_heads, "n", *(f"{metric} {source}" for metric in grid.metrics for source in grid.sources)]
    lines = [[*each.heads, str(each.n), *each.cells] for each in grid.lines]
    notes = [f"- {markdown_text(note)}" for note in grid.notes]
    parts = [[f"# {markdown_text(grid.title)}"], [markdown_text(grid.head)]]
    if state.table.axis:
        parts.append(
            [f"![{markdown_text(state.table.place)}]({state.stem}.png)", "", markdown_text(state.table.axis.reading)]
        )
    parts += [_markdown_table(heads, lines, len(grid.row_heads)), notes]
    if grid.claims:
        parts += [["## Claims"], [markdown_text(CLAIM_NOTE)]]
    for claim in grid.claims:
        parts.append([f"**{claim.verdict}**: {markdown_text(_claim_text(claim))}"])
        parts.append(_markdown_table(HEADS, map(pair_texts, claim.pairs), len(HEADS)))
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _claim_text(judged: JudgedClaim) -> str:
    claim = judged.claim
    return f"{claim.text} ({claim.place}; {judged.decided})" + f" {claim.note}" * bool(claim.note)


def _markdown_table(heads: Sequence[str], lines: Iterable[Iterable[str]], num_left: int) -> list[str]:
    align = ["---"] * num_left + ["---:"] * (len(heads) - num_left)
    return [_bars(map(markdown_text, heads)), _bars(align), *(_bars(map(markdown_text, line)) for line in lines)]


def _bars(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def latex(state: TableState) -> str:
    """The table as a float to paste into a document or to input; it needs booktabs and graphicx."""
    grid = make_grid(state)
    rules = f"{'l' * len(grid.row_heads)}r{'r' * len(grid.metrics) * len(grid.sources)}"
    body = [*_latex_heads(grid), *(text for each in grid.lines for text in _latex_line(each))]
    return _latex_float(f"{grid.caption} {grid.head}.", f"tab:{state.stem}", rules, body, grid.notes)


def claims_latex(state: TableState) -> str:
    """The claims on a table, with the differences behind them, as another float."""
    grid = make_grid(state)
    body = [f"    {' & '.join(map(latex_text, HEADS))} \\\\"]
    for claim in grid.claims:
        text = latex_text(f"{claim.verdict}: {_claim_text(claim)}")
        body += [r"    \midrule", f"    \\multicolumn{{{len(HEADS)}}}{{l}}{{\\textit{{{text}}}}} \\\\"]
        body += [_latex_row(pair_texts(each)) for each in claim.pairs]
    caption = f"{grid.flags}Claims of the paper on its {state.table.place}. {grid.head}."
    return _latex_float(caption, f"tab:{state.stem}-claims", "lllrrrrl", body, (CLAIM_NOTE,))


def figure_latex(state: TableState) -> str:
    """The figure of a table, as a float that includes its PDF."""
    grid, axis = make_grid(state), state.table.axis
    assert axis is not None
    caption = latex_text(f"{grid.caption} Mean and std over seeds, and every seed. {axis.reading} {grid.head}.")
    picture = rf"  \includegraphics{{{state.stem}.pdf}}"
    lines = [OPENING, r"\begin{figure}[tp]", r"  \centering", picture, rf"  \caption{{{caption}}}"]
    return "\n".join([*lines, rf"  \label{{fig:{state.stem}}}", r"\end{figure}", CLOSING, ""])


def _latex_float(caption: str, label: str, rules: str, body: list[str], notes: Sequence[str]) -> str:
    foot = [r"  \par\smallskip\raggedright\footnotesize", *(f"  {latex_text(note)}\\par" for note in notes)]
    lines = [
        *(OPENING, r"\begin{table*}[tp]", r"  \centering", f"  \\caption{{{latex_text(caption)}}}"),
        *(f"  \\label{{{label}}}", FIT, f"  \\begin{{tabular}}{{{rules}}}", r"    \toprule"),
        *(*body, r"    \bottomrule", r"  \end{tabular}}", *(foot if notes else []), r"\end{table*}", CLOSING),
    ]
    return "\n".join(lines) + "\n"


def _latex_heads(grid: Grid) -> list[str]:
    span, first = len(grid.sources), len(grid.row_heads) + 2
    metrics = [f"\\multicolumn{{{span}}}{{c}}{{{latex_text(metric)}}}" for metric in grid.metrics]
    rules = [f"\\cmidrule(lr){{{left}-{left + span - 1}}}" for left in range(first, first + span * len(metrics), span)]
    sources = [f"\\multicolumn{{1}}{{c}}{{{_stacked(source)}}}" for source in grid.sources] * len(metrics)
    return [
        f"    {' & '.join([*map(latex_text, grid.row_heads), '$n$', *metrics])} \\\\",
        f"    {' '.join(rules)}",
        f"    {' & '.join([''] * (first - 1) + sources).strip()} \\\\",
    ]


def _stacked(source: str) -> str:
    """`paper (YouTube-VIS 2019, server)` in three lines, the lower ones small: columns stay narrow."""
    name, _, where = source.partition(" (")
    lines = [rf"\tiny {latex_text(each)}" for each in where.removesuffix(")").split(", ")]
    return rf"\shortstack{{\strut {LINE_BREAK.join([latex_text(name), *lines])}}}" if where else latex_text(name)


def _latex_line(line: Line) -> list[str]:
    heads = [*line.heads] if line.opens_group else ["", *line.heads[1:]]
    return ([r"    \midrule"] if line.opens_group else []) + [_latex_row([*heads, str(line.n), *line.cells])]


def _latex_row(cells: Iterable[str]) -> str:
    texts = [re.sub(r"(^| )-(?=\d)", r"\1$-$", latex_text(cell)) for cell in cells]
    return f"    {' & '.join(texts)} \\\\"


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
    numbers = ["n", "mean", "std", "mean_low_95", "mean_high_95", "missing"]
    writer.writerow(["table", "row", "profile", "protocol", "metric", "seeds", *numbers, *paper])
    profile = f"{state.profile} off-spec" if state.off_spec else state.profile
    rows = {each.row.id: each.row for each in state.rows}
    for (row_id, metric), cell in summarise(state, tidy_frame([state])).items():
        named = [state.table.name, row_id, profile, state.table.protocol, metric, " ".join(map(str, state.seeds))]
        published = rows[row_id].published.get(metric, (None, None)) if paper else ()
        measured = [cell.n, cell.mean, cell.std, *(cell.interval or ("", "")), csv_text(cell.missing)]
        writer.writerow([*map(csv_text, named), *measured, *published])
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
        if any(cell.endswith("*") for line in grid.lines for cell in line.cells):
            blocks[-1].append("*: not consistent with the paper")
    claims = [plain_text(f"{each.verdict}: {each.claim.text}") for each in grid.claims if each.verdict != "not run"]
    blocks += [[line for text in claims for line in textwrap.wrap(text, width)]] if claims else []
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
