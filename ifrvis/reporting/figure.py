"""Figure 4 of the paper: mean and std of each metric over a recipe's value, with every seed's point.

`figure_data` computes, `draw` draws; files are the same bytes for the same data and version of matplotlib.
"""

import io
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ifrvis.reporting.frame import TableState, tidy_frame
from ifrvis.reporting.style import FIGURE, headline, scale
from ifrvis.reporting.summary import summarise

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FORMATS", "Panel", "Point", "draw", "figure_data", "figure_files", "figure_json", "make_figure"]

FORMATS = ("pdf", "png", "svg")
NO_DATE = {"pdf": {"CreationDate": None, "Creator": None, "Producer": None}, "png": {"Software": None}}
NO_DATE["svg"] = {"Date": None, "Creator": None}


@dataclass(frozen=True)
class Point:
    """One row in a panel; as printed, in percent (IDs a count).

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
    cells = summarise(state, frame)
    panels = []
    for metric in state.table.metrics:
        points = []
        for each in state.rows:
            values = frame[(frame["row"] == each.row.id) & (frame["metric"] == metric)]["value"].dropna()
            cell, unit = cells[each.row.id, metric], scale(metric)
            mean, std = (None if value is None else value * unit for value in (cell.mean, cell.std))
            points.append(Point(float(each.row.set[axis.key]), tuple(values * unit), mean, std))
        panels.append(Panel(metric, tuple(sorted(points, key=lambda point: point.x))))
    return panels


def figure_json(panels: list[Panel]) -> list[dict[str, Any]]:
    """The same as JSON has it."""
    return [asdict(panel) for panel in panels]


def figure_files(state: TableState) -> dict[str, bytes]:
    """The figure by file name, as PDF, PNG and SVG."""
    import matplotlib as mpl

    files = {}
    fonts = {"font.size": FIGURE["font_pt"], "pdf.fonttype": 42, "svg.hashsalt": state.stem, "savefig.dpi": 300, "axes.linewidth": 0.6}
    with mpl.rc_context(fonts):
        figure = make_figure(state)
        for name in FORMATS:
            stream = io.BytesIO()
            figure.savefig(stream, format=name, metadata=NO_DATE[name])
            files[f"{state.stem}.{name}"] = stream.getvalue()
    return files


def make_figure(state: TableState) -> "Figure":
    """The figure in a size that fits a column of a paper; the last place of its grid holds the legend."""
    from matplotlib.figure import Figure

    panels, axis = figure_data(state), state.table.axis
    assert axis is not None
    figure = Figure(figsize=(float(FIGURE["width_in"]), float(FIGURE["height_in"])), layout="constrained")
    columns = 3
    places = figure.subplots(-(-(len(panels) + 1) // columns), columns, squeeze=False).ravel()
    for panel, axes in zip(panels, places):
        draw(panel, axes, _math(axis.label))
    handles = places[0].get_legend_handles_labels()
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    title = f"{state.profile}{', off-spec' * bool(state.off_spec)}\n{state.table.protocol}, percent"
    places[len(panels)].legend(*handles, loc="center", frameon=False, title=title)
    return figure


def draw(panel: Panel, axes: "Axes", label: str) -> None:
    """Draw one panel: error bars of complete rows, broken where one is not, and every seed."""
    seeds = [(point.x, value) for point in panel.points for value in point.seeds]
    axes.scatter(*(zip(*seeds) if seeds else ((), ())), s=5, color=FIGURE["seed"], linewidths=0, label="a seed", zorder=3)
    axes.errorbar(
        [point.x for point in panel.points],
        [math.nan if point.mean is None else point.mean for point in panel.points],
        [point.std or 0.0 for point in panel.points],
        **{"color": FIGURE["mean"], "marker": "o", "markersize": 2.5, "linewidth": 0.8, "capsize": 2},
        label="mean ± std",
    )
    axes.set_title(headline(panel.metric), fontsize="medium", pad=3)
    axes.set_xlabel(label, labelpad=1)
    places = [point.x for point in panel.points]
    axes.set_xticks(places, [f"{x:g}".removeprefix("0") or "0" for x in places])
    axes.tick_params(length=2, pad=1.5, labelsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    if not seeds:
        axes.text(0.5, 0.5, "no records", transform=axes.transAxes, ha="center", va="center", color=FIGURE["seed"])
        axes.set_yticks([])


def _math(label: str) -> str:
    """`lambda_e` as people write it."""
    return f"$\\{label}$" if label.startswith("lambda") else label
