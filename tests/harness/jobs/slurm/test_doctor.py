"""`doctor --cluster` on a real SLURM.

Also tests: ifrvis.harness.upkeep.doctor_cluster.
"""

import json

import pytest

from ifrvis.cli import main

pytestmark = pytest.mark.slurm


def test_a_sound_cluster_says_what_a_node_has(table, capsys):
    arguments = ["doctor", *table.to_cluster, "--json"]
    assert main(arguments) == 0
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert {"SLURM", "partition", "sbatch", "shared folder", "node: torch", "node: CUDA", "node: data"} <= found.keys()
    assert found["node: mmcv's operators"]["state"] == "ok"


def test_a_partition_that_is_not_there_and_a_job_that_is_refused(table, capsys):
    table.set_up(partition="nowhere")
    assert main(["doctor", *table.to_cluster]) == 1
    assert "Correct 'partition' of the cluster file." in capsys.readouterr().out
    table.set_up(memory_gb=10**6)
    assert main(["doctor", *table.to_cluster]) == 1
    assert "no    sbatch" in capsys.readouterr().out


def test_set_up_lines_that_fail_are_shown(table, capsys):
    table.set_up(setup=["echo no such module; exit 1"])
    assert main(["doctor", *table.to_cluster]) == 1
    assert "it last said: no such module" in capsys.readouterr().out


def test_a_job_that_has_to_wait_is_cancelled_and_no_failure(table, capsys):
    table.set_up(options={"begin": "now+1hour"})
    assert main(["doctor", *table.to_cluster, "--wait", "1"]) == 0
    assert "not over after 1 s: PENDING, BeginTime" in capsys.readouterr().out
