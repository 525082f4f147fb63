"""Whole reports against golden files, one for each state that a table can be in."""

import csv
import hashlib
import io
import json

import pytest

from ifrvis.errors import UserError
from ifrvis.reporting.as_json import table_json
from ifrvis.reporting.formats import claims_latex, latex, markdown, render_terminal, seeds_csv, summary_csv
from ifrvis.reporting.report import write_report
from ifrvis.reporting.web.page import table_html

M2F, OURS, OURS_R50 = "mask2former-r50-ytvis19", "ours-r101-ytvis19", "ours-r50-ytvis19"
TRACKING = {"IDF1": 0.625, "MOTA": -0.0161, "IDP": 0.5, "IDR": 0.75, "IDs": 110}
BETTER = {"IDF1": 0.645, "MOTA": 0.0239, "IDP": 0.52, "IDR": 0.77, "IDs": 107}


@pytest.fixture
def states(make_state):
    spread = {seed: 0.25 + 0.01 * seed for seed in range(5)}
    better = {seed: value + 0.05 + 0.001 * (seed % 2) for seed, value in spread.items()}
    near = {seed: 0.46 + 0.005 * seed for seed in range(5)}
    rows = {M2F: near, OURS_R50: {seed: value - 0.03 + 0.001 * (seed % 2) for seed, value in near.items()}}
    return {
        "complete": make_state("table1", {M2F: spread, OURS_R50: better, OURS: spread}, seeds=range(5)),
        "empty": make_state("table1", {M2F: {}, OURS_R50: {}}, states={M2F: "not run", OURS_R50: "pending"}),
        "external": make_state(
            "table1", rows, seeds=range(5), profile="paper", protocol="server", scored="server", metrics=("AP", "AP50")
        ),
        "partial": make_state(
            "table1",
            {M2F: {0: 0.25, 1: 0.27}, OURS: {1: 0.5}, "seqformer-r50-coco-ytvis19": {}},
            states={OURS: "running", "seqformer-r50-coco-ytvis19": "not implemented"},
        ),
        "one-seed": make_state("table3", {M2F: {0: TRACKING}}, seeds=[0], profile="paper"),
        "failed": make_state("table1", {M2F: {}, OURS: {}}, states={M2F: "failed", OURS: "data missing"}),
        "tracking": make_state("table3", {M2F: {0: TRACKING, 1: BETTER}}, profile="paper"),
        "smoke": make_state("table1", {M2F: {0: 0.01, 1: 0.02}}, profile="smoke", off_spec="--dataset real_vis"),
    }


@pytest.mark.parametrize(
    "name", ["complete", "empty", "external", "partial", "one-seed", "failed", "tracking", "smoke"]
)
def test_report_equals_its_golden_files(name, states, golden):
    golden(f"{name}.md", markdown(states[name]))
    golden(f"{name}.tex", latex(states[name]))
    golden(f"{name}.csv", seeds_csv(states[name]))
    golden(f"{name}-summary.csv", summary_csv(states[name]))
    golden(f"{name}.txt", render_terminal(states[name], 80))
    golden(f"{name}.html", table_html(states[name]))
    if name == "external":
        golden(f"{name}-claims.tex", claims_latex(states[name]))
        golden(f"{name}.json", table_json(states[name]))


def test_smoke_is_said_in_every_head_and_never_stands_beside_the_paper(states):
    state = states["smoke"]
    assert markdown(state).startswith("# smoke, off-spec (--dataset real\\_vis) · Table 1")
    assert r"\caption{smoke, off-spec" in latex(state)
    assert render_terminal(state, 200).startswith("smoke, off-spec")
    for text in (markdown(state), latex(state), seeds_csv(state), summary_csv(state), render_terminal(state)):
        assert "smoke" in text
        assert "paper" not in text.replace("(Table 1 of the paper)", "")
        assert "46.4" not in text


def test_figure_without_published_heights_has_no_column_of_the_paper(make_state):
    text = markdown(make_state("figure4", {"ours-r50-lambda0.3-ytvis19": {0: 0.2, 1: 0.3}}))
    assert "AP↑ heldout" in text
    assert "AP↑ paper" not in text


@pytest.mark.parametrize(
    ("name", "profile", "protocol", "head"),
    [
        ("table1", "paper", "heldout", "paper (server)"),
        ("table1", "paper", "server", "paper (server)"),
        ("table1", "mini", "heldout", "paper (YouTube-VIS 2019, server)"),
        ("table4", "mini", "heldout", "paper (YouTube-VIS 2019/2021, server)"),
        ("table3", "paper", "heldout", "paper (held-out)"),
    ],
)
def test_heads_name_where_numbers_come_from(make_state, name, profile, protocol, head):
    rows = {key: {} for key in (M2F, "ours-swin-l-ytvis19", "ours-swin-l-ytvis21")}
    text = markdown(make_state(name, rows, profile=profile, protocol=protocol))
    assert head in text
    assert f"↑ {protocol} |" in text
    assert ("only differences between rows" in text) == ((name, profile, protocol) == ("table1", "paper", "heldout"))


def test_terminal_keeps_to_the_width_and_loses_no_column(states):
    for width in (60, 80, 120, 400):
        text = render_terminal(states["complete"], width)
        assert max(map(len, text.splitlines())) <= width
        assert all(text.count(f" {metric}↑") == 2 for metric in ("AP", "AP50", "AP75", "AR1", "AR10"))
        assert all(line.split().count("paper") == line.split().count("heldout") for line in text.splitlines()[3:-1])


def test_seeds_csv_keeps_full_precision(make_state):
    state = make_state("table1", {M2F: {0: 1 / 3, 1: 0.1 + 0.2}})
    lines = list(csv.DictReader(io.StringIO(seeds_csv(state))))
    assert [(line["seed"], float(line["value"])) for line in lines if line["metric"] == "AP"] == [
        ("0", 1 / 3),
        ("1", 0.1 + 0.2),
    ]
    assert (lines[0]["paper_mean_as_printed"], lines[0]["paper_std_as_printed"]) == ("46.4", "0.8")


def test_written_report_lists_the_records_and_outputs_behind_it(states, tmp_path):
    paths = write_report(states["complete"], tmp_path)
    write_report(states["tracking"], tmp_path)
    endings = [".md", ".tex", ".html", ".csv", "-summary.csv", ".json", "-claims.tex"]
    assert [path.name for path in paths] == [*(f"table1{ending}" for ending in endings), "manifest.json"]
    reports = json.loads((tmp_path / "manifest.json").read_text())["reports"]
    assert set(reports) == {"table1", "table3"}
    assert len(reports["table1"]["records"]) == 15
    assert reports["table1"]["records"][f"{M2F}-seed3-{0:012x}-{0:012x}.json"] == f"{3:064x}"
    for name, digest in reports["table1"]["outputs"].items():
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest


def test_report_is_the_same_bytes_again_whatever_the_order_of_records(make_state, tmp_path):
    forth = make_state("table1", {M2F: {0: 0.1, 1: 0.7}})
    back = make_state("table1", {M2F: {1: 0.7, 0: 0.1}})
    first = [path.read_bytes() for path in write_report(forth, tmp_path)]
    assert [path.read_bytes() for path in write_report(back, tmp_path)] == first


def test_off_spec_report_never_takes_the_place_of_the_tables_own(make_state, tmp_path):
    state = make_state("table1", {M2F: {0: 0.1, 1: 0.7}}, off_spec="--set train.iterations=3")
    assert write_report(state, tmp_path)[0].name == "table1-off-spec.md"


@pytest.mark.parametrize("content", ["[]", "{", '{"schema": 2, "reports": {}}', '{"schema": 1, "reports": 1}'])
def test_broken_manifest_is_refused_before_anything_is_written(states, tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(UserError, match="manifest"):
        write_report(states["complete"], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]
