"""What a table may say: rows on any data set with a schedule, quoted rows, and nothing that contradicts itself.

Also tests: ifrvis.packed.
"""

import dataclasses
import json
import re
from pathlib import Path

import pytest
import yaml

from ifrvis.cli import main
from ifrvis.errors import UserError
from ifrvis.harness.plan.planner import make_plan
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.spec.tables import command_name, load_table, load_tables
from ifrvis.packed import packed

QUOTED = {
    "id": "theirs-r50-ovis",
    "method": "theirs",
    "backbone": "r50",
    "dataset": "ovis",  # no YAML is needed of what is not run
    "published": {"AP": [16.5, None]},
    "quoted": True,
    "source": "Table 3 of their paper",
    "protocol": "server",
}
RUN = {"id": "ours-r50-mine", "method": "ours", "backbone": "r50", "dataset": "ytvis19"}


@pytest.fixture
def load(tmp_path):
    """Load a small table: `load(rows, **changes)`."""

    def write_and_load(rows, **changes):
        table = {"name": "mine", "title": "Mine.", "place": "nowhere", "protocol": "heldout"}
        table |= {"seeds": [0, 1], "metrics": ["AP"], "rows": rows} | changes
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(table))
        return load_table(str(tmp_path / "mine.yaml"))

    return write_and_load


@pytest.mark.parametrize(
    ("rows", "changes", "message"),
    [
        ([RUN | {"id": "ours_r50"}], {}, "Rename row 'ours_r50'"),
        ([RUN | {"method": "../x"}], {}, "Rename '../x'"),
        ([RUN | {"backbone": "/tmp/x"}], {}, "Rename '/tmp/x'"),
        (
            [RUN | {"dataset": "mini-ovsi"}],
            {},
            "no dataset 'mini-ovsi' (did you mean 'mini-ovis'?) (in item 0 ('ours-r50-mine')",
        ),
        ([], {}, "at least 1 item"),
        (
            [RUN | {"frames": 2}, RUN | {"id": "ours-r50-other", "frames": 2}],
            {"axis": {"key": "frames", "label": "frames", "reading": "None."}},
            "Let row 'ours-r50-mine' alone be where it is on the axis",
        ),
        ([RUN, {**RUN}], {}, "Remove or rename one of the two rows 'ours-r50-mine'"),
        ([RUN | {"published": {"AR1": [1.0, None]}}], {}, "Add 'AR1' to 'metrics'"),
        ([RUN | {"source": "x"}], {}, "Add 'quoted: true'"),
        ([QUOTED | {"source": ""}], {}, "Give a quoted row 'published' values"),
        ([QUOTED | {"protocol": None}], {}, "Give a quoted row 'published' values"),
        ([QUOTED | {"set": {"train.iterations": 1}}], {}, "a quoted row is not run"),
        ([QUOTED | {"frames": 2}], {}, "a quoted row is not run"),
        ([QUOTED | {"videos": ["a"]}], {}, "a quoted row is not run"),
        ([RUN | {"frames": 0}], {}, "'frames' in item 0"),
        ([RUN | {"frames": 2}], {"protocol": "server"}, "Remove 'frames' and 'videos' of row 'ours-r50-mine'"),
        ([RUN], {"seeds": [0, 0]}, "Remove one of the two 0"),
        ([RUN], {"seeds": []}, "'seeds'"),
        ([RUN], {"seeds": [-1]}, "item 0 in 'seeds'"),
        ([RUN], {"metrics": ["AP", "IDf1"]}, "errors_at_half, Parameters, FPS: there is no 'IDf1'"),
        ([RUN | {"published": {"AP": [1.0, -0.5]}}], {}, "greater than or equal to 0, and is -0.5"),
        ([RUN], {"metrics": ["AP", "AP"]}, "Remove one of the two 'AP'"),
        ([RUN], {"axis": {"key": "model.x", "label": "x", "reading": ""}}, "Set 'model.x' of row 'ours-r50-mine'"),
        (
            [RUN],
            {"axis": {"key": "frames", "label": "x", "reading": "", "gap": ["Ours", "Mine"]}},
            "Let 'gap' name two",
        ),
        ([RUN], {"paper": {"tolerance": {"AP50": 1.0}}}, "Add 'AP50' to 'metrics', or drop it from 'tolerance'"),
        ([RUN], {"paper": {"tolerance": {"AP": -1}}}, "'AP' in 'tolerance' in 'paper'"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(load, rows, changes, message):
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        load(rows, **changes)
    assert "mine.yaml" in str(caught.value)


def test_a_row_on_a_dataset_without_a_schedule_is_refused(load, tmp_path):
    text = packed("experiments", "datasets", "real_vis.yaml").read_text().replace("name: real_vis", "name: mine")
    (tmp_path / "real_vis.yaml").write_text(text.replace("schedule: ytvis19\n", ""))
    with pytest.raises(UserError, match=r"real_vis\.yaml to one of ytvis19, ytvis21: rows train on it"):
        load([RUN | {"dataset": str(tmp_path / "real_vis.yaml")}])


@pytest.mark.parametrize(("profile", "own", "shared"), [("real", ["real"], False), ("mini", ["ovis"], True)])
def test_a_profiles_own_tables_are_for_no_other_and_the_shared_for_those_that_map_their_sets(profile, own, shared):
    of_all = ["ablation", "figure4", "length", *(f"table{k}" for k in range(1, 5))]
    names = {
        each: [table.name for table in load_tables(["all"], load_profile(each))] for each in (profile, "smoke", "paper")
    }
    assert names == {profile: of_all * shared + own, "smoke": of_all, "paper": of_all}
    said = rf"^Give --profile {profile}: table {own[0]} is for it alone, and this is smoke"
    with pytest.raises(UserError, match=said):
        load_tables(own, load_profile("smoke"))


def test_both_methods_are_trained_on_the_crowded_set_as_on_the_others(make_request):
    said = {"profile": "mini", "num_seeds": 5, "pretraining": True}
    plan = make_plan(make_request("ovis", rows=None, **said))
    runs = [each for each in plan.trainings if not each.is_pretraining]
    assert {each.dataset.name for each in runs} == {"mini-ovis"}
    rows = ("mask2former-r50-ytvis21", "ours-r50-ytvis21")
    table3 = [
        each for each in make_plan(make_request("table3", rows=rows, **said)).trainings if not each.is_pretraining
    ]
    of_table3, found = (
        {(each.method, each.seed): each.spec.model_dump(exclude={"data"}) for each in of} for of in (table3, runs)
    )
    assert found == of_table3


def test_a_claim_is_on_rows_that_are_run(load):
    claim = {"text": "Ours is better.", "pairs": [["ours-r50-mine", "theirs-r50-ovis"]]}
    claim["says"] = [{"metric": "AP", "of": "mean", "side": "higher"}]
    with pytest.raises(UserError, match=r"^Make the claim 'Ours is better"):
        load([RUN, QUOTED], claims=[claim])


def test_a_table_that_is_called_like_another_takes_no_place_of_its_reports(load, tmp_path):
    load([RUN], name="table1")
    smoke = load_profile("smoke")
    own, same = str(tmp_path / "mine.yaml"), str(packed("experiments", "tables", "table1.yaml"))
    with pytest.raises(
        UserError, match=r"^Change 'name' in .*mine.yaml: another table is called 'table1', whose reports"
    ):
        load_tables([own], smoke)
    assert [each.name for each in load_tables([same], smoke)] == ["table1"]
    load([RUN], name="other")
    (tmp_path / "first.yaml").write_text((tmp_path / "mine.yaml").read_text().replace("Mine", "First"))
    with pytest.raises(UserError, match=r"^Change 'name' in .*first.yaml: another table is called 'other'"):
        load_tables([str(tmp_path / "first.yaml"), own], smoke)


def test_no_claim_is_on_frames_a_second(load):
    claim = {"text": "Ours is faster.", "place": "", "pairs": [["ours-r50-mine", "ours-r50-other"]]}
    claim["says"] = [{"metric": "FPS", "of": "mean", "side": "higher"}]
    with pytest.raises(UserError, match=r"^Make the claim 'Ours is faster.' one on other columns than FPS"):
        load([RUN, RUN | {"id": "ours-r50-other"}], metrics=["AP", "FPS"], claims=[claim])


def test_a_quoted_row_is_never_planned(load, make_request):
    request = dataclasses.replace(make_request(rows=None), tables=(load([RUN, QUOTED]),))
    plan = make_plan(request)
    assert [planned.row.id for planned in plan.rows] == ["ours-r50-mine"]
    assert len(plan.trainings) == 2
    with pytest.raises(UserError, match="all that --rows names are quoted"):
        make_plan(dataclasses.replace(request, rows=("theirs-r50-ovis",)))


def test_a_row_on_an_imported_data_set_is_a_row_like_another(load, make_request, tmp_path):
    text = packed("experiments", "datasets", "smoke19.yaml").read_text()
    path = tmp_path / "my data.yaml"
    path.write_text(text.replace("name: smoke19", "name: mine").replace("schedule: ytvis19", "schedule: ytvis21"))
    table = load([RUN | {"dataset": str(path)}])
    request = dataclasses.replace(make_request(profile="paper", rows=None, num_seeds=1), tables=(table,))
    plan = make_plan(request)
    (training,) = plan.trainings
    assert not plan.rows[0].off_spec
    assert training.name == "ours-r50-mine-s0"
    assert training.dataset.name == "mine"
    assert training.split.fingerprint
    assert training.spec.iterations == 8000  # of the schedule that its YAML names


def test_the_table_and_the_data_set_of_the_docs_work_as_they_stand(tmp_path, monkeypatch, capsys):
    text = Path(__file__).parents[3].joinpath("docs", "add-a-row.md").read_text()
    for block, name in re.findall(r"```yaml\n(# (\S+)\n.*?)```", text, re.DOTALL):
        (tmp_path / name).write_text(block)
    names = [f"{name}/{t}.jpg" for name in ("street_1", "street_2", "park", "quay", "yard") for t in range(2)]
    for name in names:
        (tmp_path / "data" / "mine" / "JPEGImages" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / "mine" / "JPEGImages" / name).touch()
    videos = [{"id": k, "width": 4, "height": 4, "file_names": names[2 * k : 2 * k + 2]} for k in range(5)]
    content = {"videos": videos, "categories": [{"id": k, "name": str(k)} for k in (1, 2)], "annotations": []}
    (tmp_path / "data" / "mine" / "instances.json").write_text(json.dumps(content))
    (tmp_path / "results").mkdir()
    monkeypatch.chdir(tmp_path)
    for variable in ("IFRVIS_DATA", "IFRVIS_RESULTS"):
        monkeypatch.delenv(variable, raising=False)
    assert main(["plan", "my-table.yaml", "--profile", "mini"]) == 0
    said = capsys.readouterr().out
    assert "\nmy-table\n  mask2former-r50-mine                 0/2  not run\n" in said
    assert main(["report", "my-table.yaml", "--profile", "mini"]) == 0
    assert "; `ifrvis report all my-table.yaml` makes the page" in capsys.readouterr().out
    assert (command_name(load_table("my-table.yaml")), command_name(load_table("table1"))) == ("TABLE.yaml", "table1")
    page = (tmp_path / "reports" / "mini" / "my-table.md").read_text()
    assert "| ours | r50-mine |" in page
    assert "**not run**: Ours tracks better. (0 of 1 tests decided)" in page
