"""Figure 4 of the paper: mean and std of each metric over a recipe's value, with every seed's point.

`figure_data` computes, `draw` draws. Files are the same bytes for the same data and version of matplotlib.
"""

import io
import math
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Panel:
    """One metric, in percent (IDs a count), at each value of the axis.

    Args:
        metric: Its name.
        x: The rows' values on the axis, rising.
        seeds: Of each row the values that there are, in the order of the seeds.
        mean: Of each row; None where it is not complete.
        std: Of each row; None where it is not complete, or of one seed.
    """

    metric: str
    x: tuple[float, ...]
    seeds: tuple[tuple[float, ...], ...]
    mean: tuple[float | None, ...]
    std: tuple[float | None, ...]


def figure_data(report: Report) -> list[Panel]:
    """What the figure shows, a panel for each metric; a pure function of the report."""
    axis, panels = report.table.axis, []
    assert axis is not None
    rows = sorted((each.row for each in report.rows), key=lambda row: float(row.set[axis.key]))
    for metric in report.table.metrics:
        unit, of_metric = scale(metric), report.frame[report.frame["metric"] == metric].dropna(subset="value")
        seeds = tuple(tuple(of_metric[of_metric["row"] == row.id]["value"] * unit) for row in rows)
        cells = [report.cells[row.id, metric] for row in rows]
        means = tuple(None if cell.mean is None else cell.mean * unit for cell in cells)
        stds = tuple(None if cell.std is None else cell.std * unit for cell in cells)
        panels.append(Panel(metric, tuple(float(row.set[axis.key]) for row in rows), seeds, means, stds))
    return panels


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

    panels, axis = figure_data(report), report.table.axis
    assert axis is not None
    figure = Figure(figsize=COLUMN_IN, layout="constrained")
    places = figure.subplots(-(-(len(panels) + 1) // COLUMNS), COLUMNS, squeeze=False).ravel()
    label = f"$\\{axis.label}$" if axis.label.startswith("lambda") else axis.label
    for panel, axes in zip(panels, places):
        draw(panel, axes, label)
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    title = f"{report.profile.name}{', off-spec' * bool(report.off_spec)}\n{report.table.protocol}, percent"
    places[len(panels)].legend(*places[0].get_legend_handles_labels(), loc="center", frameon=False, title=title)
    return figure


def draw(panel: Panel, axes: "Axes", label: str) -> None:
    """Draw one panel: error bars of complete rows, broken where one is not, and every seed."""
    places = list(range(len(panel.x)))  # evenly spaced, so that every value can be read
    seeds = [(place, value) for place in places for value in panel.seeds[place]]
    x, y = zip(*seeds) if seeds else ((), ())
    axes.scatter(x, y, s=5, color=SEED_COLOUR, linewidths=0, label="a seed", zorder=3)
    means = [math.nan if mean is None else mean for mean in panel.mean]
    bars = axes.errorbar(places, means, [std or 0.0 for std in panel.std], color=MEAN_COLOUR, fmt="o-")
    bars.set_label("mean ± std")
    axes.set_title(headline(panel.metric), fontsize="medium", pad=3)
    axes.set_xlabel(label, labelpad=1)
    axes.set_xticks(places, [f"{value:g}" for value in panel.x])
    axes.tick_params(length=2, pad=1.5, labelsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    if not seeds:
        axes.text(0.5, 0.5, "no records", transform=axes.transAxes, ha="center", va="center", color=SEED_COLOUR)
        axes.set_yticks([])
