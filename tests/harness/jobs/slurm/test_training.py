"""Two processes train over Gloo as the tasks of one job, are interrupted, and end as two that were left alone."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import made_records
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


def kill_second_process(table):
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            its = environ.read_bytes().split(b"\0")
            if f"SLURM_JOB_NAME={table.arrays()[0].name}".encode() in its and b"RANK=1" in its:
                os.kill(int(environ.parent.name), signal.SIGKILL)


def trains(table, iteration):
    wait_until(lambda: made_records.iteration(table.attempts()[-1]) >= iteration, "it trains", 180)


def test_preempted_once_and_half_killed_once_they_end_bitwise_as_those_left_alone(
    table, data_root, tmp_path, monkeypatch
):
    monkeypatch.setattr("ifrvis.worker.run_attempt", run_attempt)  # the real one
    (tmp_path / "alone").mkdir()
    alone = Table(tmp_path / "alone", data_root)
    for each in (table, alone):
        each.set_up(iterations=50, gpus=2, memory_gb=2, signal_delay_s=20)
        each.command("run")
    trains(table, 3)
    subprocess.run(["scancel", "--signal=USR2", table.job()], check=True)
    wait_until(lambda: len(table.attempts()) == 2, "the job goes on")
    trains(table, 1 + stopped_at(table.attempts()[0]))
    kill_second_process(table)
    wait_until(lambda: table.kinds()[-1] == alone.kinds()[-1] == "", "both are complete", 300)
    assert table.kinds() == ["preempted", "killed", ""]
    assert alone.kinds() == [""]
    weights, *others = result(table)
    expected, *expected_others = result(alone)
    assert others == expected_others
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in weights)
    assert 3 <= stopped_at(table.attempts()[0]) < 50, "it did stop in between"


def stopped_at(attempt):
    return max(int(path.stem.removeprefix("iter_")) for path in attempt.checkpoints.glob("*.pth"))
