"""How the life of an attempt ends: what it raises, and what reaches it, becomes a word that the next launch goes by."""

import os
import signal

import pytest
from made_records import asked

from ifrvis.errors import UserError
from ifrvis.harness.jobs.worker_life import StoppedError, live
from ifrvis.harness.store.attempts import claim
from ifrvis.harness.store.recovery import ask_for_retry, kind_of, why_blocked


class OutOfMemoryError(Exception):
    """Named as torch names its own."""


class NotFiniteLossError(UserError):
    """Named as the training loop names its own."""


def raising(error):
    def work(attempt, progress):
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (KeyError("x"), "error"),
        (UserError("Put it right."), "input"),
        (NotFiniteLossError("Lower it."), "nan"),
        (MemoryError(), "memory"),
        (OutOfMemoryError(), "memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "memory"),
    ],
)
def test_kinds_of_failure_are_told_apart_and_wait_for_retry(run, error, kind):
    attempt = claim(run, asked())
    live(str(attempt.folder), raising(error))
    assert kind_of(attempt) == kind
    assert why_blocked(run).startswith(f"{kind}: ")
    assert ask_for_retry(run)
    assert why_blocked(run) == ""
    assert not ask_for_retry(run)  # it may start already


def test_a_killed_loader_goes_on_wherever_its_run_just_was(run):
    def work(attempt, progress):
        try:
            raise RuntimeError("DataLoader worker (pid 4771) is killed by signal: Killed. ")
        except RuntimeError as error:  # it was about to write a checkpoint
            raise UserError("Free some disk space.") from error

    attempt = claim(run, asked())
    live(str(attempt.folder), work)
    assert kind_of(attempt) == "killed"
    assert why_blocked(run) == ""


@pytest.mark.parametrize(("sent", "kind"), [(signal.SIGTERM, "preempted"), (signal.SIGUSR2, "timeout")])
def test_a_signal_asks_for_a_stop_at_the_next_safe_point(run, sent, kind):
    def work(attempt, progress):
        os.kill(os.getpid(), sent)
        assert attempt.is_asked_to_stop()
        raise StoppedError("stopped at 3")

    before = signal.getsignal(sent)
    attempt = claim(run, asked())
    live(str(attempt.folder), work)
    assert attempt.state() == "stopped"
    assert kind_of(attempt) == kind
    assert why_blocked(run) == ""
    assert signal.getsignal(sent) == before


@pytest.mark.parametrize("overtaken", [False, True])
def test_a_worker_that_was_given_up_or_overtaken_before_it_began_does_nothing(run, overtaken):
    attempt = claim(run, asked())
    (run.attempts / "0002").mkdir() if overtaken else attempt.end("failed", kind="killed")
    live(str(attempt.folder), lambda attempt, progress: pytest.fail("it works"))
    assert overtaken or not attempt.log.exists()
    assert attempt.state() == ("stopped" if overtaken else "failed")
