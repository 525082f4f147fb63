"""Figure 4 of the paper: mean and std of each metric over a recipe's value, with every seed's point.

What is drawn are the report's cells and values. Files are the same bytes for the same data and version of matplotlib.
"""

import io
import math
from typing import TYPE_CHECKING, Any

from ifrvis.reporting.report import Report
from ifrvis.reporting.style import COLUMN_IN, FONT_PT, MEAN_COLOUR, SEED_COLOUR, headline, scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UNDATED: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
}
COLUMNS = 3


def figure_files(report: Report) -> dict[str, bytes]:
    """The figure by file name, as PDF, PNG and SVG."""
    import matplotlib as mpl

    files = {}
    fonts: dict[str, Any] = {"font.size": FONT_PT, "pdf.fonttype": 42}
    fonts |= {"axes.linewidth": 0.6, "lines.linewidth": 0.8, "lines.markersize": 2.5, "errorbar.capsize": 2}
    with mpl.rc_context({**fonts, "svg.hashsalt": report.stem, "savefig.dpi": 300}):
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
    places = figure.subplots(-(-(len(metrics) + 1) // COLUMNS), COLUMNS, squeeze=False).ravel()
    label = f"$\\{axis.label}$" if axis.label.startswith("lambda") else axis.label
    for metric, axes in zip(metrics, places):
        draw(report, metric, axes, label)
    for axes in places[len(metrics) :]:
        axes.set_axis_off()
    title = f"{report.profile.name}{', off-spec' * bool(report.off_spec)}\n{report.table.protocol}, percent"
    places[len(metrics)].legend(*places[0].get_legend_handles_labels(), loc="center", frameon=False, title=title)
    return figure


def draw(report: Report, metric: str, axes: "Axes", label: str) -> None:
    """Draw one metric: error bars of complete rows, broken where one is not, and every seed."""
    axis, unit = report.table.axis, scale(metric)
    assert axis is not None
    rows = {float(each.row.set[axis.key]): each.row.id for each in report.rows if not each.row.quoted}
    at = dict(enumerate(sorted(rows)))  # evenly spaced, so that every value can be read
    values = [(place, value) for place, x in at.items() for value in report.values[rows[x], metric].values()]
    seeds = [(place, value * unit) for place, value in values if value is not None]
    x, y = zip(*seeds) if seeds else ((), ())
    axes.scatter(x, y, s=5, color=SEED_COLOUR, linewidths=0, label="a seed", zorder=3)
    cells = [report.cells[rows[x], metric] for x in at.values()]
    means = [math.nan if cell.mean is None else cell.mean * unit for cell in cells]
    bars = axes.errorbar([*at], means, [(cell.std or 0.0) * unit for cell in cells], color=MEAN_COLOUR, fmt="o-")
    bars.set_label("mean ± std")
    axes.set_title(headline(metric), fontsize="medium", pad=3)
    axes.set_xlabel(label, labelpad=1)
    axes.set_xticks([*at], [f"{value:g}" for value in at.values()])
    axes.tick_params(length=2, pad=1.5, labelsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    if not seeds:
        axes.text(0.5, 0.5, "no records", transform=axes.transAxes, ha="center", va="center", color=SEED_COLOUR)
        axes.set_yticks([])
