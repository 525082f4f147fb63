"""A method of a package from outside on a real SLURM: it is edited while its job waits, and the old code runs."""

import json
import os
import subprocess
import sys

import pytest
from outside_package import MODULE, ROW, install

from ifrvis.harness.spec.methods import Package

from .conftest import ROOT, squeue, wait_until

pytestmark = pytest.mark.slurm


def test_what_is_edited_while_its_job_waits_runs_as_it_was(table, tmp_path):
    folder = install(tmp_path / "hers")
    table.set_up(iterations=2, memory_gb=2, options={"begin": "now+1hour"})
    given = [each for each in table.to_cluster if each not in ("table1", "--rows", "mask2former-r50-ytvis19")]
    command = [sys.executable, "-m", "ifrvis", "run", str(folder / "my-table.yaml"), *given, "--rows", ROW]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    (array,) = table.arrays()
    (folder / MODULE / "__init__.py").write_text("raise RuntimeError('edited')\n")
    job = squeue(f"--name={array.name}", "-o", "%A").strip()
    subprocess.run(["scontrol", "update", f"jobid={job}", "starttime=now"], check=True)
    records = table.results.root / "records" / "smoke"
    wait_until(lambda: list(records.glob(f"{ROW}-*.json")), "its record", 300)
    (path,) = records.glob(f"{ROW}-*.json")
    brought = json.loads(path.read_text())["provenance"]["code"]["methods"][MODULE]
    copy = next((table.results.root / "snapshots").glob(f"*/{MODULE}/__init__.py"))
    assert "FrameClassHead" in copy.read_text()
    digest = Package(MODULE, MODULE, copy.parent, copy.parent, "0.1").digest()
    assert brought == {"version": "0.1", "sha256": digest}
