"""A table's figure (Figure 4 of the paper): mean and std of each metric over a value of its rows, and every seed.

What is drawn are the report's cells and values. Files are the same bytes for the same data and version of matplotlib.
"""

import io
import math
import re
from typing import TYPE_CHECKING, Any

from ifrvis.reporting.cells import Cell, make_cell
from ifrvis.reporting.report import Report
from ifrvis.reporting.style import COLUMN_IN, COUNTS, ERRORS, FONT_PT, LINE_COLOURS, SEED_COLOUR, headline, scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UNDATED: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
}


def figure_files(report: Report) -> dict[str, bytes]:
    """The figure by file name, as PDF, PNG and SVG."""
    import matplotlib as mpl

    files = {}
    fonts: dict[str, Any] = {"font.size": FONT_PT, "pdf.fonttype": 42}
    fonts |= {"axes.linewidth": 0.6, "lines.linewidth": 0.8, "lines.markersize": 2.5, "errorbar.capsize": 2}
    with mpl.rc_context():
        mpl.rcdefaults()  # whatever the user's own matplotlibrc says
        mpl.rcParams.update({**fonts, "svg.hashsalt": report.stem, "savefig.dpi": 300})
        figure = make_figure(report)
        for name, undated in UNDATED.items():
            stream = io.BytesIO()
            figure.savefig(stream, format=name, metadata=undated)
            files[f"{report.stem}.{name}"] = stream.getvalue()
    return files


def make_figure(report: Report) -> "Figure":
    """The figure, as wide as a column of a paper; the place behind the last panel holds the legend."""
    from matplotlib.figure import Figure

    metrics, axis = report.table.metrics, report.table.axis
    assert axis is not None
    figure = Figure(figsize=COLUMN_IN, layout="constrained")
    columns = math.ceil(math.sqrt(len(metrics) + 1))
    places = figure.subplots(math.ceil((len(metrics) + 1) / columns), columns, squeeze=False).ravel()
    label = re.sub(r"^lambda(_\w)?\b", lambda found: f"$\\{found[0]}$", _plain(axis.label))
    for metric, axes in zip(metrics, places):
        draw(report, metric, axes, label)
    for axes in places[len(metrics) :]:
        axes.set_axis_off()
    title = f"{report.profile.name}{', off-spec' * bool(report.off_spec)}\n{report.table.protocol}, percent"
    title += "\n" + _plain(" − ".join(axis.gap)) if axis.gap else ""
    handles, is_last = places[0].get_legend_handles_labels(), len(places) - len(metrics) == 1
    where = "center" if is_last else "center left"  # it reaches into the places behind, and makes none wider
    legend = places[len(metrics)].legend(*handles, loc=where, frameon=False, title=title)
    legend.set_in_layout(is_last)
    return figure


def _plain(text: str) -> str:
    """Text in which matplotlib reads no formula."""
    return text.replace("$", r"\$")


def _lines(report: Report, metric: str) -> dict[str, dict[float, tuple[Cell, list[float]]]]:
    """By line and place on the axis, the cell that is drawn, and what each seed has of it."""
    axis, rows = report.table.axis, [each.row for each in report.rows if not each.row.quoted]
    assert axis is not None
    lines: dict[str, dict[float, tuple[Cell, list[float]]]] = {}
    for row in rows:
        values, cell, name, at = report.values[row.id, metric], report.cells[row.id, metric], "", axis.of(row)
        if axis.gap is not None:
            beside = {each.group: each.id for each in rows if (each.dataset, axis.of(each)) == (row.dataset, at)}
            if row.group != axis.gap[0] or axis.gap[1] not in beside:
                continue
            other, name = report.values[beside[axis.gap[1]], metric], row.data
            values = {seed: _less(value, other[seed]) for seed, value in values.items() if seed in other}
            cell = make_cell([*values.values()], len(report.seeds), "")
        lines.setdefault(name, {})[float(at)] = cell, [value for value in values.values() if value is not None]
    return lines


def _less(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other


def draw(report: Report, metric: str, axes: "Axes", label: str) -> None:
    """Draw one metric: a line each of error bars of complete rows, broken where one is not, and every seed."""
    lines, unit = _lines(report, metric), scale(metric)
    at = {x: place for place, x in enumerate(sorted({x for line in lines.values() for x in line}))}  # evenly spaced
    for index, (name, line) in enumerate(lines.items()):
        aside = 0.2 * (index - (len(lines) - 1) / 2)  # so that lines do not hide each other
        where = [at[x] + aside for x in sorted(line)]
        cells = [line[x][0] for x in sorted(line)]
        means = [math.nan if cell.mean is None else cell.mean * unit for cell in cells]
        stds = [(cell.std or 0.0) * unit for cell in cells] if len(report.seeds) > 1 else None
        colour = LINE_COLOURS[index % len(LINE_COLOURS)]
        bars = axes.errorbar(where, means, stds, color=colour, fmt="o-")
        bars.set_label(f"{_plain(name)} {'mean ± std' if stds else 'one seed'}".strip())
        seeds = [(place, value * unit) for place, of in zip(where, sorted(line)) for value in line[of][1]]
        x, y = zip(*seeds) if seeds else ((), ())
        own = {"color": colour, "alpha": 0.6} if len(lines) > 1 else {"color": SEED_COLOUR}
        axes.scatter(x, y, s=5, linewidths=0, zorder=3, **own)
    axes.scatter([], [], s=5, color=SEED_COLOUR, linewidths=0, label="a seed")
    if report.table.axis and report.table.axis.gap:
        axes.axhline(0, color=SEED_COLOUR, linewidth=0.4, zorder=0)
    in_unit = " (count)" * (metric in COUNTS) + " (per 100)" * (metric in ERRORS)
    axes.set_title(headline(metric) + in_unit, fontsize="medium", pad=3)
    axes.set_xlabel(label, labelpad=1)
    axes.set_xlim(-0.5, max(len(at), 1) - 0.5)  # the first and the last stand beside the frame, not on it
    axes.set_xticks([*at.values()], ["all" if math.isinf(x) else f"{x:g}" for x in at])
    axes.tick_params(length=2, pad=1.5, labelsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    if not any(values for line in lines.values() for _, values in line.values()):
        axes.text(0.5, 0.5, "no records", transform=axes.transAxes, ha="center", va="center", color=SEED_COLOUR)
        axes.set_yticks([])
