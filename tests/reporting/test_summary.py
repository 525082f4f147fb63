"""Cells over seeds: hand values, and what stands where there is no number."""

import math

import pytest
from made_records import PROVENANCE

from ifrvis.harness.store.provenance import Code
from ifrvis.reporting.formats import markdown
from ifrvis.reporting.frame import tidy_frame
from ifrvis.reporting.style import measured_text, published_text
from ifrvis.reporting.summary import Cell, summarise

ROW = "mask2former-r50-ytvis19"


def cell(state, metric="AP"):
    return summarise(state, tidy_frame([state]))[ROW, metric]


def test_mean_and_std_equal_hand_values(make_state):
    state = make_state("table1", {ROW: {0: 0.2, 1: 0.4, 2: 0.6, 3: 0.8}}, seeds=range(4))
    found = cell(state)
    assert found.n == 4
    assert found.mean == pytest.approx(0.5, abs=1e-15)
    assert found.std == pytest.approx(math.sqrt(0.2 / 3), abs=1e-15)  # squares .09 .01 .01 .09 over n - 1


def test_one_seed_prints_no_plus_minus(make_state):
    state = make_state("table1", {ROW: {0: 0.271}}, seeds=[0])
    assert cell(state) == Cell(1, mean=0.271)
    assert "| 27.1 |" in markdown(state)
    assert "1 of 5 seeds (0) · one seed, no std" in markdown(state)


@pytest.mark.parametrize("state", ["running", "failed", "pending"])
def test_partial_cell_says_how_many_and_the_note_which(make_state, state):
    state = make_state("table1", {ROW: {0: 0.2, 3: 0.4}}, seeds=range(5), states={ROW: state})
    assert cell(state) == Cell(2, missing="2/5")
    assert "no record of seed 1, 2, 4" in markdown(state)


@pytest.mark.parametrize("state", ["not run", "not implemented", "data missing", "pending", "running", "failed"])
def test_cell_without_records_says_its_state(make_state, state):
    assert cell(make_state("table1", {ROW: {}}, states={ROW: state})) == Cell(0, missing=state)


def test_record_of_another_protocol_makes_no_number(make_state):
    state = make_state("table1", {ROW: {0: 0.2, 1: 0.3}}, protocol="server", states={ROW: "other protocol"})
    assert cell(state) == Cell(0, missing="other protocol")


def test_metric_that_no_record_holds_is_not_scored(make_state):
    state = make_state("table1", {ROW: {0: {"AP": 0.2}, 1: {"AP": 0.3}}})
    assert cell(state, "AR10") == Cell(0, missing="not scored")


def test_record_of_a_seed_not_asked_for_does_not_count(make_state):
    state = make_state("table1", {ROW: {0: 0.2, 1: 0.4, 4: 0.9}})
    assert cell(state).mean == pytest.approx(0.3)


def test_undefined_metric_of_any_seed_is_a_dash_with_a_note(make_state):
    values = dict.fromkeys(("AP50", "AP75", "AR1", "AR10"), 0.5)
    state = make_state("table1", {ROW: {0: {"AP": None, **values}, 1: {"AP": 0.3, **values}}})
    assert cell(state) == Cell(2, missing="–")
    assert "AP undefined in at least one seed" in markdown(state)


def test_records_of_several_states_of_the_code_are_called_mixed(make_state):
    state = make_state("table1", {ROW: {0: 0.2, 1: 0.3}})
    assert "mixed" not in markdown(state)
    again = make_state("table1", {ROW: {0: 0.2, 1: 0.3}})
    code = Code(version="1", commit="d" * 40)
    provenance = PROVENANCE.model_copy(update={"code": code})
    again.rows[0].records[1] = again.rows[0].records[1].model_copy(update={"provenance": provenance})
    assert f"{ROW}: mixed, its records come from 2 states of the code" in markdown(again)


def test_tidy_frame_has_a_row_for_each_record_and_metric_of_all_tables(make_state):
    first = make_state("table1", {ROW: {0: 0.2, 1: None}})
    second = make_state("table3", {ROW: {0: 0.4}})
    frame = tidy_frame([first, second])
    assert len(frame) == 15
    assert frame["value"].isna().sum() == 5
    assert frame["published_mean"].isna().sum() == 4  # the paper's AR1 and AR10, once a seed
    assert summarise(second, frame)[ROW, "IDF1"] == Cell(1, missing="1/2")


def test_empty_frame_has_the_columns(make_state):
    frame = tidy_frame([make_state("table1", {ROW: {}})])
    assert len(frame) == 0
    assert frame["value"].dtype == float


def test_smoke_frame_holds_no_value_of_the_paper(make_state):
    frame = tidy_frame([make_state("table1", {ROW: {0: 0.2}}, profile="smoke")])
    assert frame["published_mean"].isna().all()


@pytest.mark.parametrize(
    ("metric", "mean", "std", "text"),
    [
        ("AP", 0.4644, 0.0081, "46.4 ± 0.8"),
        ("AP", 0.4644, None, "46.4"),
        ("AP", 0.556, 0.0004, "55.6 ± 0.04"),
        ("AP", 0.5, 0.0, "50.0 ± 0.00"),
        ("MOTA", -0.0161, None, "-1.6"),
        ("MOTA", -0.0001, None, "0.0"),
        ("IDs", 110, None, "110"),
        ("IDs", 108.5, 2.12, "108.5 ± 2.1"),
    ],
)
def test_measured_numbers_are_percent_and_counts_counts(metric, mean, std, text):
    assert measured_text(metric, mean, std) == text


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
