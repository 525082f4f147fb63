"""What users of real clusters met, on a real SLURM or with a command of it replaced in PATH."""

import json
import shutil
import subprocess
import sys

import pytest

from ifrvis.cli import main
from ifrvis.harness.jobs import queue, scheduler, slurm
from ifrvis.harness.store.attempts import claim

from .conftest import squeue, wait_until

pytestmark = pytest.mark.slurm
# A site that lets its users have two jobs, and says so as SLURM 22.05 does.
TWO_JOBS = r"""
for script; do :; done
size=$(sed -n 's/^#SBATCH --array=0-\([0-9]*\).*/\1/p' "$script")
if [ $(($(squeue -hr -o %j | grep -c ^ifrvis-) + size + 1)) -gt 2 ]; then
    echo "sbatch: error: AssocMaxSubmitJobLimit" >&2
    echo "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy" \
        "(job submit limit, user's size and/or time limits)" >&2
    exit 1
fi
exec /usr/bin/sbatch "$@"
"""


def job_of(table):
    return squeue(f"--name={table.arrays()[-1].name}", "-o", "%A").strip()


def start_now(table):
    subprocess.run(["scontrol", "update", f"jobid={job_of(table)}", "starttime=now"], check=True)


@pytest.mark.parametrize("poll_s", [1, 5])  # the longer is beyond what passes for lost
def test_what_a_limit_leaves_waits_and_is_submitted_as_jobs_leave(table, stub, monkeypatch, poll_s):
    for module in (scheduler, slurm):
        monkeypatch.setattr(module, "INTENT_LIMIT_S", 4.0)
    stub("sbatch", TWO_JOBS)
    table.set_up(seeds=5, iterations=20, fake={"slow_s": 0.4 if poll_s > 1 else 0.1}, poll_s=poll_s)
    said = table.command("run", "--wait")
    assert "2 of 5 runs submitted" in said
    assert "3 of 5 runs left waiting: SLURM takes no more of these jobs until others leave (AssocMaxSubmitJob" in said
    assert table.states() == ["complete"] * 5
    assert table.all_starts() == [f"mask2former-r50-ytvis19-s{seed} 1" for seed in range(5)]


def test_what_a_limit_leaves_is_submitted_by_the_next_run_where_nobody_waits(table, stub):
    stub("sbatch", TWO_JOBS)
    table.set_up(seeds=3)
    assert "1 of 3 runs left waiting" in table.command("run")
    table.wait_for("complete", "complete", "pending")
    wait_until(lambda: "1 of 1 runs submitted" in table.command("run"), "jobs leave")
    table.wait_for("complete", "complete", "complete")


@pytest.mark.parametrize(
    ("options", "why"), [({"reservation": "nowhere"}, "reservation"), ({"mem-per-cpu": "4G"}, "mutually exclusive")]
)
def test_a_refusal_for_good_ends_the_launch_and_leaves_runs_that_can_start(table, options, why):
    table.set_up(seeds=2, options=options)
    said = table.command("run", expected=2)
    assert "Correct the cluster file, or ask your administrator: sbatch said" in said
    assert why in said
    table.set_up(seeds=2)
    table.command("run", "--wait")
    assert table.states() == ["complete"] * 2


def test_nodes_that_are_all_drained_are_a_note_and_no_mistake_of_the_file(table, capsys):
    def all_nodes(*state):
        subprocess.run(["scontrol", "update", "nodename=ALL", *state], check=True)

    all_nodes("state=drain", "reason=test")
    try:
        assert main(["doctor", *table.to_cluster, "--wait", "1"]) == 0
        said = capsys.readouterr().out
        assert "note  sbatch" in said
        assert "it takes such a job" in said
        assert "1 of 1 runs submitted" in table.command("run")
    finally:
        all_nodes("state=resume")
    table.wait_for("complete")


@pytest.mark.parametrize("harm", ["removed", "changed"])
def test_a_job_runs_no_other_code_than_its_copy(table, harm):
    table.set_up(options={"begin": "now+1hour"})
    table.command("run")
    (copy,) = (table.results.root / "snapshots").iterdir()
    if harm == "removed":
        shutil.rmtree(copy)
    else:
        (copy / "ifrvis" / "streams.py").write_text("changed = 1\n")
    start_now(table)
    wait_until(lambda: table.kinds() == ["input"], "it ends")
    assert f"{copy} is gone or was changed" in table.attempts()[0].ending().message
    assert not table.all_starts()


def test_a_job_that_dies_before_python_says_why_and_is_not_tried_for_ever(table):
    table.set_up(setup=["echo no module named cuda; exit 3"])
    for number in (1, 2):
        table.command("run")
        wait_until(lambda: table.states() and len([*filter(None, table.kinds())]) == number, "it is seen")  # noqa: B023
        said = table.command("status")
        assert "exit code 3:0; it last said: no module named cuda" in said
        assert "no module named cuda" in logs_of(table)
    table.command("run", "--wait", expected=1)
    assert table.kinds() == ["startup", "startup", "input"]
    assert table.states() == ["failed"]
    assert "waits for `ifrvis retry`" in table.command("run", expected=1)
    table.set_up()
    table.command("retry")
    table.command("run", "--wait")
    assert table.states() == ["complete"]


def logs_of(table):
    name = table.attempts()[0].run.name
    command = ["-m", "ifrvis", "logs", name, "--results", str(table.results.root)]
    return subprocess.run([sys.executable, *command], capture_output=True, text=True).stdout


def test_a_banner_before_the_answer_of_sbatch_is_no_id(table, stub):
    stub("sbatch", 'echo "*** checks: 3 tickets open, job 12 of the day ***"\nexec /usr/bin/sbatch "$@"')
    table.set_up(pretraining=True)
    said = table.command("run")
    assert "tickets" not in said
    (first, *_) = [line for line in said.splitlines() if "runs submitted" in line]
    numbers = {squeue("--name=" + each.name, "-t", "all", "-o", "%A").split()[0] for each in table.arrays()}
    assert all(f"{number} (of 1)" in first for number in numbers)
    table.wait_for("complete")


def test_what_another_launcher_has_just_submitted_is_not_left(table, monkeypatch):
    """It takes both runs between this launch's look and its claims."""
    table.set_up(pretraining=True, iterations=10, fake={"slow_s": 2.0})  # no run ends before it is looked for
    real, others = queue.claim, [table.start]

    def late(run, *given, **how):
        if others:
            assert others.pop()().wait(60) == 0
        return real(run, *given, **how)

    monkeypatch.setattr(queue, "claim", late)
    said = table.command("run")
    assert "2 of 2 runs submitted before, queued or running" in said
    assert "left until" not in said


def test_a_wrapper_starts_python_and_what_the_job_is_told_of_its_gpus_is_believed(table):
    given, seen = "MIG-377e0049-554c-540b-93c6-d0976f8426cb", table.folder / "seen"
    wrapper = ["env", f"CUDA_VISIBLE_DEVICES={given}", "WRAPPED=with a space"]
    table.set_up(gpus=1, fake={"seen": str(seen)}, srun=["--mpi=none"], wrapper=wrapper)
    table.command("run", "--wait")
    told = json.loads(seen.read_text())["variables"]
    assert (told["CUDA_VISIBLE_DEVICES"], told["WRAPPED"]) == (given, "with a space")


def test_each_row_is_an_array_of_its_seeds_and_scripts_can_be_looked_at_before(table):
    table.set_up(seeds=3, options={"comment": 'two words # it\'s "mine"', "begin": "now+1hour"})
    rows = ["mask2former-r50-ytvis19", "ours-r50-ytvis19"]
    table.to_cluster[table.to_cluster.index("--rows") + 1] = ",".join(rows)
    folder = table.folder / "scripts"
    said = table.command("run", "--dump-scripts", str(folder), "--json")
    assert json.JSONDecoder().raw_decode(said)[0] == sorted(map(str, folder.iterdir()))
    assert [path.name for path in sorted(folder.iterdir())] == [
        f"{number:03d}-{row}.sh" for number, row in enumerate(rows)
    ]
    assert not table.arrays()
    for path in folder.iterdir():
        subprocess.run(["sbatch", "--test-only", path], check=True, capture_output=True)
    said = table.command("run", "--json")
    assert "6 of 6 runs submitted" in said
    assert len(json.JSONDecoder().raw_decode(said)[0]) == 6
    names = [each.name for each in table.arrays()]
    found = squeue(f"--name={','.join(names)}", "-o", "%K %k").splitlines()
    assert found == ['0-2%3 two words # it\'s "mine"'] * 2
    assert table.sizes() == [3, 3]


def test_a_run_that_another_has_taken_over_is_left_to_it_in_one_line(table):
    table.set_up(options={"begin": "now+1hour"})
    table.command("run")
    (attempt,) = table.attempts()
    attempt.end("killed", kind="killed")
    claim(attempt.run, attempt.submission())
    start_now(table)
    output = lambda: [path.read_text() for path in table.arrays()[0].glob("*.out")]  # noqa: E731
    wait_until(lambda: any(each.endswith("\n") for each in output()), "it says so")
    assert output() == [f"nothing left for this job to do: attempt 2 of {attempt.run.name} is pending\n"]
