"""Which attempt a job lives, first and after it was requeued; what is made of a scheduler's word."""

import contextlib
import json
import os

import pytest
from made_records import asked

from ifrvis.errors import UserError
from ifrvis.harness.jobs import scheduler as scheduler_module
from ifrvis.harness.jobs.cancel import cancel
from ifrvis.harness.jobs.node import next_attempt
from ifrvis.harness.jobs.scheduler import Job, settle
from ifrvis.harness.store import attempts
from ifrvis.harness.store.attempts import claim, latest
from ifrvis.harness.store.lives import Place, Progress
from ifrvis.harness.store.recovery import kind_of


def submitted(run, name="ifrvis-1"):
    attempt = claim(run, asked())
    attempt.put(Place(name=name, index=0, cluster="here", user=os.getuid()))
    return attempt


def test_a_job_lives_the_attempt_that_it_was_submitted_for(run):
    first = submitted(run)
    assert next_attempt(first) == first


@pytest.mark.parametrize("kind", ["preempted", "timeout", "killed"])
def test_a_requeued_job_makes_the_next_attempt(run, kind):
    first = submitted(run)
    first.beat(Progress(phase="training"))
    if kind != "killed":
        first.end("stopped", kind=kind)
    second = next_attempt(first)
    assert second.number == 2
    assert second.place() == first.place()
    assert second.submission() == first.submission()
    assert kind_of(first) == kind
    second.beat(Progress(phase="training"))
    assert next_attempt(first).number == 3


@pytest.mark.parametrize(("reason", "kind"), [("complete", ""), ("failed", "nan"), ("stopped", "cancelled")])
def test_a_requeued_job_leaves_a_run_alone_that_ended_for_good(run, reason, kind):
    first = submitted(run)
    first.end(reason, kind=kind)
    assert next_attempt(first) is None
    assert latest(run) == first


def test_a_job_leaves_a_run_alone_that_another_launcher_has_gone_on_with(run):
    first = submitted(run)
    first.end("killed", kind="killed")
    other = submitted(run, "ifrvis-2")
    assert next_attempt(first) is None
    assert next_attempt(other) == other


def test_a_job_gives_up_after_three_lives_without_a_checkpoint(run):
    first = submitted(run)
    lives = [first]
    while len(lives) < 9 and (attempt := next_attempt(first)) is not None:
        attempt.beat(Progress(phase="training"))
        lives.append(attempt)
    assert latest(run).number == 3


@pytest.fixture
def scheduler(monkeypatch):
    """Say what the scheduler answers: `scheduler({0: Job(...)})`; None for no answer."""

    def answer(jobs, cluster="here"):
        monkeypatch.setattr(scheduler_module, "settings", lambda: {"ClusterName": cluster})
        known = None if jobs is None else {("ifrvis-1", index): job for index, job in jobs.items()}
        monkeypatch.setattr(scheduler_module, "jobs_of", lambda keys: known)

    return answer


@pytest.mark.parametrize(
    ("job", "state", "kind"),
    [
        (Job("7_0", "PENDING"), "pending", ""),
        (Job("7_0", "RUNNING"), "pending", ""),
        (Job("7_0", "SUSPENDED"), "pending", ""),
        (Job("7_0", "SOMETHING_NEW"), "pending", ""),
        (Job("7_0", "FAILED"), "killed", "startup"),
        (Job("7_0", "NODE_FAIL"), "killed", "killed"),
        (Job("7_0", "TIMEOUT"), "killed", "timeout"),
        (Job("7_0", "PREEMPTED"), "killed", "preempted"),
        (Job("7_0", "OUT_OF_MEMORY"), "failed", "memory"),
        (Job("7_0", "CANCELLED"), "stopped", "cancelled"),
        (Job("7_0", "CANCELLED", "DependencyNeverSatisfied"), "killed", "killed"),
    ],
)
def test_what_the_scheduler_says_of_a_job_that_said_nothing(run, scheduler, job, state, kind):
    attempt = submitted(run)
    scheduler({0: job})
    settle([attempt])
    assert (attempt.state(), kind_of(attempt)) == (state, kind)


def test_what_an_attempt_said_itself_stands(run, scheduler):
    attempt = submitted(run)
    attempt.end("failed", kind="nan", message="mine")
    scheduler({0: Job("7_0", "COMPLETED")})
    settle([attempt])
    attempt.end_unless_ended("killed", kind="killed", message="another's")
    assert kind_of(attempt) == "nan"


def test_no_answer_or_another_cluster_or_another_user_is_no_verdict(run, scheduler):
    attempt = submitted(run)
    scheduler(None)
    assert settle([attempt]) is None
    scheduler({}, cluster="elsewhere")
    assert settle([attempt]) == {}
    attempt.put(attempt.place().model_copy(update={"user": os.getuid() + 1}))
    scheduler({})
    assert settle([attempt]) == {}
    assert attempt.state() == "pending"


def test_an_intent_is_given_time_while_its_launcher_or_its_sbatch_may_live(run, scheduler, monkeypatch):
    attempt = submitted(run)
    scheduler({})
    assert settle([attempt]) == {}  # this process is its launcher
    monkeypatch.setattr(attempts, "lives", lambda process: False)
    monkeypatch.setattr(scheduler_module, "names_a_command", lambda name: name == "ifrvis-1")
    assert settle([attempt]) == {}  # its sbatch is still on its way
    monkeypatch.setattr(scheduler_module, "names_a_command", lambda name: False)
    assert settle([attempt]) == {attempt: None}
    assert kind_of(attempt) == "killed"


def test_on_a_cluster_an_old_heartbeat_proves_nothing(run):
    attempt = submitted(run)
    os.utime(attempt.folder, (0, 0))
    assert attempt.state() == "pending"
    attempt.beat(Progress(phase="training"))
    os.utime(attempt.folder / "heartbeat", (0, 0))
    assert attempt.state() == "running"
    assert claim(run, asked()) is None


def test_a_place_that_no_launcher_wrote_is_none(run):
    attempt = submitted(run)
    sound = attempt.place().model_dump()
    for name in ("../../elsewhere", "ifrvis-1,ifrvis-2", 7):
        (attempt.folder / "slurm.json").write_text(json.dumps(sound | {"name": name}))
        assert attempt.place() is None


@pytest.mark.parametrize("silent", [True, False])
def test_a_person_may_end_what_is_silent_on_a_cluster_that_cannot_be_asked(run, scheduler, silent):
    attempt = submitted(run)
    attempt.beat(Progress(phase="training"))
    if silent:
        os.utime(attempt.folder / "heartbeat", (0, 0))
    scheduler(None)
    expected = contextlib.nullcontext() if silent else pytest.raises(UserError, match="without --now")
    with expected:
        cancel([run], now=True, patience_s=1, say=lambda line: None)
    assert attempt.state() == ("stopped" if silent else "running")
