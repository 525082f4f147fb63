"""Jobs, launchers and slurmds killed at random instants: every run ends once."""

import json
import subprocess
import sys

import pytest

from .conftest import ROOT

pytestmark = pytest.mark.slurm


def test_a_table_that_is_struck_five_times_ends_once(slurm, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    study = [sys.executable, ROOT / "studies" / "slurm_kill_study.py", "--kills", "5", "--seed", "0"]
    done = subprocess.run([*study, "--out", tmp_path / "kills.json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "kills.json").read_text())
    assert found["kills"] == 5
    assert found["runs"] >= 5
    assert found["every_run_ended_once"]
