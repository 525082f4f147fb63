"""Whole reports against golden files, one for each report that a table can be in.

Also tests: ifrvis.reporting.formats, ifrvis.reporting.grid.
"""

import hashlib
import json
import re
from dataclasses import replace

import pytest

from ifrvis.errors import UserError
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.reporting.formats import claims_latex, compact_latex, latex, markdown, seeds_csv, table_json, terminal
from ifrvis.reporting.output import write_report
from ifrvis.reporting.over_videos import Kept, key_of

M2F, OURS, OURS_R50 = "mask2former-r50-ytvis19", "ours-r101-ytvis19", "ours-r50-ytvis19"
TRACKING = {"IDF1": 0.625, "MOTA": -0.0161, "IDP": 0.5, "IDR": 0.75, "IDs": 110}
BETTER = {"IDF1": 0.645, "MOTA": 0.0239, "IDP": 0.52, "IDR": 0.77, "IDs": 107}


@pytest.fixture
def reports(make_report):
    spread = {seed: 0.25 + 0.01 * seed for seed in range(5)}
    better = {seed: value + 0.05 + 0.001 * (seed % 2) for seed, value in spread.items()}
    near = {seed: 0.46 + 0.005 * seed for seed in range(5)}
    rows = {M2F: near, OURS_R50: {seed: value - 0.03 + 0.001 * (seed % 2) for seed, value in near.items()}}
    complete = make_report("table1", {M2F: spread, OURS_R50: better, OURS: spread}, seeds=range(5))
    kept = [
        Kept(rows=rows, records=key_of(records), resamples=2000, seed=0, intervals={"AP": (0.031, 0.068)})
        for rows, records in complete.comparable.items()
    ]
    return {
        "complete": replace(complete, kept=kept),
        "empty": make_report("table1", {M2F: {}, OURS_R50: {}}),
        "external": make_report(
            "table1", rows, seeds=range(5), profile="paper", protocol="server", scored="server", metrics=("AP", "AP50")
        ),
        "partial": make_report("table1", {M2F: {0: 0.25, 1: 0.27}, OURS: {1: 0.5}, "seqformer-r50-coco-ytvis19": {}}),
        "one-seed": make_report("table3", {M2F: {0: TRACKING}}, seeds=[0], profile="paper"),
        "tracking": make_report("table3", {M2F: {0: TRACKING, 1: BETTER}}, profile="paper"),
        "smoke": make_report("table1", {M2F: {0: 0.01, 1: 0.02}}, profile="smoke", request={"dataset": "real_vis"}),
    }


@pytest.mark.parametrize("name", ["complete", "empty", "external", "partial", "one-seed", "tracking", "smoke"])
def test_report_equals_its_golden_files(name, reports, golden, shown):
    golden(f"{name}.md", markdown(reports[name]))
    golden(f"{name}.tex", latex(reports[name]))
    golden(f"{name}.csv", seeds_csv(reports[name]))
    golden(f"{name}.txt", shown(terminal(reports[name]), 80))
    if name == "external":
        golden(f"{name}-claims.tex", claims_latex(reports[name]))
        golden(f"{name}-compact.tex", compact_latex(reports[name]))
        golden(f"{name}.json", table_json(reports[name]))
    if name == "smoke":
        for text in (markdown(reports[name]), latex(reports[name]), seeds_csv(reports[name])):
            assert "smoke" in text
            assert "46.4" not in text


def test_a_report_that_is_written_while_another_is_drawn_stays_in_the_manifest(make_report, tmp_path, monkeypatch):
    other = make_report("table1", {M2F: {0: 0.25}})

    def draw(_):
        write_report(other, tmp_path)
        return {}

    monkeypatch.setattr("ifrvis.reporting.output.figure_files", draw)
    write_report(make_report("figure4", {"ours-r50-lambda0.3-ytvis19": {0: 0.2}}), tmp_path)
    assert [*json.loads((tmp_path / "manifest.json").read_text())["reports"]] == ["figure4", "table1"]


def test_figure_without_published_heights_has_no_column_of_the_paper(make_report):
    text = markdown(make_report("figure4", {"ours-r50-lambda0.3-ytvis19": {0: 0.2, 1: 0.3}}))
    assert "AP↑ heldout" in text
    assert "AP↑ paper" not in text


@pytest.mark.parametrize(
    ("name", "profile", "protocol", "head"),
    [
        ("table1", "paper", "heldout", "paper (server)"),
        ("table1", "paper", "server", "paper (server)"),
        ("table1", "mini", "heldout", "paper (YouTube-VIS 2019, server)"),
        ("table4", "mini", "heldout", "paper (YouTube-VIS 2019, YouTube-VIS 2021, server)"),
        ("table3", "paper", "heldout", "paper (held-out)"),
    ],
)
def test_heads_name_where_numbers_come_from(make_report, name, profile, protocol, head):
    rows = {key: {} for key in (M2F, "ours-swin-l-ytvis19", "ours-swin-l-ytvis21")}
    text = markdown(make_report(name, rows, profile=profile, protocol=protocol))
    assert head in text
    assert f"↑ {protocol} |" in text
    assert ("only differences between rows" in text) == ((name, profile, protocol) == ("table1", "paper", "heldout"))


@pytest.mark.parametrize("name", ["table3", "ablation"])
def test_what_must_be_known_of_a_profiles_numbers_stands_in_every_head(make_report, name):
    said = load_profile("mini").head
    head = markdown(make_report(name, {"ours-r50-ytvis19": {0: 0.2}})).split("\n\n")[1]
    assert said
    assert all(text in head for text in said)


def test_the_compact_table_has_the_complete_rows_alone(make_report):
    report = make_report("table1", {M2F: {0: 0.25, 1: 0.27}, OURS: {1: 0.5}, OURS_R50: {0: 0.31, 1: 0.31}})
    text = compact_latex(report)
    assert [text.count(each) for each in ("ResNet-50 Y &", "ResNet-101", r"\paperrow{\quad paper", "46.4")] == [
        2,
        0,
        2,
        1,
    ]
    assert "not a comparison" in text
    assert compact_latex(make_report("table1", {OURS: {1: 0.5}})) == ""


@pytest.mark.parametrize("width", [60, 80, 120, 400])
def test_terminal_keeps_to_the_width_and_loses_no_number(reports, shown, width):
    text = shown(terminal(reports["complete"]), width)
    assert max(map(len, text.splitlines())) <= width
    digits = re.sub(r"[^0-9]", "", "".join(text.split()))
    assert all(head in text for head in ("AP↑", "AP50↑", "AR10↑"))
    assert digits.count("320") >= 5  # 32.0 in each of five columns


def test_written_report_lists_the_records_and_outputs_behind_it(reports, tmp_path):
    paths = write_report(reports["complete"], tmp_path)
    write_report(reports["tracking"], tmp_path)
    endings = [".md", ".tex", "-compact.tex", ".csv", ".json", "-claims.tex"]
    assert [path.name for path in paths] == [*(f"table1{ending}" for ending in endings), "manifest.json"]
    reports = json.loads((tmp_path / "manifest.json").read_text())["reports"]
    assert set(reports) == {"table1", "table3"}
    assert len(reports["table1"]["records"]) == 15
    assert reports["table1"]["records"][f"{M2F}-s3-{0:012x}-{0:012x}.json"] == f"{3:064x}"
    for name, digest in reports["table1"]["outputs"].items():
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest


def test_a_file_that_a_report_has_no_more_does_not_stay_beside_it(make_report, tmp_path):
    write_report(make_report("table3", {M2F: {0: 0.1, 1: 0.7}}), tmp_path)
    written = write_report(make_report("table1", {M2F: {0: 0.1, 1: 0.7}}), tmp_path)
    assert tmp_path / "table1-compact.tex" in written
    again = write_report(make_report("table1", {M2F: {0: 0.1}}), tmp_path)
    assert set(tmp_path.glob("table1*")) == {*again} - {tmp_path / "manifest.json"} < {*written}
    assert (tmp_path / "table3-compact.tex").exists()


def test_report_is_the_same_bytes_again_whatever_the_order_of_records(make_report, tmp_path):
    forth = make_report("table1", {M2F: {0: 0.1, 1: 0.7}})
    back = make_report("table1", {M2F: {1: 0.7, 0: 0.1}})
    first = [path.read_bytes() for path in write_report(forth, tmp_path)]
    assert [path.read_bytes() for path in write_report(back, tmp_path)] == first


def test_off_spec_report_never_takes_the_place_of_the_tables_own(make_report, tmp_path):
    report = make_report("table1", {M2F: {0: 0.1, 1: 0.7}}, request={"overrides": {"train.iterations": 3}})
    assert write_report(report, tmp_path)[0].name == "table1-off-spec.md"


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{",
        *(f'{{"schema": {of}}}' for of in ('1, "reports": {"old": NaN}', '1, "reports": {}', '2, "reports": 1')),
    ],
)
def test_broken_manifest_is_refused_before_anything_is_written(reports, tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(UserError, match="manifest"):
        write_report(reports["complete"], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_a_row_without_a_label_is_called_by_its_id(make_report, shown):
    report = make_report("table1", {M2F: {0: 0.5}}, seeds=[0])
    for row, name in [("ours-r50-slow-y", "ours r50-slow-y"), ("theirs", "theirs (external)")]:
        method = "external" if name.endswith("(external)") else "ours"
        own = report.rows[0].row.model_copy(update={"id": row, "method": method, "label": "", "group": "", "data": ""})
        table = report.table.model_copy(update={"rows": (own,)})
        assert name in shown(terminal(replace(report, table=table, rows=(replace(report.rows[0], row=own),))), 100)


@pytest.mark.parametrize("values", [{0: 0.25}, {}])
def test_rows_of_which_there_is_nothing_are_counted_on_the_terminal_unless_they_were_named(make_report, shown, values):
    given = {"ours-r101-ytvis19": {}, M2F: values, OURS_R50: {}}
    report = make_report("table1", given)
    whole = replace(report, request=replace(report.request, rows=None))
    for each, named in ((report, 3), (whole, bool(values))):
        text = shown(terminal(each), 120)
        assert [len(re.findall(r"^ \S.* Y +\d  ", text, re.MULTILINE)), "(in brackets" in text] == [named, named > 0]
    assert f"\n{3 - bool(values)} of 3 rows are not run: table1.md has them\n" in text
    assert markdown(whole) == markdown(report)
