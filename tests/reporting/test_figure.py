"""Figure 4, through its artists: what is drawn is what the table says."""

from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from ifrvis.reporting.figure import figure_files, make_figure
from ifrvis.reporting.formats import figure_latex
from ifrvis.reporting.output import outputs_of
from ifrvis.reporting.report import RowRecords

LAMBDAS = ("0", "0.1", "0.3", "0.5", "1.0")


@pytest.fixture
def report(make_report):
    """Five values of lambda_e; that of 0.5 has two of three records."""
    rows = {
        f"ours-r50-lambda{name}-ytvis19": {seed: 0.2 + 0.01 * place + 0.001 * seed for seed in range(3)}
        for place, name in enumerate(LAMBDAS)
    }
    del rows["ours-r50-lambda0.5-ytvis19"][1]
    return make_report("figure4", rows, seeds=range(3))


def test_artists_are_every_seed_and_the_numbers_of_complete_rows_alone(report):
    figure = make_figure(report)
    means = [20.1, 21.1, 22.1, np.nan, 24.1]
    seeds = [(place, 20 + place + 0.1 * seed) for place in range(5) for seed in range(3) if (place, seed) != (3, 1)]
    for metric, axes in zip(("AP", "AP50", "AP75", "AR1", "AR10"), figure.axes):
        assert axes.get_title() == f"{metric}↑"
        assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "0.1", "0.3", "0.5", "1"]
        (bars,) = axes.containers
        line, _, (whiskers,) = bars
        assert line.get_ydata() == pytest.approx(means, nan_ok=True)  # the line breaks where a row is not complete
        ends = [segment[:, 1] for segment in whiskers.get_segments() if len(segment)]
        drawn = [(mean - 0.1, mean + 0.1) for mean in means if not np.isnan(mean)]
        assert [tuple(end) for end in ends if not np.isnan(end).any()] == [pytest.approx(each) for each in drawn]
        cloud, _ = [each for each in axes.collections if each is not whiskers]
        assert cloud.get_offsets().tolist() == [pytest.approx(list(each)) for each in seeds]


def test_a_quoted_row_has_no_place_on_the_axis(report):
    row = report.rows[1].row.model_copy(update={"quoted": True, "set": {}})
    figure = make_figure(replace(report, rows=(report.rows[0], RowRecords(row, {}), *report.rows[2:])))
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["0", "0.3", "0.5", "1"]


def test_it_fits_a_column_and_says_profile_and_protocol(report):
    figure = make_figure(report)
    assert figure.get_size_inches()[0] <= 3.3
    legend = figure.axes[5].get_legend()
    assert legend.get_title().get_text() == "mini\nheldout, percent"
    assert [text.get_text() for text in legend.get_texts()] == ["a seed", "mean ± std"]


@pytest.mark.parametrize(("ids", "seeds"), [(("0", "0.3"), 3), (("0.3",), 3), (("0.3",), 1)])
def test_few_points_stand_inside_the_frame_and_one_seed_has_no_bar(make_report, ids, seeds):
    rows = {f"ours-r50-lambda{name}-ytvis19": {seed: 0.2 + 0.01 * seed for seed in range(seeds)} for name in ids}
    axes = make_figure(make_report("figure4", rows, seeds=range(seeds))).axes[0]
    (bars,) = axes.containers
    low, high = axes.get_xlim()
    assert all(low + 0.4 < x < high - 0.4 for x in bars.lines[0].get_xdata())
    assert bars.has_yerr == (seeds > 1)
    assert ("±" in bars.get_label()) == (seeds > 1)


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("lambda_e", r"$\lambda_e$"),
        ("lambda of $x$", r"$\lambda$ of \$x\$"),
        ("lambda_", "lambda_"),
        ("lambdas", "lambdas"),
    ],
)
def test_a_label_is_text_and_lambda_alone_a_symbol(report, label, shown):
    axis = report.table.axis.model_copy(update={"label": label})
    changed = replace(report, table=report.table.model_copy(update={"axis": axis}))
    assert make_figure(changed).axes[0].get_xlabel() == shown
    figure_files(changed)


def test_files_are_the_same_bytes_again(report):
    files = figure_files(report)
    assert list(files) == ["figure4.pdf", "figure4.png", "figure4.svg"]
    assert figure_files(report) == files


def test_what_a_user_has_set_in_matplotlib_changes_nothing(report):
    files = figure_files(report)
    with mpl.rc_context({"text.usetex": True, "font.size": 20, "axes.grid": True, "savefig.bbox": "tight"}):
        assert figure_files(report) == files
        assert mpl.rcParams["font.size"] == 20


def test_no_table_that_is_compiled_takes_the_place_of_the_figure(report):
    compiled = {Path(name).with_suffix(".pdf").name for name in outputs_of(report) if name.endswith(".tex")}
    assert len(compiled) > 1
    assert not compiled & figure_files(report).keys()


def test_caption_has_the_papers_reading(report):
    text = figure_latex(report)
    assert r"\includegraphics{figure4.pdf}" in text
    assert "that 0.3 is best" in text


def test_without_records_the_panels_say_so(make_report):
    report = make_report("figure4", {"ours-r50-lambda0.3-ytvis19": {}})
    figure = make_figure(report)
    assert [text.get_text() for text in figure.axes[0].texts] == ["no records"]
    assert figure_files(report)


def test_a_gap_is_drawn_seed_by_seed_on_a_line_of_each_data_set(make_report):
    """Ours has a hundredth more on two frames and two more on all, of 2021 in two seeds of three."""
    rows = {
        f"{method}-r50{frames}-ytvis{year}": {
            seed: 0.2 + 0.1 * seed + 0.01 * more * (method == "ours") for seed in range(3)
        }
        for method in ("mask2former", "ours")
        for more, frames in ((1, "-frames2"), (2, ""))
        for year in (19, 21)
    }
    del rows["mask2former-r50-ytvis21"][1]
    figure = make_figure(make_report("length", rows, seeds=range(3)))
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["2", "all"]
    lines = [bars.lines[0].get_ydata() for bars in figure.axes[1].containers]
    assert lines == [pytest.approx([1, 2]), pytest.approx([1, np.nan], nan_ok=True)]
    assert [len(each.get_offsets()) for each in figure.axes[1].collections if len(each.get_offsets()) > 2] == [6, 5]
    clouds = [[each for each in axes.collections if len(each.get_offsets()) > 2] for axes in figure.axes[:4]]
    assert all(not np.array_equal(*(each.get_facecolor() for each in pair)) for pair in clouds)
    assert [axes.get_title() for axes in figure.axes[:4]] == ["AP↑", "IDF1↑", "IDs↓ (count)", "errors↓ (per 100)"]
    legend = figure.axes[4].get_legend()
    assert legend.get_title().get_text() == "mini\nheldout, percent\nOurs − Mask2Former"
    assert [text.get_text() for text in legend.get_texts()] == ["a seed", "YTVIS19 mean ± std", "YTVIS21 mean ± std"]
