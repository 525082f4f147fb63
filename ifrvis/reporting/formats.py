"""One table, and the claims on it, as Markdown, LaTeX, CSV and in the terminal."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from rich import box
from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

from ifrvis.reporting.claims import HEADS, JudgedClaim, pair_texts
from ifrvis.reporting.escape import csv_text, latex_text, markdown_text, plain_text
from ifrvis.reporting.grid import Grid, Line, claim_note, make_grid
from ifrvis.reporting.report import COLUMNS, Report

PAGE_ROWS = 30  # of a float
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


class Lines(NamedTuple):
    """A table of texts under a title; the first `num_left` of its columns stand left."""

    title: str
    heads: Sequence[str]
    lines: Sequence[Sequence[str]]
    num_left: int = 1


def markdown(report: Report) -> str:
    """The table, and what became of its claims, as a page of Markdown."""
    grid = make_grid(report)
    heads = [*grid.row_heads, "n", *(f"{metric} {source}" for metric in grid.metrics for source in grid.sources)]
    lines = [[*each.heads, str(each.n), *each.cells] for each in grid.lines]
    notes = [f"- {markdown_text(note)}" for note in grid.notes]
    parts = [[f"# {markdown_text(grid.title)}"], [markdown_text(grid.head)]]
    if report.table.axis:
        parts.append(
            [
                f"![{markdown_text(report.table.heading)}]({report.stem}.png)",
                "",
                markdown_text(report.table.axis.reading),
            ]
        )
    parts += [_markdown_table(heads, lines, len(grid.row_heads)), notes]
    if report.claims:
        parts += [["## Claims"], [markdown_text(claim_note(report))]]
    for claim in report.claims:
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


def latex(report: Report) -> str:
    """The table as a float to paste into a document or to input, or as several; it needs booktabs and graphicx."""
    grid = make_grid(report)
    rules = f"{'l' * len(grid.row_heads)}r{'r' * len(grid.metrics) * len(grid.sources)}"
    parts = _parts(grid.lines)
    floats = []
    for number, part in enumerate(parts, start=1):
        body = [*_latex_heads(grid), *(text for each in part for text in _latex_line(each))]
        which = f" Part {number} of {len(parts)}." * (len(parts) > 1)
        label = f"tab:{report.stem}" + f"-{number}" * (number > 1)
        notes = grid.notes if number == len(parts) else ()
        floats += _latex_float(f"{grid.caption}{which} {grid.head}.", label, rules, body, notes)
    return _latex_file(floats)


def _parts(lines: Sequence[Line]) -> list[Sequence[Line]]:
    """What a page holds of a table, one after the other; groups stay together."""
    starts = [place for place, line in enumerate(lines) if line.opens_group]
    cuts = [0]
    for start, end in pairwise([*starts, len(lines)]):
        if end - cuts[-1] > PAGE_ROWS and start > cuts[-1]:
            cuts.append(start)
    return [lines[start:end] for start, end in pairwise([*cuts, len(lines)])]


def claims_latex(report: Report) -> str:
    """The claims on a table, with the differences behind them, as another float."""
    grid = make_grid(report)
    body = [f"    {' & '.join(map(latex_text, HEADS))} \\\\"]
    for claim in report.claims:
        text = latex_text(f"{claim.verdict}: {_claim_text(claim)}")
        body += [r"    \midrule", f"    \\multicolumn{{{len(HEADS)}}}{{l}}{{\\textit{{{text}}}}} \\\\"]
        body += [_latex_row(pair_texts(each)) for each in claim.pairs]
    caption = f"{grid.flags}Claims on {report.table.heading}. {grid.head}."
    return _latex_file(_latex_float(caption, f"tab:{report.stem}-claims", "lllrrrrrl", body, (claim_note(report),)))


def figure_latex(report: Report) -> str:
    """The figure of a table, as a float that includes its PDF."""
    grid, axis = make_grid(report), report.table.axis
    assert axis is not None
    caption = latex_text(f"{grid.caption} Mean and std over seeds, and every seed. {axis.reading} {grid.head}.")
    picture = rf"  \includegraphics{{{report.stem}.pdf}}"
    lines = [r"\begin{figure}[tp]", r"  \centering", picture, rf"  \caption{{{caption}}}"]
    return _latex_file([*lines, rf"  \label{{fig:{report.stem}}}", r"\end{figure}"])


def _latex_file(floats: Sequence[str]) -> str:
    return "\n".join([OPENING, *floats, CLOSING, ""])


def _latex_float(caption: str, label: str, rules: str, body: list[str], notes: Sequence[str]) -> list[str]:
    foot = [r"  \par\smallskip\raggedright\footnotesize", *(f"  {latex_text(note)}\\par" for note in notes)]
    return [
        *(r"\begin{table*}[tp]", r"  \centering", f"  \\caption{{{latex_text(caption)}}}"),
        *(f"  \\label{{{label}}}", FIT, f"  \\begin{{tabular}}{{{rules}}}", r"    \toprule"),
        *(*body, r"    \bottomrule", r"  \end{tabular}}", *(foot if notes else []), r"\end{table*}"),
    ]


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


def seeds_csv(report: Report) -> str:
    """The tidy frame of one table: a line per row, seed and metric at full precision."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    shown = [place for place, name in enumerate(COLUMNS) if report.shows_paper or name not in AS_PRINTED]
    writer.writerow(AS_PRINTED.get(COLUMNS[place], COLUMNS[place]) for place in shown)
    for line in report.frame:
        values = (line[place] for place in shown)
        writer.writerow(csv_text(value) if isinstance(value, str) else value for value in values)
    return stream.getvalue()


def terminal(report: Report) -> Group:
    """The table for a terminal: a column a metric, measured values above the paper's; no number is cut off."""
    grid, span = make_grid(report), len(make_grid(report).sources)
    table = _rich_table(("", "n", *grid.metrics), show_lines=span > 1)
    for line in grid.lines:
        of_metric = [line.cells[left : left + span] for left in range(0, len(line.cells), span)]
        cells = ["\n".join([each[1], f"({each[0]})", *each[2:]]) if span > 1 else each[0] for each in of_metric]
        table.add_row(_plain(" ".join(line.heads).strip() or line.row.id), _plain(str(line.n)), *map(Text, cells))
    notes = [f"(in brackets: {grid.sources[0]})"] if span > 1 else []
    notes += [f"{each.verdict}: {each.claim.text}" for each in report.claims if each.verdict != "not run"]
    return Group(_plain(grid.title), _plain(grid.head), table, *map(_plain, notes))


def _plain(text: str) -> Text:
    return Text(plain_text(text))


def _rich_table(heads: Sequence[str], num_left: int = 1, *, show_lines: bool = False) -> RichTable:
    table = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_lines=show_lines)
    for index, head in enumerate(heads):
        table.add_column(_plain(head), justify="left" if index < num_left else "right", overflow="fold")
    return table


def tables_markdown(title: str, said: Iterable[str], tables: Iterable[Lines]) -> str:
    """Sentences, and tables under their titles, as a page of Markdown."""
    parts = [[f"# {markdown_text(title)}"], [f"- {markdown_text(each)}" for each in said]]
    for each in tables:
        parts += [[f"## {markdown_text(each.title)}"], _markdown_table(each.heads, each.lines, each.num_left)]
    return "\n\n".join("\n".join(part) for part in parts)


def tables_terminal(said: Iterable[str], tables: Iterable[Lines]) -> Group:
    """The same for a terminal."""
    shown: list[Text | RichTable] = [*map(_plain, said)]
    for each in tables:
        table = _rich_table(each.heads, each.num_left)
        for line in each.lines:
            table.add_row(*map(_plain, line))
        shown += [Text(), _plain(each.title), table]
    return Group(*shown)
