"""Cells over seeds: hand values, and what stands where there is no number.

Also tests: ifrvis.reporting.cells, ifrvis.reporting.style.
"""

import math
from dataclasses import replace

import pytest

from ifrvis.evaluation.scores import IDENTITY_CURVE, Identity
from ifrvis.harness.store.records import Cost
from ifrvis.reporting.cells import Cell, compare
from ifrvis.reporting.formats import latex, markdown, seeds_csv, table_data
from ifrvis.reporting.report import COLUMNS, RowRecords
from ifrvis.reporting.style import measured_text, published_text

ROW = "mask2former-r50-ytvis19"


def cell(report, metric="AP"):
    return report.cells[ROW, metric]


def test_mean_and_std_equal_hand_values(make_report):
    found = cell(make_report("table1", {ROW: {0: 0.2, 1: 0.4, 2: 0.6, 3: 0.8}}, seeds=range(4)))
    assert found.n == 4
    assert found.mean == pytest.approx(0.5, abs=1e-15)
    assert found.std == pytest.approx(math.sqrt(0.2 / 3), abs=1e-15)  # squares .09 .01 .01 .09 over n - 1


def test_of_two_records_of_one_seed_none_counts_and_both_are_named(make_report):
    report = make_report("table1", {ROW: {0: 0.2, 1: 0.3}})
    (each,), (other,) = report.rows, make_report("table1", {ROW: {1: 0.9}}).rows
    twice = replace(report, rows=(RowRecords(each.row, {**each.found, 1: [*each.found[1], *other.found[1]]}),))
    assert cell(twice) == Cell(1, missing="2 records")
    assert f"seed 1 has {each.found[1][0].file_name} and".replace("_", "\\_") in markdown(twice)


def test_records_that_start_from_other_weights_are_named_and_make_no_number(make_report):
    report = make_report("table1", {ROW: {0: 0.2, 1: 0.3}})
    (each,) = report.rows
    found = {
        seed: [record.model_copy(update={"started_from": digit * 64})]
        for digit, (seed, (record,)) in zip("ab", each.found.items())
    }
    other = replace(report, rows=(RowRecords(each.row, found),))
    assert cell(other) == Cell(2, missing="2 starts")
    assert (
        f"start from different weights, which are not averaged: {'a' * 12} in {found[0][0].file_name}; {'b' * 12} in"
        in (markdown(other).replace("\\_", "_"))
    )
    assert {pair.verdict for claim in other.claims for pair in claim.pairs} <= {"not run", "undecided"}


def test_costs_are_columns_without_an_arrow_and_frames_a_second_are_set_against_nothing(make_report):
    report = make_report("table1", {ROW: {0: 0.2, 1: 0.3}}, metrics=("Parameters", "FPS"), profile="paper", claims=())
    (each,) = report.rows
    row = each.row.model_copy(update={"published": {"FPS": (9.0, None), "Parameters": (44.0, None)}})
    cost = Cost(parameters=43_912_345, prediction_seconds=2.0, frames=25)
    found = {seed: [record.model_copy(update={"cost": cost})] for seed, (record,) in each.found.items()}
    report = replace(report, rows=(RowRecords(row, found),))
    assert cell(report, "FPS").mean == 12.5
    assert "| Parameters (M) heldout | Frames/s paper" in markdown(report)
    assert "| 44.0 | 43.91 | 9.0 | 12.5 ± 0.0 |" in markdown(report)
    assert r"44.0 & 43.91 & 9.0 & 12.5 $\pm$ 0.0" in latex(report)
    assert ",Parameters,43912345.0," in seeds_csv(report)
    assert compare(report.table, row, "FPS", cell(report, "FPS")) is None
    assert compare(report.table, row, "Parameters", cell(report, "Parameters")).difference == -87_655


def test_quoted_row_shows_what_was_published_and_its_source(make_report):
    report = make_report("table1", {ROW: {}})
    row = report.rows[0].row.model_copy(update={"quoted": True, "source": "Cheng et al., 2021", "protocol": "server"})
    quoted = replace(report, rows=(RowRecords(row, {}),))
    assert cell(quoted) == Cell(0, missing="quoted")
    assert "| ResNet-50 (server) | Y | 0 | 46.4 ± 0.8 | quoted |" in markdown(quoted)
    assert "quoted from Cheng et al., 2021." in markdown(quoted)


def test_metric_that_no_record_holds_is_not_scored(make_report):
    report = make_report("table1", {ROW: {0: {"AP": 0.2}, 1: {"AP": 0.3}}})
    assert cell(report, "AR10") == Cell(0, missing="not scored")


def test_undefined_metric_of_any_seed_is_a_dash_with_a_note(make_report):
    values = dict.fromkeys(("AP50", "AP75", "AR1", "AR10"), 0.5)
    report = make_report("table1", {ROW: {0: {"AP": None, **values}, 1: {"AP": 0.3, **values}}})
    assert cell(report) == Cell(2, missing="–")
    assert "AP undefined in at least one seed" in markdown(report)


def test_records_of_several_states_of_the_code_or_devices_are_called_mixed(make_report):
    report = make_report("table1", {ROW: {0: 0.2, 1: 0.3}})
    (each,) = report.rows
    records = [found.model_copy(update={"cost": Cost(device="B")}) for (found,) in each.found.values()]

    def said(**changed):
        found = {0: [records[0]], 1: [records[1].model_copy(update=changed)]}
        return markdown(replace(report, rows=(RowRecords(each.row, found),)))

    assert "mixed" not in said()
    code = records[1].provenance.code.model_copy(update={"commit": "d" * 40})
    changed = said(provenance=records[1].provenance.model_copy(update={"code": code}))
    assert f"{ROW}: mixed, its records come from 2 states of the code" in changed
    assert f"{ROW}: mixed, its records were made on A and B" in said(cost=Cost(device="A"))
    assert "mixed" not in said(cost=Cost())


def test_identity_errors_stand_beside_metrics_per_hundred_object_frames_tracked(make_report):
    metrics = ("AP", "IDs", "change", "errors", "tracked", "never_found", "errors_at_half")
    report = make_report("ablation", {ROW: {0: 0.25}}, seeds=(0,), metrics=metrics)
    (record,) = report.rows[0].counted
    identity = Identity(change=3, lost=1, tracked=150, object_frames=200, never_found=1, objects=8)
    curve = dict.fromkeys(IDENTITY_CURVE, (0,)) | {"change": (3,), "tracked": (150,)}
    changes = {"metrics": {"AP": 0.25, "IDs": 3}, "identity": identity, "identity_curve": curve}
    found = {0: [record.model_copy(update=changes)]}
    text = markdown(replace(report, rows=(RowRecords(report.rows[0].row, found),)))
    assert "percent, IDs a count, change, errors, errors at half per hundred object-frames tracked" in text
    assert "| IDs↓ heldout | change↓ heldout | errors↓ heldout | tracked↑ heldout | never found↓ heldout |" in text
    assert "| 25.0 | 3 | 2.00 | 2.67 | 75.0 | 12.5 | 2.00 |" in text


def test_tidy_frame_has_a_line_for_each_record_and_metric(make_report):
    frame = [dict(zip(COLUMNS, line)) for line in make_report("table1", {ROW: {0: 0.2, 1: None}}).frame]
    assert [line["value"] for line in frame] == [0.2] * 5 + [None] * 5
    assert sum(line["paper_mean"] is None for line in frame) == 4  # the paper's AR1 and AR10, once a seed
    assert [frame[0][name] for name in ("value", "paper_mean", "paper_std", "unit")] == [0.2, 0.464, 0.008, "fraction"]
    assert make_report("table1", {ROW: {}}).frame == []
    smoke = make_report("table1", {ROW: {0: 0.2}}, profile="smoke").frame
    assert {line[COLUMNS.index("paper_mean")] for line in smoke} == {None}


def test_json_has_one_unit_a_metric_claims_and_the_papers_values_too(make_report):
    rows = {ROW: {0: {"IDF1": 0.5, "IDs": 110}}}
    data = table_data(make_report("table3", rows, seeds=(0,), profile="paper", metrics=("IDF1", "IDs"), claims=()))
    assert data["units"] == {"IDF1": "fraction", "IDs": "count"}
    cells = data["rows"][0]["cells"]
    assert [cells["IDF1"]["paper"], cells["IDs"]["paper"]] == [[0.624, None], [202, None]]
    claim = table_data(make_report("table1", {"ours-r50-ytvis19": {0: 0.5}, "seqformer-r50-coco-ytvis19": {0: 0.49}}))
    pair = claim["claims"][0]["pairs"][0]
    assert (pair["statement"]["margin"], pair["paper"]) == (0.01, -0.009)


@pytest.mark.parametrize(
    ("metric", "mean", "std", "text"),
    [
        ("AP", 0.4644, 0.0081, "46.4 ± 0.8"),
        ("AP", 0.4644, None, "46.4"),
        ("AP", 0.556, 0.0004, "55.6 ± 0.04"),
        ("AP", 0.5, 0.0, "50.0 ± 0.0"),
        ("MOTA", -0.0161, None, "-1.6"),
        ("MOTA", -0.0001, None, "0.0"),
        ("IDs", 110, None, "110"),
        ("IDs", 108.5, 2.12, "108.5 ± 2.1"),
        ("change", 0.01234, 0.00096, "1.23 ± 0.10"),
        ("change", 0.01234, 0.00004, "1.23 ± 0.004"),
        ("never_found", 0.012, None, "1.2"),
        ("Parameters", 443_541, 0.0, "0.44"),
        ("tracks_per_video", 3.456, 0.1, "3.46 ± 0.10"),
        ("false_positives_per_frame", 0.4644, None, "0.46"),
        ("ids_per_recalled_box", 0.0034, 0.0002, "0.0034 ± 0.0002"),
    ],
)
def test_measured_numbers_are_percent_counts_counts_and_rates_what_they_are_called(metric, mean, std, text):
    assert measured_text(metric, mean, std) == text


def test_rates_are_no_percent_and_point_to_where_better_is(make_report):
    rates = ("tracks_per_video", "false_positives_per_frame", "ids_per_recalled_box")
    report = make_report("table3", {ROW: {0: dict.fromkeys(rates, 0.5)}}, seeds=(0,), metrics=rates, claims=())
    text = markdown(report)
    assert "percent, tracks per video, false positives per frame, ids per recalled box as named" in text
    assert all(each in text for each in ("tracks per video ", "false positives per frame↓ ", "ids per recalled box↓ "))
    assert "50.0" not in text


@pytest.mark.parametrize(
    ("metric", "mean", "std", "text"),
    [
        ("AP", 55.6, 0.05, "55.6 ± 0.05"),
        ("AP", 68, None, "68.0"),
        ("IDs", 202.0, None, "202"),
        ("AR1", None, None, "–"),
    ],
)
def test_published_numbers_stay_as_printed(metric, mean, std, text):
    assert published_text(metric, mean, std) == text
