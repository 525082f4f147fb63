"""Two processes train over Gloo as the tasks of one job, are preempted, and end as two that were left alone."""

import subprocess

import pytest
import torch

from ifrvis.files import read_json, sha256_file
from ifrvis.training.checkpoints import newest_valid
from ifrvis.worker import run_attempt

from .conftest import Table, wait_until

pytestmark = pytest.mark.slurm


def result(table):
    """What a run has ended with: weights, predictions, metrics."""
    (run,) = {attempt.run.folder for attempt in table.attempts()}
    train_sig = read_json(run / "spec.json")["train_sig"]
    checkpoint = newest_valid([each.checkpoints for each in table.attempts()], train_sig=train_sig)
    (predictions,) = run.glob("predictions/*/*.gz")
    (record,) = table.results.root.glob("records/*/*.json")
    return checkpoint.state["model"], sha256_file(predictions), read_json(record)["metrics"]


def test_preempted_once_they_end_bitwise_as_those_left_alone(table, data_root, tmp_path, monkeypatch):
    monkeypatch.setattr("ifrvis.worker.run_attempt", run_attempt)  # the real one
    (tmp_path / "alone").mkdir()
    alone = Table(tmp_path / "alone", data_root)
    for each in (table, alone):
        each.set_up(iterations=60, gpus=2, memory_gb=2, signal_delay_s=20)
        each.command("run")
    wait_until(lambda: table.attempts()[-1].progress().get("iteration", 0) >= 3, "it trains", 180)
    subprocess.run(["scancel", "--signal=USR2", table.job()], check=True)
    wait_until(lambda: table.kinds()[-1] == alone.kinds()[-1] == "", "both are complete", 300)
    assert table.kinds() == ["preempted", ""]
    assert alone.kinds() == [""]
    weights, *others = result(table)
    expected, *expected_others = result(alone)
    assert others == expected_others
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in weights)
    iterations = [int(path.stem.removeprefix("iter_")) for path in table.attempts()[0].checkpoints.glob("*.pth")]
    assert 3 <= max(iterations) < 60, "it did stop in between"
    says = (table.results.root / "jobs" / table.arrays()[0].name).glob("*_log.out")
    assert len(list(says)) == 2, "two processes"
