"""Figure 4 of the paper: mean and std of each metric over a recipe's value, with every seed's point.

`figure_data` computes, `draw` draws. Files are the same bytes for the same data and version of matplotlib.
"""

import io
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ifrvis.reporting.frame import TableState, tidy_frame
from ifrvis.reporting.style import COLUMN_IN, FONT_PT, MEAN_COLOUR, SEED_COLOUR, headline, scale
from ifrvis.reporting.summary import summarise

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Panel", "Point", "draw", "figure_data", "figure_files", "figure_json", "make_figure"]

UNDATED: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
}
COLUMNS = 3


@dataclass(frozen=True)
class Point:
    """One row in a panel; in percent (IDs a count).

    Args:
        x: The row's value on the axis.
        seeds: A value for each seed that is there, in the order of the seeds.
        mean: None where the row is not complete.
        std: None where the row is not complete, or of one seed.
    """

    x: float
    seeds: tuple[float, ...]
    mean: float | None
    std: float | None


@dataclass(frozen=True)
class Panel:
    """One metric of the figure."""

    metric: str
    points: tuple[Point, ...]


def figure_data(state: TableState) -> list[Panel]:
    """What the figure shows, a panel for each metric; a pure function of the state."""
    axis, frame = state.table.axis, tidy_frame([state])
    assert axis is not None
    cells, panels = summarise(state, frame), []
    for metric in state.table.metrics:
        points = []
        for each in state.rows:
            values = frame[(frame["row"] == each.row.id) & (frame["metric"] == metric)]["value"].dropna() * scale(
                metric
            )
            cell = cells[each.row.id, metric]
            mean, std = (None if value is None else value * scale(metric) for value in (cell.mean, cell.std))
            points.append(Point(float(each.row.set[axis.key]), tuple(values), mean, std))
        panels.append(Panel(metric, tuple(sorted(points, key=lambda point: point.x))))
    return panels


def figure_json(state: TableState) -> list[dict[str, Any]]:
    """The same as JSON has it."""
    return [asdict(panel) for panel in figure_data(state)]


def figure_files(state: TableState) -> dict[str, bytes]:
    """The figure by file name, as PDF, PNG and SVG."""
    import matplotlib as mpl

    files = {}
    fonts: dict[str, Any] = {"font.size": FONT_PT, "pdf.fonttype": 42}
    fonts |= {"axes.linewidth": 0.6, "lines.linewidth": 0.8, "lines.markersize": 2.5, "errorbar.capsize": 2}
    with mpl.rc_context({**fonts, "svg.hashsalt": state.stem, "savefig.dpi": 300}):
        figure = make_figure(state)
        for name, undated in UNDATED.items():
            stream = io.BytesIO()
            figure.savefig(stream, format=name, metadata=undated)
            files[f"{state.stem}.{name}"] = stream.getvalue()
    return files


def make_figure(state: TableState) -> "Figure":
    """The figure, as wide as a column of a paper; the place behind the last panel holds the legend."""
    from matplotlib.figure import Figure

    panels, axis = figure_data(state), state.table.axis
    assert axis is not None
    figure = Figure(figsize=COLUMN_IN, layout="constrained")
    places = figure.subplots(-(-(len(panels) + 1) // COLUMNS), COLUMNS, squeeze=False).ravel()
    label = f"$\\{axis.label}$" if axis.label.startswith("lambda") else axis.label
    for panel, axes in zip(panels, places):
        draw(panel, axes, label)
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    title = f"{state.profile}{', off-spec' * bool(state.off_spec)}\n{state.table.protocol}, percent"
    places[len(panels)].legend(*places[0].get_legend_handles_labels(), loc="center", frameon=False, title=title)
    return figure


def draw(panel: Panel, axes: "Axes", label: str) -> None:
    """Draw one panel: error bars of complete rows, broken where one is not, and every seed."""
    places = list(range(len(panel.points)))  # evenly spaced, so that every value can be read
    seeds = [(place, value) for place in places for value in panel.points[place].seeds]
    x, y = zip(*seeds) if seeds else ((), ())
    axes.scatter(x, y, s=5, color=SEED_COLOUR, linewidths=0, label="a seed", zorder=3)
    means = [math.nan if point.mean is None else point.mean for point in panel.points]
    bars = axes.errorbar(places, means, [point.std or 0.0 for point in panel.points], color=MEAN_COLOUR, fmt="o-")
    bars.set_label("mean ± std")
    axes.set_title(headline(panel.metric), fontsize="medium", pad=3)
    axes.set_xlabel(label, labelpad=1)
    axes.set_xticks(places, [f"{point.x:g}" for point in panel.points])
    axes.tick_params(length=2, pad=1.5, labelsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    if not seeds:
        axes.text(0.5, 0.5, "no records", transform=axes.transAxes, ha="center", va="center", color=SEED_COLOUR)
        axes.set_yticks([])
