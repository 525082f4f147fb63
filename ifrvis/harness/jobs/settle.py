"""What became of attempts on a cluster: their own files first, then one question to the scheduler for all of them."""

import os
from collections.abc import Iterable

from ifrvis.harness.jobs.scheduler import Job, jobs_of, settings
from ifrvis.harness.store.alive import names_a_command
from ifrvis.harness.store.attempts import Attempt, attempts_of
from ifrvis.harness.store.lives import Place
from ifrvis.harness.store.logs import job_output, last_said
from ifrvis.harness.store.recovery import SETBACK_LIMIT, kind_of
from ifrvis.harness.store.states import GOES_ON

INTENT_LIMIT_S = 120.0  # from slurm.json to the job, where its launcher cannot be seen


def our_place(attempt: Attempt) -> Place | None:
    """The job behind an attempt, if it is this user's: others' may be hidden from us."""
    place = attempt.place()
    return place if place is not None and place.user == os.getuid() else None


def settle(attempts: Iterable[Attempt]) -> dict[Attempt, Job | None] | None:
    """End the attempts whose jobs are gone.

    Args:
        attempts: Newest attempts; those that are not on this user's jobs, or have ended for good, are passed over.

    Returns:
        The job behind each of the others. None for a job that the scheduler does not know; a living job behind an
        attempt that has ended makes the next one itself. Without an answer, nothing is ended and nothing returned.
    """
    still = [each for each in attempts if our_place(each) and (each.ending() is None or kind_of(each) in GOES_ON)]
    asked = {each: place for each in still if (place := each.place())}
    here = settings() if asked else None
    if here is None:
        return None if asked else {}
    asked = {each: place for each, place in asked.items() if place.cluster == here["ClusterName"]}
    jobs = jobs_of({(place.name, place.index) for place in asked.values()})
    if jobs is None:
        return None
    found = {}
    for attempt, place in asked.items():
        job = jobs.get((place.name, place.index))
        if job is None and attempt.ending() is None and _may_be_submitted_yet(attempt, place.name):
            continue
        found[attempt] = job
        if job is None or job.is_over:
            _end(attempt, place, job)
    return found


def _may_be_submitted_yet(attempt: Attempt, name: str) -> bool:
    if attempt.launcher_lives() is False:  # its sbatch may outlive it
        return names_a_command(name)
    return attempt.placed_s() < INTENT_LIMIT_S


def _end(attempt: Attempt, place: Place, job: Job | None) -> None:
    """Say how an attempt ended that could not say so itself."""
    state, output = job.state if job else "", job_output(attempt)
    said = f"SLURM says {state}, exit code {job.exit_code or 'unknown'}" if job else "its job has left the queue"
    said += last_said(output) if output else ""
    if attempt.ending() is not None:
        if state == "CANCELLED" and kind_of(attempt) == "preempted":  # by a person, not by the scheduler
            attempt.end("stopped", kind="cancelled", message="cancelled with scancel")
    elif job is None and output is None:
        attempt.end_unless_ended("killed", kind="killed", message="SLURM knows no such job: it was never submitted")
    elif job and state == "CANCELLED" and not job.reason.startswith("Dependency"):
        attempt.end_unless_ended("stopped", kind="cancelled", message="cancelled with scancel")
    elif state == "OUT_OF_MEMORY":
        attempt.end_unless_ended("failed", kind="memory", message="Raise memory_gb of the cluster: out of memory.")
    elif attempt.has_begun() or state not in ("", "FAILED", "COMPLETED"):
        kind = {"TIMEOUT": "timeout", "DEADLINE": "timeout", "PREEMPTED": "preempted"}.get(state, "killed")
        attempt.end_unless_ended("killed", kind=kind, message=said)
    else:
        before = [kind_of(each) for each in attempts_of(attempt.run) if each.number < attempt.number]
        last = before[1 - SETBACK_LIMIT :] == ["startup"] * (SETBACK_LIMIT - 1)
        message = f"Look at 'setup' of the cluster: the job ended before the program began; {said}"
        attempt.end_unless_ended("failed" if last else "killed", kind="input" if last else "startup", message=message)
