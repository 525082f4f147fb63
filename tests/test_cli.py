"""The command line as a person meets it: what it prints, where, and its exit status.

Also tests: ifrvis.commands.evaluate, ifrvis.commands.experiment, ifrvis.harness.spec.request,
ifrvis.harness.upkeep.rescore, ifrvis.worker.
"""

import argparse
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ifrvis
from ifrvis.cli import _parser, main
from ifrvis.datasets.catalog import load_dataset
from ifrvis.files import sha256_file

CASE = Path(__file__).parent / "data/oracle/ap/00"
THEIRS = ["--table", "table1", "--row", "theirs"]
SMOKE = ["--profile", "smoke", "--rows", "mask2former-r50-ytvis19"]


@pytest.mark.parametrize("arguments", [["--help"], []])
def test_help_names_every_command_under_what_it_is_for(arguments, capsys):
    if arguments:
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 0
    else:
        assert main(arguments) == 0
    text = capsys.readouterr().out
    groups = re.findall(r"^([a-z]+):\n((?:    .*\n)+)", text, re.MULTILINE)
    names = {title: set(re.findall(r"^    (\S+)", lines, re.MULTILINE)) for title, lines in groups}
    expected = {"run": {"run", "plan"}, "look": {"status", "logs"}, "data": {"data"}, "evaluate": {"evaluate"}}
    assert all(names[title] >= some for title, some in (expected | {"upkeep": {"verify", "rescore"}}).items())
    known = next(each.choices for each in _parser()._actions if isinstance(each, argparse._SubParsersAction))
    assert set().union(*names.values()) == {*known}


def test_the_version_is_said(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"ifrvis {ifrvis.__version__}\n"


@pytest.mark.parametrize("inside", ["", "experiments"])
@pytest.mark.parametrize("other", [True, False])
def test_a_program_of_another_checkout_than_the_one_around_it_says_so(tmp_path, monkeypatch, capsys, inside, other):
    folder = tmp_path / "elsewhere" if other else Path(ifrvis.__file__).parents[1]
    if other:
        (folder / "experiments" / "tables").mkdir(parents=True)
        (folder / "ifrvis").mkdir()
        (folder / "ifrvis" / "cli.py").touch()
    monkeypatch.chdir(folder / inside)
    main(["logs", "x", "--results", str(tmp_path)])
    assert (f"not of {folder}/ifrvis: `python -m ifrvis` there is" in capsys.readouterr().err) is other


@pytest.mark.parametrize("command", [["status", "table1", *SMOKE], ["report", "table1", *SMOKE], ["verify"]])
def test_a_folder_without_results_is_said_and_no_table_is_shown(command, roots, capsys, tmp_path):
    assert main([*command, *roots]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("ifrvis: Run rows first, or give with --results")
    assert f"there is none at {tmp_path}/results" in said.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "table9"], "Choose one of ablation, figure4, length, ovis, real, table1"),
        (["plan", "table1", "--profile", "huge"], "Choose one of mini, paper, real, smoke"),
        (["plan", "table1", "--rows", "ours-r18"], "no row 'ours-r18'"),
        (["plan", "all", "--rows", "ours-r50-ytvis19,ours"], "no row 'ours'."),
        (
            ["plan", "table1", "--seeds", "9"],
            "from 1 to 5, that of the seeds that table1 declares (0, 1, 2, 3, 4)",
        ),
        (["plan", "table1", "--seeds", "0"], "number from 1 to that of the seeds that the table declares"),
        (["plan", "my.yaml"], "there is no file my.yaml in this folder"),
        (["plan", "x/my.yml"], "there is no file x/my.yml in this folder"),
        (
            ["report", "table1", "--profile", "smoke", "--seeds", "9"],
            "from 1 to 5, that of the seeds",
        ),
        (["plan", "table1", "--set", "train.lr"], "Write --set key=value"),
        (["plan", "table1", "--set", "train.lr=1"], "no such key"),
        (["plan", "table1", "--dataset", "cityscapes"], "no dataset 'cityscapes'"),
        (["run", "table1", "--gpus-per-run", "2", "--cluster", "example"], "Leave out --gpus-per-run"),
        (["run", "table1", "--tensorboard"], "Install TensorBoard"),
        (["logs", "nothing"], "nor is it a row, `row` or `table/row`"),
        (["explain", "nothing"], "nor is it a row, `row` or `table/row`"),
        (["show", "ours-r50"], "rows that begin so are ours-r50-"),
        (["logs", "table4"], "Name a row of table4, ours-"),
        (["data", "export", "--predictions", "--split", "full"], "Give --predictions a value: write these predictions"),
        (["data", "stats", "smoke19", "--videos"], "Give --videos a value: count these videos"),
        (["data", "import", "davis", "x", "--link", "y"], "Choose --link among overlap: there is no 'y'."),
        (["verify", "--all=1"], "Write --all alone: it takes no value."),
        (["run"], "Correct the command: the following arguments are required: TABLE; `ifrvis run --help`"),
        (["evaluate", "ap", "--gt", "absent.json", "--pred", "absent.json"], "absent.json"),
        (["evaluate", "ap", "--gt", "gt.json", "--pred", "pred.json", "--category", "x"], "Leave out --category"),
        (["ingest", "--predictions", "s3.json", *THEIRS, "--seed", "0"], "Leave out --seed: files are of the table's"),
        (["ingest", "--predictions", "s3.json", *THEIRS, "--percent"], "Leave out --percent"),
        (["ingest", "x", "--zip", "x", "--scores", "x", "--absent-are-empty"], "Leave out --absent-are-empty"),
        (["cancel", "ours-r50-ytvis19", "--seeds", "2"], "Leave out --seeds: ours-r50-ytvis19 is no table"),
        (["retry", "table1", "ours-r50", "--rows", "ours-r50-ytvis19"], "Leave out --rows: ours-r50 is no table"),
        (["prune", "--seed", "0", "--yes"], "Leave out --seed"),
        (["prune", "--profile", "smoke", "--yes"], "Leave out --profile"),
        (["compare", "a", "b", "--frames", "x"], "Leave out --frames"),
        (["submission", "--check", "x.zip", "--row", "table1/x"], "Leave out --row"),
        (["data", "export", "coco", "mini19", "--out", "x.json", "--min-score", "0.5"], "Leave out --min-score"),
    ],
)
def test_a_mistake_is_one_message_and_exit_2(arguments, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    shutil.copy(CASE / "gt.json", tmp_path)
    shutil.copy(CASE / "pred.json", tmp_path)
    monkeypatch.setattr("ifrvis.commands.launching.find_spec", lambda _: None)  # TensorBoard is not here
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("ifrvis: ")
    assert message in captured.err
    assert "Traceback" not in captured.err


def test_what_takes_a_value_says_which():
    """What is left out is answered with the option's help."""
    parsers = [_parser()]
    while parsers:
        for action in parsers.pop()._actions:
            if isinstance(action, argparse._SubParsersAction):
                parsers += action.choices.values()
            else:
                assert action.help or not action.option_strings, action


NUMBERS = {
    "run table1": ("--seeds", "--jobs", "--gpus-per-run", "--micro-batch", "--workers"),
    "rescore table1": ("--jobs",),
    "plan table1 --power": ("--std",),
    "status table1": ("--watch",),
    "cancel table1": ("--wait",),
    "logs ours": ("--lines",),
    "verify": ("--jobs",),
    "doctor": ("--wait",),
    "evaluate ap --gt x --pred x": ("--jobs",),
    "predict ours-r50 frames": ("--draw-above", "--memory-gib"),
    "weights convert x y": ("--queries",),
}


@pytest.mark.parametrize(
    ("arguments", "about"),
    [
        *((["run", "table1", option, ""], option) for option in ("--rows", "--profile", "--cluster", "--dataset")),
        (["verify", "--profile="], "--profile"),
        (["report", "all", "--results", "", "--json"], "--results"),
        (["predict", "", "frames"], "the command"),
    ],
)
def test_an_empty_value_as_of_a_variable_that_is_not_set_is_never_left_out_in_silence(arguments, about, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().err == f"ifrvis: Correct {about}: give a value, or leave it out; it is empty.\n"


@pytest.mark.parametrize(
    ("arguments", "about"),
    [(["report", "all", "--results=~/r"], "--results"), (["predict", "~/x", "y"], "the command")],
)
def test_a_home_that_the_shell_has_not_put_in_is_no_folder_of_that_name(arguments, about, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith(f"ifrvis: Correct {about}: the shell has left ~ as it is")


TAKES_ZERO = ("--workers", "--wait", "--draw-above", "--memory-gib")


@pytest.mark.parametrize(("command", "option"), [(each, option) for each in NUMBERS for option in NUMBERS[each]])
def test_a_number_that_cannot_be_is_refused_by_every_option_that_takes_one(command, option, capsys):
    for value in ("nan", "inf", "-1", "1e400", "9" * 30, "x", "", *["0"] * (option not in TAKES_ZERO)):
        assert main([*command.split(), f"{option}={value}"]) == 2
        assert re.match(rf"ifrvis: Correct (-n/)?{option}: give a ", capsys.readouterr().err), value


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["paln", "table1"], "plan"),
        (["data", "slpit", "x"], "split"),
        (["plan", "tabel1"], "table1"),
        (["cancel", "tabel1"], "table1"),
        (["plan", "table1", "--profile", "smok"], "smoke"),
        (["plan", "table1", "--rows", "ours-r50-ytvis91"], "ours-r50-ytvis19"),
        (["plan", "all", "--rows", "ours-r50-ytvs19"], "ours-r50-ytvis19"),
        (["plan", "table1", "--set", "train.iteratons=5"], "train.iterations"),
        (["plan", "table1", "--set", 'train.stills={"dataset": "coko", "ratio": null}', "--profile", "paper"], "coco"),
        (["plan", "table1", "--dataset", "YTVIS21"], "ytvis21"),
        (["plan", "{table}"], "ours"),
        (["run", "table1", "--cluster", "exmple"], "example"),
        (["logs", "ours-r50-ytvs19"], "ours-r50-ytvis19"),
        (["explain", "ours-r50-ytvs19"], "ours-r50-ytvis19"),
        (["run", "table1", "--row", "ours-r50-ytvis19"], "--rows"),
        (["data", "stats", "smoke19", "--spli=train"], "--split"),
        (["evaluate", "ap", "--gt", "x", "--pred", "x", "--jsno"], "--json"),
        (["evaluate", "tracking", "--gt", "x", "--pred", "x", "--protocol", "machted"], "matched"),
        (["retry", "table1", "--kind", "eror"], "error"),
        (["data", "stats", "smoke19", "--split", "trian"], "train"),
    ],
)
def test_a_name_that_does_not_exist_is_exit_2_and_names_the_nearest(arguments, meant, capsys, roots, tmp_path):
    rows = [{"id": "mine", "method": "oruss", "backbone": "r50", "dataset": "ytvis19"}]
    table = {"name": "mine", "title": "", "place": "", "protocol": "heldout", "seeds": [0]}
    (tmp_path / "mine.yaml").write_text(json.dumps({**table, "metrics": ["AP"], "rows": rows}))
    given = [str(tmp_path / "mine.yaml") if each == "{table}" else each for each in arguments]
    assert main(given + roots * (arguments[0] in ("plan", "cancel", "retry", "data") and "slpit" not in arguments)) == 2
    assert f"(did you mean {meant!r}?)" in capsys.readouterr().err


def test_absent_synthetic_data_are_pending_and_exit_0(capsys, roots):
    assert main(["plan", "table1", *SMOKE, *roots, "--json"]) == 0
    training = json.loads(capsys.readouterr().out)["trainings"][0]
    assert (training["state"], len(training["sig"])) == ("pending", 64)


def test_status_before_anything_ran(capsys, roots, tmp_path):
    (tmp_path / "results").mkdir()
    assert main(["status", "table1", *SMOKE, "--seeds", "1", *roots]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (lines[0], lines[-1]) == ("Profile smoke (as asked):", "1 pending")
    assert lines[1].startswith("pending: `ifrvis run` makes what it is trained on")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_as_of_a_daemon_is_no_failure(roots, tmp_path, closed):
    (tmp_path / "results").mkdir()
    command = shlex.join([sys.executable, "-m", "ifrvis", "report", "table1", *SMOKE, "--seeds", "1", *roots])
    assert subprocess.run(f"{command} {closed}", shell=True, check=False).returncode == 0
    assert (tmp_path / "reports/smoke/table1.md").is_file()


def test_a_folder_that_was_removed_under_a_shell_is_said(tmp_path, monkeypatch, capsys):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert main(["plan", "table1", *SMOKE]) == 2
    assert "ifrvis: Change to a folder that is there (`cd`): " in capsys.readouterr().err


def test_the_default_profile_says_why(capsys, roots, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert main(["plan", "table1", "--seeds", "1", *roots]) == 0
    assert capsys.readouterr().out.startswith("Profile mini (no GPU here): ")


def test_the_whole_way_from_a_table_to_a_report(roots, tmp_path, monkeypatch, capsys):
    """Real training: plan, data, run, record, report; a second launch runs nothing."""
    command = [sys.executable, "experiments/run_table.py", "table1", *SMOKE, "--seeds", "1", *roots]
    first = subprocess.run(command, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "2 complete" in first.stdout
    (record,) = (tmp_path / "results" / "records" / "smoke").glob("mask2former-*.json")
    written = json.loads(record.read_text())
    assert str(tmp_path) not in record.read_text()
    assert written["metrics"]["AP"] is not None
    assert written["attempts"][-1]["reason"] == "running"  # its own, whose end is not known yet
    assert "smoke" in (tmp_path / "reports" / "smoke" / "table1.md").read_text().splitlines()[0]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("*")}
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 0
    assert "1 training after 1 pretraining, 0 to run" in second.stdout
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("*")} == before
    _delete_the_record_and_score_again(command, record, written)
    monkeypatch.setattr("ifrvis.harness.spec.signatures.SCORING_VERSION", written["scoring"] + 1)
    _rescore(roots, record, written, capsys)


def _delete_the_record_and_score_again(command, record, written):
    record.unlink()
    third = subprocess.run(command, capture_output=True, text=True, check=False)
    assert third.returncode == 0
    again, same = json.loads(record.read_text()), ("metrics", "files", "not_loaded", "cost", "loss", "final_weights")
    assert {key: again[key] for key in same} == {key: written[key] for key in same}
    checkpoints = list(record.parents[2].glob("runs/mask2former-*/attempts/*/checkpoints/*.pth"))
    assert len(checkpoints) == 1  # nothing was trained again


def _rescore(roots, record, written, capsys):
    """A new scoring version: kept predictions are scored once, and what they were trained by is carried over."""
    outcomes = []
    for _ in range(2):
        capsys.readouterr()
        assert main(["rescore", "table1", *SMOKE, "--seeds", "1", *roots, "--json"]) == 0
        outcomes.append({each["outcome"] for each in json.loads(capsys.readouterr().out)})
    assert outcomes == [{"scored"}, {"was there"}]
    (new,) = (path for path in record.parent.glob("mask2former-*.json") if path != record)
    rescored = json.loads(new.read_text())
    assert rescored["metrics"] == written["metrics"]
    assert rescored["rescored"]["of"] == written["eval_sig"]
    assert rescored["files"]["videos"] == sha256_file(new.with_suffix(".videos.json.gz"))
    predictions = next(record.parents[2].glob("runs/mask2former-*/predictions/*/predictions.json.gz"))
    predictions.write_bytes(b"other")
    new.unlink()
    assert main(["rescore", "table1", *SMOKE, "--seeds", "1", *roots]) == 2
    assert "is not what its record was made from" in capsys.readouterr().err
    predictions.unlink()
    assert main(["rescore", "table1", *SMOKE, "--seeds", "2", *roots]) == 0
    said = dict(line.split(" ", 1) for line in capsys.readouterr().out.splitlines())
    run = record.name.partition("-s0-")[0]
    assert (said[f"{run}-s0"], said[f"{run}-s1"]) == ("not kept", "never scored")


def test_broken_data_fail_the_run_with_one_message_and_exit_1(roots, tmp_path, capsys):
    load_dataset("smoke19", tmp_path / "data").make("pretrain")  # what is trained on first
    frames = list((tmp_path / "data").glob("smoke19-*/pretrain/JPEGImages/**/*.jpg"))
    assert frames
    for frame in frames:
        frame.write_bytes(b"no picture")
    assert main(["run", "table1", *SMOKE, "--seeds", "1", *roots]) == 1
    text = capsys.readouterr().out
    assert ".jpg" in text
    assert "Traceback" not in text
