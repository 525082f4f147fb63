"""A run's lives as a state machine: killed, frozen and raced at every step of claim, train and publish.

What has to hold at any instant: one attempt has the claim, no step of a worker that was overtaken leaves anything, a
count never falls, a record never changes. And whatever happened, one more launch ends the run.
"""

import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from made_records import asked, made_record, made_run

from ifrvis.harness.store.alive import machine, process_start
from ifrvis.harness.store.attempts import HEARTBEAT_LIMIT_S, StaleAttemptError, attempts_of, claim, latest
from ifrvis.harness.store.lives import Progress
from ifrvis.harness.store.paths import Store
from ifrvis.harness.store.records import publish_record, read_record
from ifrvis.harness.store.recovery import ask_for_retry, why_blocked

TOTAL = 3


class Worker:
    """One attempt's process, which lives until it is killed, one step at a time."""

    def __init__(self, run, attempt):
        self.run, self.attempt = run, attempt
        self.steps = self._steps()

    def appears(self, *, alive, here=True):
        process = {"machine": machine() if here else "elsewhere", "pid": os.getpid()}
        process["started"] = process_start(os.getpid()) if alive else "1"
        (self.attempt.folder / "job.json").write_text(json.dumps(process))

    def _steps(self):
        self.appears(alive=True)
        self.attempt.beat(Progress(phase="training"))
        yield
        for count in range(counted(self.run) + 1, TOTAL + 1):
            self.attempt.check_fence()
            self.attempt.checkpoints.mkdir(exist_ok=True)
            (self.attempt.checkpoints / "count").write_text(str(count))
            yield
        self.attempt.check_fence()
        publish_record(self.run.store, record(self.run, self.attempt.number))
        yield
        self.attempt.end("complete")


def counted(run):
    return max((int(path.read_text()) for path in run.attempts.glob("*/checkpoints/count")), default=0)


def record_path(run):
    return run.store.records("mini") / record(run, 0).file_name


def record(run, number):
    return made_record(peak_memory_bytes=number)


class Lives(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.patch = mock.patch("os.fsync")  # nothing here outlives the power, and it takes most of the time
        self.patch.start()
        self.folder = Path(tempfile.mkdtemp())
        self.run = made_run(Store(self.folder))
        self.workers, self.most, self.published = [], 0, None

    def lives(self):
        """Whether the newest attempt does; an older one that wakes up shows signs of life, and may do nothing."""
        newest = latest(self.run)
        return newest is not None and newest.state() in ("pending", "running")

    @rule()
    def launch(self):
        """As many launchers as like may look at once: who knows an older newest attempt gets nothing."""
        newest, alive = latest(self.run), self.lives()
        known = newest.number if newest else 0
        got = None if why_blocked(self.run) or record_path(self.run).exists() else claim(self.run, asked(), after=known)
        assert claim(self.run, asked(), after=known - 1) is None
        assert got is None or not alive
        if got is not None:
            assert claim(self.run, asked(), after=known) is None
            self.workers.append(Worker(self.run, got))

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def step(self, data):
        """Any worker goes on, also one that all think dead: it was only frozen."""
        worker = data.draw(st.sampled_from(self.workers))
        overtaken = latest(self.run).number > worker.attempt.number
        before = (counted(self.run), record_path(self.run).exists())
        try:
            next(worker.steps)
        except (StaleAttemptError, StopIteration):
            self.workers.remove(worker)
        if overtaken:
            assert (counted(self.run), record_path(self.run).exists()) == before

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def kill(self, data):
        worker = data.draw(st.sampled_from(self.workers))
        worker.appears(alive=False)
        self.workers.remove(worker)

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def freeze(self, data):
        """Its machine hangs: no sign of life for too long, and it may wake up later."""
        worker = data.draw(st.sampled_from(self.workers))
        if worker.attempt.ending() is None:
            worker.appears(alive=True, here=False)
            worker.attempt.beat(Progress(phase="training"))
            old = time.time() - HEARTBEAT_LIMIT_S - 1
            os.utime(worker.attempt.folder / "heartbeat", (old, old))

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), kind=st.sampled_from(["error", "nan", "memory"]))
    def fail(self, data, kind):
        worker = data.draw(st.sampled_from(self.workers))
        self.workers.remove(worker)
        worker.attempt.end("failed", kind=kind, message="made to fail")
        if latest(self.run) == worker.attempt:
            assert why_blocked(self.run) == f"{kind}: made to fail"
            assert not self.lives()

    @rule()
    def retry(self):
        ask_for_retry(self.run)
        assert why_blocked(self.run) == ""

    @invariant()
    def one_claim_and_nothing_undone(self):
        if not hasattr(self, "run"):
            return
        numbers = [each.number for each in attempts_of(self.run)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert counted(self.run) >= self.most
        self.most = counted(self.run)
        if record_path(self.run).exists():
            digest = read_record(record_path(self.run)).digest
            assert self.published in (None, digest)
            self.published = digest

    def teardown(self):
        if not hasattr(self, "run"):
            return
        for worker in list(self.workers):
            worker.appears(alive=False)
        ask_for_retry(self.run)
        if not record_path(self.run).exists():
            for _ in (worker := Worker(self.run, claim(self.run, asked()))).steps:
                self.one_claim_and_nothing_undone()
            assert worker.attempt.state() == "complete"
        assert read_record(record_path(self.run)).metrics == {"AP": 0.5}
        assert counted(self.run) == TOTAL
        shutil.rmtree(self.folder)
        self.patch.stop()


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=40, stateful_step_count=25)


def test_a_worker_between_its_fence_and_its_record_changes_no_record(tmp_path):
    """It looked at its fence, slept, was overtaken, and wakes up: the record that is there stays."""
    run = made_run(Store(tmp_path))
    first = claim(run, asked())
    first.check_fence()
    first.end("stopped")
    publish_record(run.store, record(run, claim(run, asked()).number))
    assert not publish_record(run.store, record(run, first.number))
    assert read_record(record_path(run)).peak_memory_bytes == 2
    with pytest.raises(StaleAttemptError):
        first.check_fence()
