"""What interrupts jobs on a real SLURM, and how they go on: without a launcher, from the last checkpoint, once."""

import subprocess

import pytest

from .conftest import squeue, wait_until

pytestmark = pytest.mark.slurm


def scontrol(*arguments):
    subprocess.run(["scontrol", *arguments], check=True)


def ends_once(table, *kinds):
    """It goes on exactly where it stopped, and ends."""
    wait_until(lambda: table.kinds()[-1] == "", "it is complete")
    assert table.states() == ["complete"]
    assert table.kinds() == [*kinds, ""]
    for number in range(1, len(kinds) + 1):
        first = table.attempts()[number].log.read_text().splitlines()[0]
        assert first.endswith(f"counting from {table.counted(attempt=number - 1)}")
    assert table.counted() == 60
    wait_until(lambda: not squeue(f"--name={table.arrays()[0].name}"), "the job has left the queue")
    assert len(table.arrays()) == 1, "the same job went on"
    assert len(table.all_starts()) == len(kinds) + 1


@pytest.fixture
def counting(table):
    """A run that counts to 60, now at 5 or more, and no launcher."""

    def submit(**cluster):
        table.set_up(iterations=60, fake={"slow_s": 0.2}, **cluster)
        table.command("run")
        table.wait_for_step(5)
        return table

    return submit


def test_preempted_by_a_signal_it_stops_at_a_safe_point_and_goes_on(counting):
    table = counting()
    subprocess.run(["scancel", "--signal=USR2", table.job()], check=True)
    wait_until(lambda: table.kinds()[0] == "preempted", "it stopped")
    assert "1 of 1 runs submitted before" in table.command("run"), "a launch leaves it to its job"
    ends_once(table, "preempted")


def test_preempted_by_a_partition_of_higher_priority(counting):
    table = counting()
    subprocess.run(
        ["sbatch", "--partition=high", "--exclusive", "--nodes=2", "--wrap=sleep 2", "-o/dev/null"], check=True
    )
    ends_once(table, "preempted")


def test_requeued_by_somebody(counting):
    table = counting()
    scontrol("requeue", table.job())
    ends_once(table, "preempted")


def test_a_node_that_is_set_down(counting):
    table = counting()
    node = squeue(f"--job={table.job()}", "-o", "%N").strip()
    scontrol("update", f"nodename={node}", "state=down", "reason=test")
    try:
        wait_until(lambda: len(table.attempts()) == 2, "the next attempt")
        assert table.kinds()[0] in ("killed", "preempted"), "as much as its process had time to say"
        ends_once(table, table.kinds()[0])
    finally:
        subprocess.run(
            ["scontrol", "update", f"nodename={node}", "state=resume"], check=False
        )  # it may be back by itself


def test_a_time_limit_that_hits(table):
    table.set_up(iterations=60, fake={"slow_s": 1.2}, time_min=1)
    table.command("run")
    wait_until(lambda: table.kinds()[:1] == ["timeout"], "the limit", 150)
    ends_once(table, "timeout")


def test_cancel_ends_what_runs_and_what_waits_and_what_waits_to_go_on(table):
    """Of three runs of four cores a node, one runs, one has just been preempted, and one waits for a node."""
    table.set_up(seeds=3, iterations=600, fake={"slow_s": 0.1}, cpus=4)
    table.command("run")
    table.wait_for_step(2, seed=0)
    table.wait_for_step(2, seed=1)
    assert table.attempts(2)[0].state() == "pending"
    subprocess.run(["scontrol", "hold", table.job(seed=2)], check=True)
    subprocess.run(["scancel", "--signal=USR2", table.job(seed=1)], check=True)
    wait_until(lambda: table.kinds(1) == ["preempted"], "it stopped")
    said = table.command("cancel")
    assert said.count("left the queue of the cluster") == 2
    wait_until(lambda: not squeue(f"--name={table.arrays()[0].name}"), "no job is left")
    assert [table.kinds(seed)[-1] for seed in range(3)] == ["cancelled"] * 3
    assert table.states() == ["pending"] * 3
    table.set_up(seeds=3, iterations=600)
    table.command("run", "--wait")
    assert table.states() == ["complete"] * 3


def test_cancel_now_kills_what_runs(table):
    table.set_up(iterations=600, fake={"slow_s": 0.1})
    table.command("run")
    table.wait_for_step(2)
    table.command("cancel", "--now")
    wait_until(lambda: not squeue(f"--name={table.arrays()[0].name}"), "no job is left")
    assert table.kinds() == ["cancelled"]


def test_scancel_by_somebody_is_no_reason_to_go_on(table):
    table.set_up(seeds=1, iterations=600, fake={"slow_s": 0.1})
    table.command("run")
    table.wait_for_step(2)
    subprocess.run(["scancel", table.job()], check=True)
    table.command("run", "--wait", expected=1)
    assert table.kinds() == ["cancelled"]
