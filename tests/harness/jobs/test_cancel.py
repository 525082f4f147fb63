"""`cancel`, `retry` and `logs` on living runs of the fake worker, and a worker that everybody thought dead.

Also tests: ifrvis.commands.runs, ifrvis.harness.store.logs.
"""

import json
import os
import signal
import threading
import time

import pytest
from made_records import asked

from ifrvis.cli import main
from ifrvis.errors import UserError
from ifrvis.harness.jobs.cancel import cancel, cancel_waiting
from ifrvis.harness.plan.planner import make_plan
from ifrvis.harness.store import attempts
from ifrvis.harness.store.attempts import attempts_of, claim, latest
from ifrvis.harness.store.lives import Progress
from ifrvis.harness.store.logs import log_lines
from ifrvis.harness.store.names import runs_named
from ifrvis.harness.store.records import read_record


def runs_of(request):
    return [each.run(request.store) for each in make_plan(request).trainings]


@pytest.mark.parametrize("now", [False, True])
def test_a_cancelled_run_neither_goes_on_by_itself_nor_fails(make_request, fake, launch, midway, states, capsys, now):
    fake(slow_s=0.2)
    request = make_request(num_seeds=1, overrides={"train.iterations": 60})
    arguments = ["cancel", "mask2former-r50", "--results", str(request.store.root), *["--now"] * now]
    _, queue = midway(request, 2, lambda items: main(arguments))
    assert queue.items[0].state == "stopped"
    (run,) = runs_of(request)
    assert latest(run).ending().kind == "cancelled"
    assert f"{run.name} stopped" in capsys.readouterr().out
    assert states(request) == ["pending"]
    fake()
    assert launch(request)[0]
    assert len(attempts_of(run)) == 2


def test_what_waits_in_a_queue_is_cancelled_before_it_begins(make_request, fake, launch, midway, tmp_path):
    fake(slow_s=0.2, log=str(tmp_path / "starts"))
    request = make_request(num_seeds=2, overrides={"train.iterations": 60})
    first, second = runs_of(request)

    def do(items):
        cancel_waiting(make_plan(request).trainings[1:], request)
        cancel([first, second], now=False, patience_s=30, say=lambda line: None)

    assert [item.state for item in midway(request, 2, do)[1].items] == ["stopped", "stopped"]
    assert second.read_spec().train.seed == 1  # what reads folders of runs finds one that is whole
    assert len((tmp_path / "starts").read_text().splitlines()) == 1
    fake()
    assert launch(request)[0]


def test_a_run_of_another_machine_is_not_killed_from_here(make_request):
    (run,) = runs_of(make_request(num_seeds=1))
    attempt = claim(run, asked())
    (attempt.folder / "job.json").write_text(json.dumps({"machine": "elsewhere", "pid": 1, "started": "1"}))
    attempt.beat(Progress(phase="training"))
    with pytest.raises(UserError, match="without --now"):
        cancel([run], now=True, patience_s=0, say=lambda line: None)
    assert not cancel([run], now=False, patience_s=0, say=lambda line: None)
    assert attempt.is_asked_to_stop()


def test_without_patience_it_is_seen_that_a_killed_run_is_gone(make_request, fake, midway):
    fake(slow_s=0.2)
    request, said = make_request(num_seeds=1, overrides={"train.iterations": 60}), []

    def kill(items):
        assert cancel(runs_of(request), now=True, patience_s=0, say=said.append)

    midway(request, 2, kill)
    assert [line.rpartition(" ")[2] for line in said] == ["killed", "stopped"]


def test_retry_by_run_and_by_kind(make_request, fake, launch, states, capsys):
    fake(fail=[0, 1], error="MemoryError")
    request = make_request()
    launch(request, jobs=2)
    results = ["--results", str(request.store.root)]
    assert main(["retry", "mask2former", "--kind", "nan", *results]) == 0
    assert states(request) == ["failed", "failed"]
    assert main(["retry", "mask2former-r50-ytvis19-s1", *results]) == 0
    assert states(request) == ["failed", "pending"]
    assert main(["retry", "mask2former", "--kind", "memory", *results]) == 0
    assert states(request) == ["pending", "pending"]
    assert capsys.readouterr().out.count("1 to be tried again") == 2
    assert main(["retry", "mask2former", "--kind", "sadness", *results]) == 2


def test_a_followed_log_goes_on_with_the_next_attempt_until_the_run_ends(make_request):
    (training,) = make_plan(request := make_request(num_seeds=1)).trainings
    run = training.run(request.store)
    run.write_spec(training.spec)
    first = claim(run, asked())
    with pytest.raises(UserError, match="has no log yet"):
        list(log_lines(run, 5))
    first.log.write_text("one\ntwo\nthree\n")
    lines = log_lines(runs_named(run.store, "mask2former")[0], 2, follow=True)
    assert [next(lines), next(lines)] == ["two", "three"]

    def go_on():
        time.sleep(0.2)
        first.end("killed", kind="killed")
        second = claim(run, asked())
        second.log.write_text("four\n")
        second.end("complete")

    thread = threading.Thread(target=go_on)
    thread.start()
    assert list(lines) == ["four"]
    thread.join()


def test_a_worker_that_wakes_up_after_it_was_overtaken_publishes_nothing(make_request, fake, launch, midway):
    """Frozen as by a hanging machine, its heartbeat grows old, another attempt completes the run; then it wakes up."""
    fake(slow_s=0.2)
    request = make_request(num_seeds=1, overrides={"train.iterations": 40})
    (run,) = runs_of(request)

    def freeze_and_overtake(items):
        first = latest(run)
        pid = json.loads((first.folder / "job.json").read_text())["pid"]
        os.kill(pid, signal.SIGSTOP)
        old = time.time() - attempts.HEARTBEAT_LIMIT_S - 1
        os.utime(first.folder / "heartbeat", (old, old))
        try:
            fake()
            assert first.state() == "killed"
            assert launch(request)[0]
            count = (first.checkpoints / "count").read_text()
            (record,) = request.store.root.glob("records/*/*")
            digest = read_record(record).digest
        finally:
            os.kill(pid, signal.SIGCONT)
        while first.ending() is None:
            time.sleep(0.05)
        assert first.ending().kind == "overtaken"
        assert (first.checkpoints / "count").read_text() == count
        assert read_record(record).digest == digest

    assert midway(request, 2, freeze_and_overtake)[0]
    assert len(attempts_of(run)) == 2
