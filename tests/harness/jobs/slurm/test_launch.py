"""Launches on a real SLURM: what is submitted, once, and what is found to be there already.

Also tests: ifrvis.harness.jobs.slurm.
"""

import json
import os
import signal
import subprocess
import sys

import pytest

from ifrvis.harness.jobs import slurm as slurm_module

from .conftest import PATIENCE_S, controller_away, wait_until

pytestmark = pytest.mark.slurm


def test_five_seeds_are_one_array_and_become_a_table(table, monkeypatch):
    monkeypatch.setenv("A_SECRET", "x")
    table.set_up(seeds=5, pretraining=True, fake={"seen": str(table.folder / "seen")}, environment={"GIVEN": "a b"})
    said = table.command("run", "--wait")
    assert "52.0 ± 1.6" in said
    assert table.sizes() == [1, 5]
    assert len(table.all_starts()) == 6
    seen = json.loads((table.folder / "seen").read_text())
    assert seen["code"].startswith(str(table.results.root / "snapshots"))
    assert seen["variables"]["GIVEN"] == "a b"
    assert "A_SECRET" not in seen["variables"]


def test_a_launch_returns_once_it_has_submitted_and_a_second_one_starts_nothing(table):
    table.set_up(seeds=2, iterations=40, fake={"slow_s": 0.1})
    said = table.command("run")
    assert said.splitlines()[0].startswith("Profile smoke (as asked): 2 trainings, 2 to run on cluster test")
    assert "2 of 2 runs submitted, as arrays " in said
    assert "2 of 2 runs submitted before" in table.command("run")
    table.wait_for("complete", "complete")
    assert table.all_starts() == ["mask2former-r50-ytvis19-s0 1", "mask2former-r50-ytvis19-s1 1"]


def test_two_launchers_at_once_submit_each_run_once(table):
    table.set_up(seeds=4, iterations=10, fake={"slow_s": 0.1})
    launches = [table.start("--wait"), table.start("--wait")]
    assert [each.wait(120) for each in launches] == [0, 0]
    assert table.all_starts() == [f"mask2former-r50-ytvis19-s{seed} 1" for seed in range(4)]


def test_arrays_are_no_longer_than_their_limit(table):
    table.set_up(seeds=5, array_limit=2)
    table.command("run", "--wait")
    assert table.sizes() == [1, 2, 2]
    assert len(table.all_starts()) == 5


def test_what_starts_from_a_failed_pretraining_never_begins(table):
    table.set_up(seeds=2, pretraining=True, fake={"fail": [0]})
    said = table.command("run", "--wait", expected=1)
    assert "pretraining-r50-smoke19, which it starts from, failed" in said
    assert table.all_starts() == ["pretraining-r50-smoke19 1"]


def test_a_pretraining_that_is_killed_goes_on_and_so_does_what_waits_for_it(table):
    table.set_up(seeds=2, pretraining=True, fake={"slow_s": 2})
    launch = table.start("--wait")
    runs = table.results.root / "runs"
    wait_until(table.all_starts, "the pretraining begins")
    (job,) = runs.glob("pretraining-*/attempts/0001/job.json")
    os.kill(json.loads(job.read_text())["pid"], signal.SIGKILL)
    assert launch.wait(120) == 0
    assert table.states() == ["complete"] * 2
    assert [line for line in table.all_starts() if line.startswith("pretraining")] == [
        "pretraining-r50-smoke19 1",
        "pretraining-r50-smoke19 2",
    ]


def test_a_job_submits_jobs(table):
    table.set_up(seeds=2)
    inside = [sys.executable, "-m", "fake_ifrvis", "run", *table.to_cluster, "--wait"]
    done = subprocess.run(["srun", "--partition=main", "--cpus-per-task=2", *inside], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert table.states() == ["complete"] * 2
    scripts = " ".join((each / "submit.sh").read_text() for each in table.arrays())
    assert "SLURM_JOB_ID" not in scripts


@pytest.mark.parametrize("sent", [False, True], ids=["before sbatch", "after sbatch"])
def test_a_launch_that_is_lost_around_sbatch_is_adopted_and_not_doubled(table, monkeypatch, sent):
    table.set_up(seeds=2)
    submit = slurm_module.submit

    def lost(script, **options):
        if sent:
            submit(script, **options)
        os._exit(9)

    child = os.fork()
    if not child:
        slurm_module.submit = lost
        table.command("run")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    table.command("run", "--wait")
    number = 1 if sent else 2
    assert table.all_starts() == [f"mask2former-r50-ytvis19-s{seed} {number}" for seed in range(2)]
    assert table.kinds() == ([""] if sent else ["killed", ""])


def test_without_accounting_all_the_same(table, stub):
    stub("sacct", "exit 1")
    table.set_up(seeds=3, iterations=20, fake={"slow_s": 0.1, "fail": [2]})
    table.command("run")
    table.wait_for_step(2)
    os.kill(json.loads((table.attempts()[0].folder / "job.json").read_text())["pid"], signal.SIGKILL)
    table.command("run", "--wait", expected=1)
    assert table.states() == ["complete", "complete", "failed"]
    assert table.kinds() == ["killed", ""]


def test_a_scheduler_that_does_not_answer_makes_nothing_dead(table, stub):
    table.set_up(iterations=400, fake={"slow_s": 0.1})
    table.command("run")
    table.wait_for_step(1)
    stub("squeue", "exit 1")
    os.utime(table.attempts()[0].folder / "heartbeat", (0, 0))
    assert table.states() == ["running"]
    stub("scontrol", "exit 1")
    assert "Start this where SLURM is" in table.command("run", expected=2)
    assert table.states() == ["running"]


def test_a_controller_that_is_gone_for_a_while_loses_nothing(table):
    """What runs goes on, who waits goes on waiting, and nothing is started twice."""
    table.set_up(seeds=2, iterations=150, fake={"slow_s": 0.2})
    launch = table.start("--wait")
    table.wait_for_step(3)
    with controller_away():
        seen = table.counted()
        wait_until(lambda: table.counted() > seen, "the run goes on")
        assert launch.poll() is None, "who waits does not give up"
        assert table.states()[0] == "running"
    assert launch.wait(PATIENCE_S) == 0
    assert table.states() == ["complete", "complete"]
    assert table.kinds(0) == table.kinds(1) == [""]
    assert len(table.all_starts()) == 2
    assert len(table.arrays()) == 1
