"""Processes of a table killed at random instants: every run ends once, and in the end bitwise as one left alone."""

import json
import subprocess
import sys

import pytest

from .conftest import ROOT

LOCAL, ON_SLURM = ["--kills", "10", "--seed", "4", "--seeds", "1"], ["--kills", "5", "--seed", "0"]


@pytest.mark.parametrize(
    ("study", "options", "holds"),
    [
        pytest.param("kill_study", LOCAL, "all_equal", marks=pytest.mark.slow),
        pytest.param("slurm_kill_study", ON_SLURM, "every_run_ended_once", marks=pytest.mark.slurm),
    ],
)
def test_a_table_that_is_struck_again_and_again_ends_once(study, options, holds, tmp_path, monkeypatch, request):
    if study == "slurm_kill_study":
        request.getfixturevalue("slurm")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    command = [sys.executable, ROOT / "studies" / f"{study}.py", *options, "--out", tmp_path / "kills.json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "kills.json").read_text())
    assert found["kills"] == int(options[1])
    assert found[holds]
    assert study == "slurm_kill_study" or len(found["phases"]) >= 3
    assert not list(tmp_path.glob("ifrvis-kills-*")), "nothing is left behind"
