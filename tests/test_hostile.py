"""Files from elsewhere, and broken ones of our own: refused with what to do, or what they say and nothing else."""

import contextlib
import dataclasses
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import fake_worker
import pytest

from benchmarks.fuzz import KINDS, World
from ifrvis.cli import main
from ifrvis.datasets import catalog, rle
from ifrvis.errors import UserError
from ifrvis.files import read_json, read_yaml, write_atomically
from ifrvis.harness.attempts import attempts_of, claim
from ifrvis.harness.compose import compose, load_profile, parse_override
from ifrvis.harness.life import attempt_at
from ifrvis.harness.local import LocalQueue
from ifrvis.harness.logs import last_lines
from ifrvis.harness.plan import Request
from ifrvis.harness.planner import make_plan
from ifrvis.harness.records import publish_record, read_record
from ifrvis.harness.runs import Results
from ifrvis.harness.tables import Row, load_table
from ifrvis.reporting.escape import csv_text

ROOT = Path(__file__).parents[1]
CASES_PER_KIND = 39  # 507 in all
ROW = Row("mask2former-r50-ytvis19", "mask2former", "r50", "ytvis19")
BREAKS = ["", "{", "[]", "5", "null", '{"reason": []}', "[" * 100_000, '{"reason": "dancing"}', "\udcff", "[[1, 2]]"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture
def roots(tmp_path):
    return [f"--{name}={tmp_path}/{name}" for name in ("data-root", "results", "reports")]


@pytest.fixture
def copied(tmp_path):
    """A packed YAML file with one text replaced: `copied("tables/table1", old, new)`."""

    def copy(name, old, new):
        text = (ROOT / "experiments" / f"{name}.yaml").read_text()
        assert old in text
        path = tmp_path / "mine.yaml"
        path.write_text(text.replace(old, new, 1))
        return str(path)

    return copy


def refusal(capsys, *arguments):
    """The one message of a command that refuses."""
    assert main(list(arguments)) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("ifrvis: ")
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_file_is_refused_or_says_something_sound(world, kind):
    outcomes = [(seed, *world.case(kind, seed)) for seed in range(CASES_PER_KIND)]
    bad = [each for each in outcomes if each[1] in ("traceback", "wrong")]
    assert not bad, f"python benchmarks/fuzz.py --only '{kind}' shows {bad[0]}"
    assert {"refused", "changed"} & {outcome for _, outcome, _ in outcomes}


# RLE


@pytest.mark.parametrize(
    "counts", ["", "1", "58", "4" * 9, "o" * 40, "\x7f", [7, 4], [-1, 13], [12.0], [2**63, 12], None]
)
def test_no_compiled_code_sees_a_mask_that_was_not_checked(counts, tmp_path, monkeypatch, capsys):
    video = {"id": 1, "width": 4, "height": 3, "length": 1, "file_names": ["a/0.jpg"]}
    track = {"id": 1, "video_id": 1, "category_id": 1, "segmentations": [{"size": [3, 4], "counts": counts}]}
    gt = {"videos": [video], "categories": [{"id": 1, "name": "cat"}], "annotations": [track]}
    (tmp_path / "gt.json").write_text(json.dumps(gt))
    for name in ("area", "decode", "encode", "frPyObjects", "iou", "merge", "toBbox"):
        monkeypatch.setattr(rle.coco_mask, name, lambda *_, name=name: pytest.fail(f"{name} was called"))
    message = refusal(capsys, "evaluate", "ap", "--gt", f"{tmp_path}/gt.json", "--pred", f"{tmp_path}/gt.json")
    assert "annotations[0].segmentations[0].counts: expected runs" in message


# YAML and JSON


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi")
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "write the value out instead of an alias"),
        ("a: &a [*a]", "instead of an alias"),
        ("{<<: {a: 1}}", "quote the value"),
        ("a: 2001-01-01", "quote the value"),
        ("a: !!python/object/apply:pathlib.Path.touch [canary]", "quote the value"),
        ("a: !!python/name:os.system", "quote the value"),
        ("a: !!binary aGk=", "quote the value"),
        ("a: !!bool x", "not valid YAML"),
        ('a: !!int ""', "in decimal digits"),
        ("a: 010", "in decimal digits"),
        ("a: 1:30", "in decimal digits"),
        ("a: 0x" + "f" * 5000, "in decimal digits"),
        ("a: " + "9" * 400, "in decimal digits"),
        ("a: .nan", "finite number"),
        ("a: 1.0e+999", "finite number"),
        ('a: "\\e[31mred"', "remove the control character"),
        ('a: "\\ud800"', "remove the control character"),
        ("a: " + "[" * 60 + "]" * 60, "nest at most 50 levels"),
        ("a: " + "x" * (1 << 18), "^Shorten .*characters or more"),
    ],
)
def test_yaml_says_what_json_can_say(text, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        read_yaml(tmp_path / "table.yaml", "the table")
    assert [path.name for path in tmp_path.iterdir()] == ["table.yaml"]


def test_json_with_a_key_twice_is_refused(tmp_path):
    (tmp_path / "gt.json").write_text('{"a": 1, "b": [{"score": 1, "score": 2}]}')
    with pytest.raises(UserError, match="the key 'score' twice"):
        read_json(tmp_path / "gt.json")


# Names


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "a/b", "x" * 101, "", ".", "..", "A b", "a\\nb"])
def test_names_of_files_never_lead_out_of_their_folders(name, copied, capsys, roots, tmp_path):
    table = copied("tables/table1", "name: table1", f'name: "{name}"')
    assert "the table's name" in refusal(capsys, "report", table, "--profile", "smoke", *roots)
    profile = copied("profiles/smoke", "name: smoke", f'name: "{name}"')
    assert "the profile's name" in refusal(capsys, "report", "table1", "--profile", profile, *roots)
    dataset = copied("datasets/smoke19", "name: smoke19", f'name: "{name}"')
    assert "the dataset's name" in refusal(capsys, "data", "make-mini", dataset, *roots)
    arguments = ["--profile", "smoke", "--set", f"train.init={name}", *roots]
    assert "initial weights" in refusal(capsys, "plan", "table1", *arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


@pytest.mark.parametrize("key", ["method", "backbone"])
@pytest.mark.parametrize("name", ["../../../tmp/evil", "/tmp/evil", "evil.py/../x", "Evil"])
def test_tables_name_packaged_configs_only(key, name, copied, capsys):
    old = {"method": "method: mask2former", "backbone": "backbone: r50"}[key]
    table = copied("tables/table1", old, f"{key}: {name}")
    assert f"the {key} of row" in refusal(capsys, "plan", table, "--profile", "smoke")


@pytest.mark.parametrize("metrics", ["[]", "[AP, AP]", "[per_category]", '["A P"]'])
def test_metrics_are_distinct_words(metrics, copied, capsys):
    table = copied("tables/table1", "metrics: [AP, AP50, AP75, AR1, AR10]", f"metrics: {metrics}")
    assert "'metrics'" in refusal(capsys, "plan", table, "--profile", "smoke")


def test_paths_that_no_system_takes_are_only_missing(capsys, roots, copied):
    long = "x" * 300
    assert "no table" in refusal(capsys, "plan", f"{long}.yaml")
    plan = ["plan", "table1", "--profile", "smoke", "--rows", ROW.id, *roots]
    assert "does not exist" in refusal(capsys, *plan, "--init", f"{long}.pth")
    dataset = copied("datasets/ytvis19", "ytvis2019/train.json", long)
    assert "does not exist" in refusal(capsys, *plan, "--dataset", dataset, "--set", "train.init=null")


# Recipes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train={}", "no such key"),
        ("model=null", "no such key"),
        ("model.track_head=null", "of type dict"),
        ("train.iterations=null", "of type int"),
        ("train.iterations=0", "1 or more"),
        ("train.global_batch=-2", "1 or more"),
        ("train.init=5", "of type str"),
        ("train.init=[]", "of type str"),
        ("inference.tta=5", "of type list"),
        ("train.optimizer.lr=NaN", "plain number"),
        ("train.optimizer.lr=1e999", "plain number"),
        ("train.optimizer.lr=" + "9" * 400, "plain number"),
        ("train.optimizer.lr=" + "9" * 5000, "plain number"),
        ("train.optimizer.lr=" + "[" * 100_000, "plain number"),
        ("train.optimizer.betas=[0.9, null]", r"betas\[1\]' of --set of type float"),
        ('train.schedule={"milestones": [3], "gama": 0.1}', "the recipe's keys, milestones, gamma"),
        ('train.schedule={"milestones": ["3"], "gamma": 0.1}', "plain number"),
    ],
)
def test_an_override_keeps_keys_and_types_all_the_way_down(text, message):
    key, value = parse_override(text)
    with pytest.raises(UserError, match=message):
        compose(ROW, load_profile("smoke"), {key: value}, num_classes=4)


def test_an_override_may_name_another_class_and_leave_the_optional_out():
    norm = {"type": "SyncBN", "requires_grad": True, "eps": 1e-3}
    overrides = {"model.backbone.norm_cfg": norm, "train.init": None, "train.optimizer.clip_grad": None}
    composed = compose(ROW, load_profile("smoke"), overrides, num_classes=4)
    assert composed.model["backbone"]["norm_cfg"] == norm
    assert composed.train["init"] is composed.train["optimizer"]["clip_grad"] is None


# Datasets


def test_a_dataset_file_that_contradicts_itself_is_refused(copied, capsys, roots):
    for old, new, message in [
        ("categories: 40", "categories: 0", "Set 'categories'"),
        ("name: ytvis19", "name: ytvis19\nroot_variable: AWS_SECRET", "Begin 'root_variable'"),
    ]:
        dataset = copied("datasets/ytvis19", old, new)
        assert message in refusal(capsys, "plan", "table1", "--profile", "smoke", "--dataset", dataset, *roots)
    dataset = copied("datasets/smoke19", "categories: 4", "categories: 5")
    assert "to its num_classes, 4" in refusal(capsys, "data", "make-mini", dataset, *roots)


def test_a_dataset_whose_files_say_otherwise_is_refused(world, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    text = (world.given / "files.yaml").read_text()
    for old, new, message in [
        ("categories: 2", "categories: 3", "Set 'categories' of dataset 'files' to 2"),
        ("- b", "- nobody", "leaves no video to 'heldout'"),
        ("- b", "- '*'", "leaves no video to 'train'"),
    ]:
        (tmp_path / "mine.yaml").write_text(text.replace(old, new))
        dataset = catalog.load_dataset(f"{tmp_path}/mine.yaml", world.data)
        with pytest.raises(UserError, match=message):
            [dataset.split(role) for role in ("train", "heldout")]


def test_the_cache_of_fingerprints_may_be_broken_or_unwritable(world, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    split = catalog.load_dataset(f"{world.given}/files.yaml", world.data).split
    fingerprint = split("train").fingerprint
    (remembered,) = (tmp_path / "ifrvis" / "fingerprints").iterdir()
    remembered.write_bytes(b"\xff")
    assert split("train").fingerprint == fingerprint == remembered.read_text()
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert split("train").fingerprint == fingerprint


def test_two_datasets_of_one_name_stay_two(tmp_path):
    for name, seed in (("a", 19), ("b", 20)):
        text = (ROOT / "experiments/datasets/smoke19.yaml").read_text().replace("seed: 19", f"seed: {seed}")
        (tmp_path / f"{name}.yaml").write_text(text)
    named = {"ytvis19": f"{tmp_path}/a.yaml", "ytvis21": f"{tmp_path}/b.yaml"}
    profile = dataclasses.replace(load_profile("smoke"), datasets=named)
    rows = ("mask2former-r50-ytvis19", "mask2former-r50-ytvis21")
    tables = tuple(map(load_table, ("table1", "table2")))
    plan = make_plan(Request(tables, profile, tmp_path, Results(tmp_path), rows, num_seeds=1))
    assert len({each.split.fingerprint for each in plan.trainings if not each.is_pretraining}) == 2


# Records


def test_every_changed_byte_of_a_record_is_found(world, tmp_path):
    record, path = json.loads(world.record.read_text()), tmp_path / "record.json"
    publish_record(path, record | {"spec": {"rate": 1e-05, "name": "\u00e9"}})
    data, good, passed = path.read_bytes(), read_record(path), []
    for position in range(len(data)):
        changed = data[position] ^ 1 << position % 8
        path.write_bytes(data[:position] + bytes([changed]) + data[position + 1 :])
        try:
            assert read_record(path) == good
            passed.append(data[position])
        except UserError:
            pass
    assert set(passed) <= set(b" \ne9")  # white space and the case of letters in numbers and escapes say nothing


@pytest.mark.parametrize("metrics", [{"AP": "0.3"}, {"AP": True}, {"AP": 10**400}])
def test_a_record_with_a_fitting_digest_still_shows_numbers_only(metrics, world, tmp_path):
    record = json.loads(world.record.read_text()) | {"metrics": metrics}
    publish_record(tmp_path / "record.json", record)
    with pytest.raises(UserError, match="it is not a record"):
        read_record(tmp_path / "record.json")


def test_not_a_number_in_a_record_is_found(world, tmp_path):
    (tmp_path / "record.json").write_text(world.record.read_text().replace('"attempts": []', '"attempts": [NaN]'))
    with pytest.raises(UserError, match="changed after it was written"):
        read_record(tmp_path / "record.json")


# Attempts


@pytest.mark.parametrize("text", BREAKS)
@pytest.mark.parametrize("name", ["exit.json", "heartbeat", "job.json"])
def test_a_broken_file_of_an_attempt_stops_no_command(name, text, tmp_path):
    attempt = claim(Results(tmp_path).run("name-s0", "a" * 64), {"name": "x"})
    (attempt.folder / name).write_bytes(text.encode(errors="surrogateescape"))
    assert attempt.state() == {"exit.json": "killed", "heartbeat": "running", "job.json": "pending"}[name]
    assert attempt.progress() == {}
    assert claim(attempt.run, {}) is None or name == "exit.json"  # the next attempt goes on


def test_foreign_names_among_the_attempts_do_not_count(tmp_path):
    attempt = claim(Results(tmp_path).run("name-s0", "a" * 64), {})
    for name in ("\u00b2", "2", "00003", "9" * 100, "0004x"):
        (attempt.run.attempts / name).mkdir()
    assert attempts_of(attempt.run) == [attempt]
    (attempt.folder / "submit.json").write_text("[")
    with pytest.raises(UserError, match=r"^Replace .*submit\.json"):
        attempt.submission()


def test_an_attempt_that_says_nothing_is_refused(tmp_path):
    attempt = claim(Results(tmp_path).run("name-s0", "a" * 64), {})
    with pytest.raises(UserError, match=r"^Start the same command again: .*submit\.json does not say"):
        attempt_at(attempt.folder)


def test_what_a_worker_said_cannot_control_the_terminal(tmp_path):
    attempt = claim(Results(tmp_path).run("name-s0", "a" * 64), {})
    attempt.end("failed", message="\x1b[2Jgone")
    attempt.log.write_bytes(b"first\n\x1b[31mred\x07\xff\tend\n")
    assert attempt.ending()["message"] == "?[2Jgone"
    assert last_lines(Results(tmp_path).one_run_named("name"), 5) == ["first", "?[31mred?\ufffd\tend"]
    assert str(UserError("Check \x1b]0;x\x07 \udcff.")) == "Check ?]0;x? ?."


# Jobs


def test_jobs_inherit_named_variables_only(tmp_path, monkeypatch):
    secret = "s3cr3t-of-the-shell"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (ROOT, ROOT / "tests"))))
    monkeypatch.setenv("IFRVIS_FAKE", '{"slow_s": 0.3}')
    profile = dataclasses.replace(load_profile("smoke"), pretraining=None)
    profile = dataclasses.replace(profile, set=profile.set | {"train.init": None})
    request = Request(
        (load_table("table1"),), profile, tmp_path / "data", Results(tmp_path / "r"), (ROW.id,), num_seeds=1
    )
    environments = []

    def look(items):
        attempt = items[0].attempt
        with contextlib.suppress(OSError):  # it may have ended just now
            process = json.loads((attempt.folder / "job.json").read_text())["pid"] if attempt else "absent"
            environments.append(Path(f"/proc/{process}/environ").read_bytes())

    queue = LocalQueue(make_plan(request).to_run, request, jobs=1, run_attempt=fake_worker.run_attempt)
    assert queue.run(look)
    assert any(b"IFRVIS_FAKE=" in each for each in environments)
    assert not any(secret.encode() in each for each in environments)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"env.json", "submit.json", "spec.json", "exit.json"} <= {path.name for path in written}
    assert not [path for path in written if secret.encode() in path.read_bytes()]


# Disks


def test_a_full_disk_is_one_message(world, monkeypatch, tmp_path, capsys):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    reports = ["--reports", str(tmp_path)]
    assert "Free some disk space" in refusal(capsys, "report", *world.table, *world.roots[:2], *reports)
    assert list(tmp_path.rglob("*.*")) == []


def test_output_that_finds_no_space_is_one_message():
    command = [sys.executable, "-m", "ifrvis", "plan", "table1", "--json"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("ifrvis: Free some disk space: the output could not be written")
    assert "Traceback" not in done.stderr


def test_results_that_cannot_be_written_are_one_message(world, tmp_path, capsys):
    (tmp_path / "file").touch()
    reports = ["--reports", f"{tmp_path}/file/reports"]
    assert "Make " in refusal(capsys, "report", *world.table, *world.roots[:2], *reports)
    run = Results(tmp_path / "file").run("name-s0", "a" * 64)
    with pytest.raises(UserError, match=r"^Make .*writable"):
        claim(run, {})
    (tmp_path / "runs" / "name-s0-aaaaaaaaaaaa").mkdir(parents=True)
    run = Results(tmp_path).run("name-s0", "a" * 64)
    run.attempts.touch()  # a file where a folder should be is no other launcher's claim
    with pytest.raises(UserError, match=r"^Make .*writable"):
        claim(run, {})


# Reports


def test_csv_text_is_no_formula_after_trimming_either():
    for text in ("\n=1+1", " =1+1", "\t@x", "＝1+1", "＠x"):
        assert csv_text(text) == f"'{text}"


def test_a_manifest_that_cannot_be_written_again_is_refused(world, tmp_path, capsys):
    folder = tmp_path / "smoke"
    write_atomically(folder / "manifest.json", '{"schema": 1, "reports": {"old": NaN}}')
    reports = ["--reports", str(tmp_path)]
    assert "Remove " in refusal(capsys, "report", *world.table, *world.roots[:2], *reports)
    assert [path.name for path in folder.iterdir()] == ["manifest.json"]
