"""Attempts that did not complete: what goes on by itself, and what waits for `retry`."""

import fake_worker
from made_records import asked

from ifrvis.harness.jobs.local import LocalQueue
from ifrvis.harness.plan.planner import make_plan
from ifrvis.harness.plan.status import waiting_lines
from ifrvis.harness.store.attempts import attempts_of, claim
from ifrvis.harness.store.recovery import ask_for_retry, gives_up


def test_a_launch_gives_up_after_three_attempts_in_a_row_that_wrote_no_checkpoint(run):
    for number in range(1, 5):
        attempt = claim(run, asked())
        if number == 1:
            attempt.checkpoints.mkdir()
            (attempt.checkpoints / "count").touch()
        attempt.end("killed", kind="killed")
        assert bool(gives_up(run, since=0)) == (number == 4)
    assert not gives_up(run, since=2)  # another launch has found the first two


def test_a_run_that_dies_again_and_again_fails_and_the_others_complete(make_request, fake, launch, states):
    fake(die=[0])
    request = make_request()
    succeeded, queue = launch(request)
    assert not succeeded
    assert queue.items[0].message == "killed 3 times in a row before it had written a checkpoint"
    assert len(attempts_of(make_plan(request).trainings[0].run(request.store))) == 3
    assert states(request) == ["pending", "complete"]  # another launch may go on
    fake()
    assert launch(request)[0]


def test_a_failed_run_is_started_by_no_launch_before_retry(make_request, fake, launch, states, tmp_path):
    fake(fail=[0], error="MemoryError", log=str(tmp_path / "starts"))
    request = make_request()
    succeeded, queue = launch(request)
    assert not succeeded
    assert states(request) == ["failed", "complete"]
    said = "Start with fewer --jobs, or --micro-batch 1: out of memory. MemoryError: made to fail"
    assert queue.items[0].message == said
    assert "made to fail" in queue.items[0].attempt.log.read_text()
    assert launch(request)[0]  # nothing is left to do
    assert len((tmp_path / "starts").read_text().splitlines()) == 2
    plan = make_plan(request)
    (line,) = waiting_lines(plan)
    assert "mask2former-r50-ytvis19-s0 failed before, memory: " in line
    assert "`ifrvis retry mask2former-r50-ytvis19-s0`" in line
    fake()
    (failed,) = (each for each in plan.trainings if each.state == "failed")
    assert ask_for_retry(failed.run(request.store))
    assert states(request) == ["pending", "complete"]
    assert launch(request)[0]
    assert states(request) == ["complete"] * 2


def test_what_starts_from_a_failed_pretraining_waits_with_it(make_request, fake, launch, states, tmp_path):
    fake(fail=[0], log=str(tmp_path / "starts"))
    request = make_request(pretraining=True)
    succeeded, queue = launch(request)
    assert not succeeded
    assert states(request) == [item.state for item in queue.items] == ["failed"] * 3
    assert "pretraining-r50-smoke19, which it starts from, failed" in queue.items[1].message
    assert len((tmp_path / "starts").read_text().splitlines()) == 1
    plan = make_plan(request)
    assert plan.to_run == []
    assert all("`ifrvis retry pretraining-r50-smoke19`" in line for line in waiting_lines(plan))


def test_a_launcher_takes_the_failure_of_another_for_its_own(make_request, fake, launch, tmp_path):
    """It planned the run before the other started it: it must not start it again."""
    fake(fail=[0], log=str(tmp_path / "starts"))
    request = make_request(num_seeds=1)
    late = LocalQueue(make_plan(request).to_run, request, jobs=1, run_attempt=fake_worker.run_attempt)
    assert not launch(request)[0]
    assert not late.run(lambda items: None)
    assert late.items[0].message == "RuntimeError: made to fail"
    assert len((tmp_path / "starts").read_text().splitlines()) == 1


def test_a_run_that_cannot_be_started_leaves_the_others_alone(make_request, fake, launch, states):
    request = make_request()
    broken = make_plan(request).trainings[0].run(request.store)
    broken.folder.mkdir(parents=True)
    (broken.folder / "spec.json").write_text("{}")
    succeeded, queue = launch(request)
    assert not succeeded
    assert [item.state for item in queue.items] == ["failed", "complete"]
    assert str(broken.folder) in queue.items[0].message
