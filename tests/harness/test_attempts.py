"""Attempts: claimed once, fenced, and told alive from dead by their files."""

import json
import os
import threading
import time

import pytest

from ifrvis.harness import attempts
from ifrvis.harness.attempts import StaleAttemptError, claim, latest, machine, process_start
from ifrvis.harness.runs import Results


@pytest.fixture
def run(tmp_path):
    return Results(tmp_path).run("mask2former-r50-ytvis19-s0", "a" * 64)


def write_process(attempt, pid, started):
    (attempt.folder / "job.json").write_text(json.dumps({"machine": machine(), "pid": pid, "started": started}))


def test_of_many_racing_launchers_one_gets_the_attempt(run):
    barrier, got = threading.Barrier(8), []

    def launch():
        barrier.wait()
        got.append(claim(run, {"name": "x"}))

    threads = [threading.Thread(target=launch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [attempt.number for attempt in got if attempt] == [1]


def test_a_living_attempt_is_not_claimed_again(run):
    attempt = claim(run, {})
    write_process(attempt, os.getpid(), process_start(os.getpid()))
    attempt.beat({})
    assert attempt.state() == "running"
    assert claim(run, {}) is None


def test_a_process_that_is_gone_is_killed_whatever_its_heartbeat(run):
    attempt = claim(run, {})
    attempt.beat({})
    write_process(attempt, os.getpid(), "1")  # the same id, but another process: it started at another time
    assert attempt.state() == "killed"
    assert claim(run, {}).number == 2


def test_an_old_heartbeat_from_elsewhere_is_killed(run):
    attempt = claim(run, {})
    attempt.beat({})
    old = time.time() - attempts.HEARTBEAT_LIMIT_S - 1
    os.utime(attempt.folder / "heartbeat", (old, old))
    assert attempt.state() == "killed"


def test_a_claim_that_never_started_expires(run):
    attempt = claim(run, {})
    assert attempt.state() == "pending"
    old = time.time() - attempts.PENDING_LIMIT_S - 1
    os.utime(attempt.folder, (old, old))
    assert attempt.state() == "killed"


def test_an_overtaken_attempt_is_stale(run):
    first = claim(run, {})
    first.end("stopped")
    first.check_fence()
    second = claim(run, {})
    second.check_fence()
    with pytest.raises(StaleAttemptError, match="overtaken by attempt 2"):
        first.check_fence()
    assert latest(run) == second


def test_how_it_ended_is_what_the_state_says(run):
    attempt = claim(run, {})
    attempt.end("failed", kind="nan", message="loss is not finite")
    assert attempt.state() == "failed"
    assert attempt.ending()["message"] == "loss is not finite"
