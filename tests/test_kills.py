"""Processes of a smoke table killed at random instants: every run ends once, bitwise as one that was left alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_a_table_that_is_killed_ten_times_ends_as_one_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    study = [sys.executable, ROOT / "studies" / "kill_study.py", "--kills", "10", "--seed", "4", "--seeds", "1"]
    done = subprocess.run([*study, "--out", tmp_path / "kills.json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "kills.json").read_text())
    assert found["kills"] == 10
    assert found["all_equal"]
    assert len(found["phases"]) >= 3
    assert not list(tmp_path.glob("ifrvis-kills-*")), "nothing is left behind"
