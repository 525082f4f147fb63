"""`reproduce`: a kept run made again, with a worker that counts, beside its record.

Also tests: ifrvis.commands.launching, ifrvis.analysis.reproduction.
"""

import json
import shutil
from pathlib import Path

import fake_worker
import kept_runs
import pytest
import yaml
from made_records import made_record, made_train, record_of

import ifrvis.worker
from ifrvis.analysis.reproduction import other_seeds, reproduction
from ifrvis.cli import main
from ifrvis.datasets.catalog import load_dataset
from ifrvis.harness.plan.plan import Request
from ifrvis.harness.plan.planner import make_plan
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.spec.tables import load_table
from ifrvis.harness.store.paths import Store
from ifrvis.harness.store.records import publish_record
from ifrvis.packed import packed

ROW = "mask2former-r50-ytvis19"


@pytest.fixture
def call(smoke_data, tmp_path, monkeypatch, capsys):
    """A command on profile smoke without its pretraining: its status and what it said."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    monkeypatch.setattr(ifrvis.worker, "run_attempt", fake_worker.run_attempt)
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parents[1]}:{Path(__file__).parents[2]}")  # jobs find it there
    roots = ("--profile", tmp_path / "smoke.yaml", "--data-root", smoke_data, "--results", tmp_path / "kept")

    def call(*arguments, better=0.0):
        monkeypatch.setenv("IFRVIS_FAKE", json.dumps({"better": better}))
        status = main([*map(str, ("reproduce", *arguments, *roots, "--into", tmp_path / "again"))])
        said = capsys.readouterr()
        return status, json.loads(said.out) if "--json" in arguments else " ".join("".join(said).split())

    return call


@pytest.fixture
def keep(smoke_data, tmp_path):
    """Records as the worker makes them, of so many seeds; the path of that of seed 0."""

    def keep(seeds, table="table3", **changes):
        load_dataset("smoke19", smoke_data).make("heldout")
        profile, store = load_profile(kept_runs.without_pretraining(tmp_path)), Store(tmp_path / "kept")
        request = Request((load_table(table),), profile, (ROW,), seeds, data_root=smoke_data, store=store, **changes)
        for training in make_plan(request).trainings:
            metrics = dict.fromkeys(("AP", "AP50", "AP75", "AR1", "AR10"), 0.5 + training.seed / 100)
            publish_record(store, record_of(training, training.evaluations[0], metrics))
        return next(store.records("smoke").glob("*-s0-*.json"))

    return keep


@pytest.mark.parametrize(
    ("seeds", "better", "status", "said"),
    [
        (1, 0.0, 0, "The same bits"),
        (1, 0.01, 1, "takes two other seeds to say: kept are 0"),
        (5, 0.02, 0, "Reproduced up to chance"),
        (5, 0.3, 1, "Not reproduced: AP outside"),
    ],
)
def test_a_run_made_again_is_set_beside_its_record(call, keep, tmp_path, seeds, better, status, said):
    keep(seeds)
    before = {path: path.read_bytes() for path in (tmp_path / "kept").rglob("*") if path.is_file()}
    found, text = call(ROW, "--seed", 0, better=better)
    assert (found, said in text) == (status, True), text
    assert "1 training, 1 to run" in text
    assert ("table1: " in text, "ablation: " in text, "table4: " in text) == (True, False, False), "its first row alone"
    assert {path: path.read_bytes() for path in before} == before
    again = call(ROW, "--seed", 0)[1]
    assert ("1 to run" in again, said in again) == (False, True), "what was made again is there"


def test_a_row_is_made_again_as_it_was_named(call, keep):
    keep(1)
    text = call(f"table3/{ROW}", "--seed", 0)[1]
    assert ("table3: " in text, "table1: " in text) == (True, False)


def test_a_launch_says_first_what_is_kept_and_how_to_make_it_again(call, keep, smoke_data, tmp_path, capsys):
    keep(2)
    roots = ("--data-root", smoke_data, "--results", tmp_path / "kept", "--reports", tmp_path / "reports")
    options = ("--rows", ROW, "--seeds", 2, "--profile", tmp_path / "smoke.yaml", *roots)
    assert main([*map(str, ("run", "table3", *options))]) == 0
    said = (
        f"kept records of 2 trainings (processor: one) are not trained again; `ifrvis reproduce table3/{ROW} --seed 0`"
    )
    assert said in capsys.readouterr().out.splitlines()[1]
    mine, row = tmp_path / "mine.yaml", f"{{id: {ROW}, method: mask2former, backbone: r50, dataset: ytvis19}}"
    mine.write_text(f"name: my-own\nseeds: [0, 1]\nmetrics: [AP]\nrows: [{row}]\n")
    assert main([*map(str, ("run", mine, *options))]) == 0
    said = f"are not trained again; `ifrvis reproduce TABLE.yaml/{ROW} --seed 0` trains one again, beside it"
    assert said in capsys.readouterr().out.splitlines()[1], "my-own/ROW would name no row"
    keep(1, overrides={"train.iterations": 5})
    assert main([*map(str, ("run", "table3", *options, "--seeds", 1, "--set", "train.iterations=5"))]) == 0
    assert capsys.readouterr().out.splitlines()[1].endswith("are not trained again"), "of what is changed none says how"


def test_a_record_from_anywhere_is_made_again_beside_those_it_lies_with(call, keep, tmp_path):
    record = keep(4)
    shutil.move(tmp_path / "kept" / "records", tmp_path / "theirs")
    status, of_runs = call(tmp_path / "theirs" / "smoke" / record.name, "--json")
    found = of_runs[record.name]
    assert (status, found["differing"], found["other_seeds"]) == (0, [], [1, 2, 3])
    assert {each["metric"] for each in found["metrics"]} >= {"AP", "AR10"}


def test_a_row_of_ones_own_table_is_made_again(call, keep, tmp_path):
    table = yaml.safe_load(packed("experiments", "tables", "table3.yaml").read_text())
    (row,) = [{**each, "set": {"train.iterations": 5}} for each in table["rows"] if each["id"] == ROW]
    own = tmp_path / "mine.yaml"
    own.write_text(yaml.safe_dump({**table, "name": "mine", "rows": [row], "claims": []}))
    keep(1, str(own))
    status, text = call(f"{own}/{ROW}", "--seed", 0)
    assert (status, "The same bits" in text) == (0, True), text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((ROW,), "Add --seed: mask2former-r50-ytvis19 has records of the seeds 0, 1."),
        ((ROW, "--seed", 7), "there is no record of it"),
        ((ROW, "--seed", 0, "--set", "train.iterations=5"), "Run mask2former-r50-ytvis19 first"),
        (("RECORD", "--seed", 1), "Leave out --seed, or give 0"),
        (("RECORD", "--set", "train.iterations=5"), "from every row of profile smoke in iterations."),
        (("RECORD", "--dump-scripts", "there"), "Give --cluster FILE"),
    ],
)
def test_what_cannot_be_made_again_is_said(call, keep, arguments, said):
    record = keep(2)
    status, text = call(*(str(record) if each == "RECORD" else each for each in arguments))
    assert (status, said in text) == (2, True), text


def test_the_first_that_differs_is_named_and_where_it_was_made():
    kept = made_record(files={"predictions": "a" * 64}, final_weights="c" * 64)
    assert reproduction(kept, kept, [])["said"] == [
        "The same bits: weights, predictions and scores are those of the record."
    ]
    machine = kept.provenance.hardware.model_copy(update={"processor": "another"})
    elsewhere = kept.provenance.model_copy(update={"hardware": machine})
    changed = {"files": {"predictions": "d" * 64}, "final_weights": "e" * 64}
    again = made_record({"AP": 0.4}, **changed, provenance=elsewhere)
    found = reproduction(kept, again, [])
    assert found["differing"] == ["trained weights", "predictions", "scores"]
    assert (
        "the trained weights are the first to differ, and with them the predictions and the scores" in found["said"][0]
    )
    assert "processor another" in found["said"][0]
    assert found["reproduced"], "another processor, and no seeds to judge by"
    assert not reproduction(kept, again.model_copy(update={"provenance": kept.provenance}), [])["reproduced"]


def test_other_seeds_are_those_of_the_same_recipe():
    of = [made_record(train=made_train(seed)) for seed in range(3)]
    longer = made_record(train=made_train(3, iterations=made_train().iterations + 1))
    assert [each.seed for each in other_seeds(of[1], [*of, longer])] == [0, 2]
