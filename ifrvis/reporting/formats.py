"""One table, and the claims on it, as Markdown, LaTeX, CSV, JSON (which the page reads, too) and in the terminal."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import chain, pairwise
from typing import Any, NamedTuple

from rich import box
from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

from ifrvis.evaluation.scores import units_of
from ifrvis.reporting.cells import make_cell
from ifrvis.reporting.claims import HEADS, JudgedClaim, pair_texts
from ifrvis.reporting.escape import csv_text, latex_text, markdown_text, plain_text
from ifrvis.reporting.grid import Grid, Line, claim_notes, make_grid, warnings
from ifrvis.reporting.report import COLUMNS, Report, RowRecords
from ifrvis.reporting.style import measured_text, stored

PAGE_ROWS = 30  # of a float
LINE_BREAK = r"\\"
# A file is a document by itself, and a float where another document inputs it: there \documentclass is spent.
OPENING = r"""% To input or to paste; needs \usepackage{booktabs,graphicx}.
\expandafter\ifx\csname @twoclasseserror\endcsname\documentclass \let\ifrvisend\relax \else
  \documentclass{article}\usepackage[landscape,margin=15mm]{geometry}\usepackage{booktabs,graphicx}
  \begin{document}\def\ifrvisend{\end{document}}
\fi"""
PAPER_ROW = r"\providecommand{\paperrow}[1]{} % \newcommand{\paperrow}[1]{#1} before it prints the paper's values, too"
FIT = r"  \setlength{\tabcolsep}{4pt}\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"


class Lines(NamedTuple):
    """A table of texts under a title; the first `num_left` of its columns stand left."""

    title: str
    heads: Sequence[str]
    lines: Sequence[Sequence[str]]
    num_left: int = 1


def unfinished(report: Report) -> list[Lines]:
    """What the seeds say that are there of rows which lack some; no cell, no figure and no claim is made of it."""
    lines = []
    for each in (line for line in make_grid(report).lines if 0 < line.n < len(report.seeds)):
        texts = []
        for metric in report.table.metrics:
            values = [*report.values[each.row.id, metric].values()]
            cell = make_cell(values, len(values), report.named[each.row.id].missing)
            texts.append(cell.missing if cell.mean is None else measured_text(metric, cell.mean, cell.std))
        lines.append([" ".join(each.heads).strip() or each.row.id, f"{each.n} of {len(report.seeds)}", *texts])
    title = "Rows that lack seeds: the mean of those that are there, which decides nothing."
    return [Lines(title, ["", "seeds", *make_grid(report).metrics], lines)] if lines else []


def markdown(report: Report) -> str:
    """The table, and what became of its claims, as a page of Markdown."""
    grid = make_grid(report)
    heads = [*grid.row_heads, "n", *(f"{metric} {source}" for metric in grid.metrics for source in grid.sources)]
    lines = [[*each.heads, str(each.n), *chain(*each.cells)] for each in grid.lines]
    notes = [f"- {markdown_text(note)}" for note in grid.notes]
    parts = [[f"# {markdown_text(grid.title)}"], [markdown_text(grid.head)]]
    if report.table.axis:
        picture = f"![{markdown_text(report.table.heading)}]({report.stem}.png)"
        parts += [[picture], [markdown_text(report.table.axis.reading)]]
    parts += [_markdown_table(heads, lines, len(grid.row_heads))]
    parts += [part for each in unfinished(report) for part in ([each.title], _markdown_table(*each[1:]))]
    parts += [notes]
    if report.claims:
        parts += [["## Claims"], [markdown_text(" ".join(claim_notes(report)))]]
    for claim in report.claims:
        parts.append([f"**{claim.verdict}**: {markdown_text(_claim_text(claim))}"])
        parts.append(_markdown_table(HEADS, map(pair_texts, claim.pairs), len(HEADS)))
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _claim_text(judged: JudgedClaim) -> str:
    claim, about = judged.claim, "; ".join(filter(None, [judged.claim.place, judged.decided]))
    return f"{claim.text} ({about})" + f" {claim.note}" * bool(claim.note)


def _markdown_table(heads: Sequence[str], lines: Iterable[Iterable[str]], num_left: int) -> list[str]:
    align = ["---"] * num_left + ["---:"] * (len(heads) - num_left)
    texts = [[*map(markdown_text, line)] for line in (heads, *lines)]
    return [f"| {' | '.join(cells)} |" for cells in (texts[0], align, *texts[1:])]


def latex(report: Report) -> str:
    """The table as a float to paste into a document or to input, or as several; it needs booktabs and graphicx."""
    grid = make_grid(report)
    rules = f"{'l' * len(grid.row_heads)}r{'r' * len(grid.metrics) * len(grid.sources)}"
    heads, notes = _latex_heads(grid), [*map(latex_text, grid.notes)]
    bodies = []
    for part in _parts(grid.lines):
        body = [*heads]
        for line in part:
            body += [r"    \midrule"] * line.opens_group
            own = [line.heads[0] * line.opens_group, *line.heads[1:], str(line.n)]
            body.append(_latex_row([*own, *chain(*line.cells)]))
        bodies.append(body)
    return _latex_file(_latex_floats(grid, grid.caption, report.stem, rules, bodies, notes))


def compact_latex(report: Report) -> str:
    """The complete rows alone in one column of a paper, with the paper's as `PAPER_ROW` says; empty without any."""
    grid, span = make_grid(report), len(make_grid(report).sources)
    bodies = []
    for part in _parts([line for line in grid.lines if line.numbers == len(grid.metrics)]):
        body = [_latex_row(["", *grid.metrics])]
        for place, line in enumerate(part):
            body += [r"    \midrule"] * (place == 0 or line.heads[0] != part[place - 1].heads[0])
            row = _latex_row([" ".join(line.heads), *(each[min(1, span - 1)] for each in line.cells)])
            body.append(re.sub(r" (\$\\pm\$) (\S+)", r"{\\tiny\1\2}", row))
            if span > 1:
                paper = _latex_row(["paper", *(of_metric[0] for of_metric in line.cells)]).strip()
                body.append(rf"    \paperrow{{\quad {paper}}}")
        bodies.append(body)
    notes = [*map(latex_text, warnings(report))]
    if span > 1:
        notes = [rf"\paperrow{{{' '.join([latex_text(f'Below: {grid.sources[0]}.'), *notes])}}}"]
    rules, stem = f"l{'r' * len(grid.metrics)}", f"{report.stem}-compact"
    floats = _latex_floats(grid, grid.caption, stem, rules, bodies, notes, kind="table")
    return _latex_file([PAPER_ROW, *floats]) if floats else ""


def _parts(lines: Sequence[Line]) -> list[Sequence[Line]]:
    """What a page holds of a table, one after the other; groups stay together."""
    starts = [place for place, line in enumerate(lines) if line.opens_group]
    cuts = [0][: len(lines)]
    for start, end in pairwise([*starts, len(lines)]):
        if end - cuts[-1] > PAGE_ROWS and start > cuts[-1]:
            cuts.append(start)
    return [lines[start:end] for start, end in pairwise([*cuts, len(lines)])]


def claims_latex(report: Report) -> str:
    """The claims on a table, with the differences behind them, as another float."""
    grid = make_grid(report)
    body = [_latex_row(HEADS)]
    for claim in report.claims:
        text = latex_text(f"{claim.verdict}: {_claim_text(claim)}")
        body += [r"    \midrule", f"    \\multicolumn{{{len(HEADS)}}}{{l}}{{\\textit{{{text}}}}} \\\\"]
        body += [_latex_row(pair_texts(each)) for each in claim.pairs]
    caption, notes = f"{grid.flags}Claims on {report.table.heading}.", [latex_text(" ".join(claim_notes(report)))]
    return _latex_file(_latex_floats(grid, caption, f"{report.stem}-claims", "lllrrrrrl", [body], notes))


def figure_latex(report: Report) -> str:
    """The figure of a table, as a float that includes its PDF."""
    grid, axis = make_grid(report), report.table.axis
    assert axis is not None
    caption = latex_text(f"{grid.caption} Mean and std over seeds, and every seed. {axis.reading} {grid.head}.")
    picture = rf"  \includegraphics{{{report.stem}.pdf}}"
    lines = [r"\begin{figure}[tp]", r"  \centering", picture, rf"  \caption{{{caption}}}"]
    return _latex_file([*lines, rf"  \label{{fig:{report.stem}}}", r"\end{figure}"])


def _latex_file(floats: Sequence[str]) -> str:
    return "\n".join([OPENING, *floats, r"\ifrvisend", ""])


def _latex_floats(
    grid: Grid, title: str, stem: str, rules: str, bodies: list[list[str]], notes: list[str], *, kind: str = "table*"
) -> list[str]:
    """A float for each body, the notes, which are LaTeX, under the last."""
    lines = list[str]()
    foot = [r"  \par\smallskip\raggedright\footnotesize", *(f"  {note}\\par" for note in notes)] if notes else []
    for number, body in enumerate(bodies, start=1):
        which = f" Part {number} of {len(bodies)}." * (len(bodies) > 1)
        lines += [rf"\begin{{{kind}}}[tp]", r"  \centering"]
        lines += [f"  \\caption{{{latex_text(f'{title}{which} {grid.head}.')}}}"]
        lines += [f"  \\label{{tab:{stem}{f'-{number}' * (number > 1)}}}", FIT, f"  \\begin{{tabular}}{{{rules}}}"]
        lines += [r"    \toprule", *body, r"    \bottomrule", r"  \end{tabular}}"]
        lines += [*(foot if number == len(bodies) else []), rf"\end{{{kind}}}"]
    return lines


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


def _latex_row(cells: Iterable[str]) -> str:
    texts = [re.sub(r"(^| )-(?=\d)", r"\1$-$", latex_text(cell)) for cell in cells]
    return f"    {' & '.join(texts)} \\\\"


def seeds_csv(report: Report) -> str:
    """The tidy frame of one table: a line per row, seed and metric at full precision, and the unit of its values."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    shown = [place for place, name in enumerate(COLUMNS) if report.shows_paper or not name.startswith("paper_")]
    writer.writerow(COLUMNS[place] for place in shown)
    for line in report.frame:
        values = (line[place] for place in shown)
        writer.writerow(csv_text(value) if isinstance(value, str) else value for value in values)
    return stream.getvalue()


def table_json(report: Report) -> str:
    """The table as JSON: every cell with its seeds, intervals and records, and the claims."""
    return json.dumps(table_data(report), indent=1, allow_nan=False) + "\n"


def table_data(report: Report) -> dict[str, Any]:
    """A table with all that stands behind it; values as stored, the paper's in the same units."""
    table = report.table
    return {
        **{"table": table.name, "title": table.title, "place": table.place, "profile": report.profile.name},
        **{"off_spec": report.off_spec, "protocol": table.protocol, "declared_seeds": table.seeds},
        **{"seeds": report.seeds, "metrics": table.metrics, "rows": [_row(report, each) for each in report.rows]},
        "units": units_of(table.metrics),
        "claims": [each.to_json() for each in report.claims],
    }


def _row(report: Report, each: RowRecords) -> dict[str, Any]:
    shown = ("id", "group", "label", "data", "method", "backbone", "dataset", "note")
    return {
        **{key: getattr(each.row, key) for key in shown},
        "off_spec": each.off_spec,
        "records": {record.seed: record.file_name for record in each.counted},
        "cells": {metric: _cell(report, each, metric) for metric in report.table.metrics},
    }


def _cell(report: Report, each: RowRecords, metric: str) -> dict[str, Any]:
    published = each.row.published.get(metric, (None, None))
    compared = report.compared(each.row, metric)
    return {
        **asdict(report.cells[each.row.id, metric]),
        "seeds": report.values[each.row.id, metric],
        **({"paper": [stored(metric, value) for value in published]} if report.shows_paper else {}),
        **({"against_paper": asdict(compared)} if compared else {}),
    }


def terminal(report: Report) -> Group:
    """The table for a terminal, no number cut off; rows of which there is nothing are counted, if not asked for."""
    grid, span = make_grid(report), len(make_grid(report).sources)
    table = _rich_table(("", "n", *grid.metrics), show_lines=span > 1)
    nothing = {each.row.id for each in report.rows if report.request.rows is None and each.missing == "not run"}
    for line in (each for each in grid.lines if each.row.id not in nothing):
        cells = ["\n".join([each[1], f"({each[0]})", *each[2:]]) if span > 1 else each[0] for each in line.cells]
        table.add_row(_plain(" ".join(line.heads).strip() or line.row.id), _plain(str(line.n)), *map(Text, cells))
    notes = [f"{len(nothing)} of {len(grid.lines)} rows are not run: {report.stem}.md has them"] * bool(nothing)
    notes += [*([f"(in brackets: {grid.sources[0]})"] if span > 1 and table.rows else []), *warnings(report)]
    shown = [each for each in report.claims if each.verdict != "not run"]
    notes += [f"{each.verdict}{f' ({each.why})' * bool(each.why)}: {each.claim.text}" for each in shown]
    tables = [*[table] * bool(table.rows), *_tables(unfinished(report))]
    return Group(_plain(grid.title), _plain(grid.head), *tables, *map(_plain, notes))


def _plain(text: str) -> Text:
    return Text(plain_text(text))


def _rich_table(heads: Sequence[str], num_left: int = 1, *, show_lines: bool = False) -> RichTable:
    table = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_lines=show_lines)
    for index, head in enumerate(heads):
        table.add_column(_plain(head), justify="left" if index < num_left else "right", overflow="fold")
    return table


def tables_markdown(title: str, said: Iterable[str], tables: Iterable[Lines]) -> str:
    """Sentences, and the tables that have lines under their titles, as a page of Markdown."""
    parts = [[f"# {markdown_text(title)}"], [f"- {markdown_text(each)}" for each in said]]
    for each in (each for each in tables if each.lines):
        parts += [[f"## {markdown_text(each.title)}"], _markdown_table(each.heads, each.lines, each.num_left)]
    return "\n\n".join("\n".join(part) for part in parts)


def tables_terminal(said: Iterable[str], tables: Iterable[Lines]) -> Group:
    """The same for a terminal."""
    return Group(*map(_plain, said), *_tables(tables))


def _tables(tables: Iterable[Lines]) -> Iterator[Text | RichTable]:
    for each in (each for each in tables if each.lines):
        table = _rich_table(each.heads, each.num_left)
        for line in each.lines:
            table.add_row(*map(_plain, line))
        yield from (Text(), _plain(each.title), table)
