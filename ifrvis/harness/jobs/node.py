"""A job of an array, on its node: which attempt it lives, and how it goes on.

    python -m ifrvis.harness.jobs.node results/jobs/<array>

A job outlives its launcher. Told that its time is over or that others need its place, it stops at the next safe point
and has itself requeued; requeued by the scheduler, for whatever reason, it ends what is left of its last attempt and
claims the next, which goes on from the last checkpoint. It does neither where another launcher has gone on meanwhile.
"""

import pkgutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import submitit

from ifrvis.errors import UserError
from ifrvis.files import read_json
from ifrvis.harness.jobs.scheduler import ask
from ifrvis.harness.jobs.snapshot import check_snapshot
from ifrvis.harness.jobs.together import run_together
from ifrvis.harness.jobs.worker_life import SIGNALS, signals_ask
from ifrvis.harness.store.attempts import Attempt, attempt_at, claim, latest
from ifrvis.harness.store.recovery import gives_up, kind_of
from ifrvis.harness.store.states import GOES_ON

REQUEUE_TRIES, REQUEUE_PAUSE_S = 5, 10.0
CHECKED_EVERY_S = 60.0  # a scheduler looks for what is due this often: its signal may come so much earlier


def main(folder: Path) -> int:
    """Live the next attempt of the run that this job stands for; 0 if it is complete, or not this job's any more."""
    started, early = time.monotonic(), list[int]()
    for each in SIGNALS:
        signal.signal(each, lambda number, _: early.append(number))
    environment = submitit.JobEnvironment()
    array = read_json(folder / "array.json", "the description of an array")
    first = attempt_at(Path(array["attempts"][int(environment.array_task_id or 0)]))
    attempt = next_attempt(first)
    if attempt is None:
        newest = latest(first.run) or first
        print(f"nothing left for this job to do: attempt {newest.number} of {first.run.name} is {newest.state()}")
        return int(newest.place() == first.place() and newest.state() != "complete")
    with signals_ask(attempt):
        if early:
            attempt.ask_to_stop(SIGNALS[signal.Signals(early[-1])])
        try:
            check_snapshot(Path(array["snapshot"]))
        except UserError as error:
            print(error)
            attempt.end("failed", kind="input", message=str(error))
            return 1
        if (init := attempt.submission().init) and not Path(init).is_file():  # the pretraining's job was superseded
            attempt.end("killed", kind="killed", message=f"the weights that it starts from are not there yet: {init}")
            return 1
        run_together(array["processes"], pkgutil.resolve_name(array["run_attempt"]), str(attempt.folder))
        return _afterwards(attempt, first, environment.job_id, array, time.monotonic() - started)


def next_attempt(first: Attempt) -> Attempt | None:
    """The attempt to live: the first, which the job was submitted for, or the next; None if the run is ours no more."""
    newest = latest(first.run)
    assert newest is not None
    place = first.place()
    if place is None or newest.place() != place:  # somebody has gone on while this job waited
        return None
    if newest == first and newest.ending() is None and not newest.has_begun():
        return first
    if newest.ending() is None:  # a job has one life at a time, so that the last one is over
        newest.end_unless_ended("killed", kind="killed", message="SLURM requeued its job")
    if kind_of(newest) not in GOES_ON or gives_up(first.run, since=first.number - 1):
        return None
    attempt = claim(first.run, newest.submission(), after=newest.number)
    if attempt is not None:
        attempt.put(place)
    return attempt


def _afterwards(attempt: Attempt, first: Attempt, job: str, array: dict[str, Any], seconds: float) -> int:
    """Have the job requeued where it was told to stop, or a process beside it was killed; its exit code."""
    ending = attempt.ended()
    assert ending is not None, "whoever lives an attempt says how it ended"
    kind = ending.cause
    # SIGTERM says `preempted`: then the scheduler ends the job, and requeues it if it means to.
    if kind in ("timeout", "killed") and not gives_up(first.run, since=first.number - 1):
        if kind == "timeout" and seconds < array["told_after_s"] - CHECKED_EVERY_S:  # one signal for two reasons
            attempt.end("stopped", kind="preempted", message=ending.message, seconds=ending.seconds or 0.0)
        _requeue(job)
    return 0 if ending.reason == "complete" else 1


def _requeue(job: str) -> None:
    for _ in range(REQUEUE_TRIES):
        done = ask("scontrol", "requeue", job)
        if done is not None and done.returncode == 0:
            return
        print(f"cannot requeue {job}: {done.stderr.strip() if done else 'SLURM does not answer'}", flush=True)
        time.sleep(REQUEUE_PAUSE_S)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
