"""The command line as a person meets it: what it prints, where, and its exit status.

Also tests: ifrvis.commands.evaluate, ifrvis.commands.experiment, ifrvis.harness.spec.request,
ifrvis.harness.upkeep.rescore, ifrvis.worker.
"""

import json
import subprocess
import sys

import pytest

from ifrvis.cli import main
from ifrvis.datasets.catalog import load_dataset

SMOKE = ["--profile", "smoke", "--rows", "mask2former-r50-ytvis19"]


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert all(
        f"    {name} " in text for name in ("run", "plan", "status", "report", "rescore", "logs", "evaluate", "data")
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "table9"], "Choose one of ablation, figure4"),
        (["plan", "table1", "--profile", "huge"], "Choose one of mini, paper, real, smoke"),
        (["plan", "table1", "--rows", "ours-r18"], "no row 'ours-r18'"),
        (["plan", "table1", "--seeds", "9"], "number from 1 to 5"),
        (["plan", "table1", "--set", "train.lr"], "Write --set key=value"),
        (["plan", "table1", "--set", "train.lr=1"], "no such key"),
        (["plan", "table1", "--dataset", "cityscapes"], "no dataset 'cityscapes'"),
        (["run", "table1", "--jobs", "0"], "Give --jobs, --micro-batch and --gpus-per-run 1 or more"),
        (["run", "table1", "--micro-batch", "0"], "Give --jobs, --micro-batch and --gpus-per-run 1 or more"),
        (["run", "table1", "--gpus-per-run", "2", "--cluster", "example"], "Leave out --gpus-per-run"),
        (["run", "table1", "--workers", "-1"], "Give --workers 0 or more"),
        (["run", "table1", "--tensorboard"], "Install TensorBoard"),
        (["logs", "nothing"], "Correct the name"),
        (["evaluate", "ap", "--gt", "absent.json", "--pred", "absent.json"], "absent.json"),
    ],
)
def test_a_mistake_is_one_message_and_exit_2(arguments, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ifrvis.commands.experiment.find_spec", lambda _: None)  # TensorBoard is not here
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("ifrvis: ")
    assert message in captured.err
    assert "Traceback" not in captured.err


def test_absent_synthetic_data_are_pending_and_exit_0(capsys, roots):
    assert main(["plan", "table1", *SMOKE, *roots, "--json"]) == 0
    training = json.loads(capsys.readouterr().out)["trainings"][0]
    assert (training["state"], len(training["sig"])) == ("pending", 64)


def test_status_and_logs_before_anything_ran(capsys, roots):
    assert main(["status", "table1", *SMOKE, "--seeds", "1", *roots]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 pending"


def test_the_default_profile_says_why(capsys, roots, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert main(["plan", "table1", "--seeds", "1", *roots]) == 0
    assert capsys.readouterr().out.startswith("Profile mini (no GPU here): ")


def test_the_whole_way_from_a_table_to_a_report(roots, tmp_path, monkeypatch, capsys):
    """Real training: plan, data, run, record, report; a second launch runs nothing."""
    command = [sys.executable, "experiments/run_table.py", "table1", *SMOKE, "--seeds", "1", *roots]
    first = subprocess.run(command, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "mask2former-r50-ytvis19-s0 complete" in first.stdout
    (record,) = (tmp_path / "results" / "records" / "smoke").glob("mask2former-*")
    written = json.loads(record.read_text())
    assert str(tmp_path) not in record.read_text()
    assert written["metrics"]["AP"] is not None
    assert written["attempts"][-1]["reason"] == "running"  # its own, whose end is not known yet
    assert "smoke" in (tmp_path / "reports" / "smoke" / "table1.md").read_text().splitlines()[0]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("*")}
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 0
    assert "2 trainings, 0 to run" in second.stdout
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("*")} == before
    _delete_the_record_and_score_again(command, record, written)
    monkeypatch.setattr("ifrvis.harness.spec.signatures.SCORING_VERSION", written["scoring"] + 1)
    _rescore(roots, record, written, capsys)


def _delete_the_record_and_score_again(command, record, written):
    record.unlink()
    third = subprocess.run(command, capture_output=True, text=True, check=False)
    assert third.returncode == 0
    assert json.loads(record.read_text())["metrics"] == written["metrics"]
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
    (new,) = (path for path in record.parent.glob("mask2former-*") if path != record)
    rescored = json.loads(new.read_text())
    assert rescored["metrics"] == written["metrics"]
    assert rescored["rescored"]["of"] == written["eval_sig"]
    predictions = next(record.parents[2].glob("runs/mask2former-*/predictions/*/predictions.json.gz"))
    predictions.write_bytes(b"other")
    new.unlink()
    assert main(["rescore", "table1", *SMOKE, "--seeds", "1", *roots]) == 2
    assert "is not what its record was made from" in capsys.readouterr().err


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
