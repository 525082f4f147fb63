"""What `status` shows of each row and seed, when watching it ends, and which rows have learned.

Also tests: ifrvis.harness.store.learning, ifrvis.harness.store.states.
"""

import dataclasses

import pytest
from made_records import asked, made_record

from ifrvis.cli import main
from ifrvis.errors import UserError
from ifrvis.harness.plan.planner import make_plan
from ifrvis.harness.plan.status import cost_lines, plan_lines, status_lines, verdicts
from ifrvis.harness.spec.profiles import Learning
from ifrvis.harness.spec.tables import load_table
from ifrvis.harness.store.alive import this_process
from ifrvis.harness.store.attempts import claim

SMOKE = ["table1", "--profile", "smoke", "--rows", "mask2former-r50-ytvis19", "--seeds", "1"]


@pytest.mark.parametrize(
    ("ending", "line"),
    [
        (("killed", "killed", "SLURM says NODE_FAIL"), "pending         attempt 1 was killed: SLURM says NODE_FAIL"),
        (("stopped", "timeout", "stopped at 3"), "pending         attempt 1 stopped: stopped at 3"),
        (("failed", "preempted", "gone"), "pending         attempt 1 failed: gone"),
        (("failed", "error", "RuntimeError: no"), "failed          RuntimeError: no"),
        (("complete", "", ""), "pending"),
    ],
)
def test_a_last_attempt_that_died_says_why(make_request, ending, line):
    request = make_request(num_seeds=1)
    attempt = claim(make_plan(request).trainings[0].run(request.store), asked())
    attempt.end(ending[0], kind=ending[1], message=ending[2])
    assert status_lines(make_plan(request))[0].endswith(line)


def test_one_that_was_killed_with_its_launcher_says_that_much(make_request):
    request = make_request(num_seeds=1)
    attempt = claim(make_plan(request).trainings[0].run(request.store), asked())
    process = this_process().model_copy(update={"started": "0"})
    (attempt.folder / "job.json").write_text(process.model_dump_json())
    assert status_lines(make_plan(request))[0].endswith("pending         attempt 1 was killed: it left no word")


def test_a_row_that_waits_for_a_pretraining_says_how_that_died(make_request):
    request = make_request(num_seeds=1, pretraining=True)
    attempt = claim(make_plan(request).trainings[0].run(request.store), asked())
    attempt.end("killed", kind="killed", message="SLURM says NODE_FAIL")
    died = "pending         pretraining-r50-smoke19: attempt 1 was killed: SLURM says NODE_FAIL"
    assert status_lines(make_plan(request))[0].endswith(died)


def test_counts_are_of_what_there_is_to_do_in_one_order(make_request):
    """Of weights that are shipped nothing is evaluated; what is complete comes first, whatever comes first in rows."""
    plan = make_plan(make_request("table3", profile="mini", pretraining=True, rows=("ours-r50-ytvis19",), num_seeds=3))
    plan.trainings[-1].state = plan.evaluations[-1].state = "complete"
    plan.trainings[1].measured_hours = 1.0
    counts, hours = cost_lines(plan)[:3], cost_lines(plan)[-1]
    each = "3: 1 complete, 2 pending"
    assert counts == ["pretrainings 1: 1 complete", f"trainings {each}", f"evaluations {each}"]
    assert "(1 training as measured on siblings, 1 by" in hours
    assert status_lines(plan)[-1] == "1 complete, 2 pending"


def test_a_row_says_what_one_of_its_seeds_has_to_say(make_request):
    request = make_request(num_seeds=3)
    attempt = claim(make_plan(request).trainings[1].run(request.store), asked())
    attempt.end("killed", kind="killed", message="SLURM says NODE_FAIL")
    row, counts = status_lines(make_plan(request))
    assert row.endswith("0/3     pending         attempt 1 was killed: SLURM says NODE_FAIL")
    assert counts == "3 pending"
    plan = make_plan(request)
    plan.evaluations[0].state = "complete"
    assert status_lines(plan)[0].endswith("1/3     2 pending       attempt 1 was killed: SLURM says NODE_FAIL")
    assert any(line.endswith("1/3  2 pending") for line in plan_lines(plan))
    assert len(status_lines(make_plan(request), seeds_too=True)) == 4


@pytest.mark.parametrize("seconds", ["inf", "nan", "0", "-1", "1e9"])
def test_watching_takes_a_number_of_seconds(seconds, capsys, tmp_path):
    assert main(["status", *SMOKE, "--results", str(tmp_path), f"--watch={seconds}"]) == 2
    assert capsys.readouterr().err.startswith("ifrvis: Correct --watch: give a number from 0.01 to 86400")


def test_watching_ends_when_nothing_runs_or_may_begin(make_request, monkeypatch, capsys):
    """A row that is `not run`, because its data are files and nobody has launched it, changes by itself never."""
    request = make_request(num_seeds=1)
    plans = []

    def planned(_, **how):
        plans.append(make_plan(request))
        plans[-1].trainings[0].state = "running" if len(plans) < 3 else "not run"
        return plans[-1]

    monkeypatch.setattr("ifrvis.harness.jobs.launch.make_plan", planned)
    request.store.root.mkdir()
    assert main(["status", *SMOKE, "--watch", "0.01", "--results", str(request.store.root)]) == 0
    assert len(plans) == 4  # twice quiet: a queue may be between two runs


@pytest.fixture
def judged(make_request):
    """A plan whose one row is complete: `judged(Learning(...), start, last, final)`."""

    def make(learning, start, last, final):
        request = make_request(num_seeds=1)
        plan = make_plan(
            dataclasses.replace(request, profile=request.profile.model_copy(update={"learning": learning}))
        )
        (evaluation,) = plan.evaluations
        evaluation.state = "complete"
        evaluation.record = made_record({} if final is None else {"AP": final}, curve={"10": last, "0": start})
        return verdicts(plan)

    return make


@pytest.mark.parametrize(
    ("start", "last", "final", "learned"),
    [
        (0.02, 0.19, 0.16, True),
        (0.02, 0.19, 0.14, False),  # it does not reach enough
        (0.0, 0.0, 0.0, False),  # dead
        (0.5, 0.5, 0.5, False),  # not trained
        (0.5, 0.52, 0.5, False),
        (0.5, 0.53, 0.5, True),  # a good start leaves less to gain
        (0.5, 0.4, 0.4, False),
        (0.02, 0.05, 0.16, False),
    ],
)
def test_a_row_has_learned_if_it_reaches_enough_and_gains_of_what_its_start_left(judged, start, last, final, learned):
    (line, *more), all_learned = judged(Learning(videos=15, gain=0.05, reach=0.15), start, last, final)
    assert all_learned is learned
    real = "`ifrvis run table1 --rows mask2former-r50-ytvis19 --profile paper`"
    assert more == [f"not learned, compares nothing; with real weights, on a GPU: {real}"] * (not learned)
    assert (": learned (" in line) is learned
    watched = f"{100 * start:.1f} with the initial weights, {100 * last:.1f} after training"
    assert f"AP {100 * final:.1f}; on 15 watched videos {watched}" in line


def test_a_table_for_one_profile_alone_is_not_sent_to_real_weights(make_request):
    request = make_request(num_seeds=1)
    assert request.with_real_weights(load_table("table1"), ["a", "b"], None).endswith("--rows a,b --profile paper`")
    assert [request.with_real_weights(load_table(name), ["a"], None) for name in ("ovis", "real")] == ["", ""]


def test_without_bounds_nothing_is_judged(judged):
    for nothing in (0.0, None):  # or a record without AP
        (line,), all_learned = judged(Learning(videos=15), 0.5, 0.0, nothing)
        assert all_learned
        assert "AP 0.0" in line
        assert "learned" not in line


def test_run_begins_with_what_plan_says(monkeypatch, capsys, roots):
    """Number of trainings, how many go on at once, how long it takes."""

    def full(plan):
        raise UserError("Free some disk space.")

    monkeypatch.setattr("ifrvis.harness.plan.cost.check_disk", full)  # the last look before anything starts
    monkeypatch.setattr("ifrvis.harness.jobs.launch.num_cores", lambda: 8)
    options = [*SMOKE[:-1], "3", "--set", "train.threads=4", *roots]
    assert [main([command, *options]) for command in ("run", "plan")] == [2, 0]
    ran, _, planned, *_ = (line for line in capsys.readouterr().out.splitlines() if line[0] != " ")
    assert ran == planned
    assert "3 trainings after 1 pretraining, 4 to run, about 29 s with 2 at once" in planned
