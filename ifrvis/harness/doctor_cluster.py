"""Whether a cluster can run what is planned: its partition, its answer to such jobs, and a tiny job that looks around.

The tiny job runs `ifrvis doctor` itself on a node, from a snapshot of the code, and leaves what that says in the folder
of the results: GPUs, torch, mmcv's operators, disk, data and weights as a node sees them.
"""

import dataclasses
import json
import time
import uuid
from pathlib import Path

from ifrvis.errors import UserError
from ifrvis.files import write_atomically
from ifrvis.harness.cluster import Cluster
from ifrvis.harness.doctor import Check
from ifrvis.harness.machine import job_environment
from ifrvis.harness.plan import Plan
from ifrvis.harness.runs import Results
from ifrvis.harness.scheduler import Job, Key, ask, cancel_jobs, jobs_of, settings, submit
from ifrvis.harness.settle import array_folder
from ifrvis.harness.slurm import check_accepted, script_text
from ifrvis.harness.snapshot import take_snapshot

__all__ = ["examine_cluster"]

POLL_S = 2.0
SHARED_LIMIT_S = 60.0  # from the end of a job to its file here, as folders of NFS are cached
FILE_CURE = "Put --results on a file system that all nodes share, under the same path."


def examine_cluster(cluster: Cluster, plan: Plan, doctor: list[str], *, patience_s: float) -> list[Check]:
    """Look at all that jobs of a plan need; stops at the first `no`, since what follows would fail too.

    Args:
        cluster: The cluster.
        plan: What is to run there.
        doctor: Arguments of `ifrvis doctor` with which a node is to look at the same plan.
        patience_s: How long to wait for the tiny job to begin and end.
    """
    folder = array_folder(plan.request.results, f"doctor-{uuid.uuid4().hex[:12]}")
    checks = [_scheduler()]
    if checks[0].state != "no":
        checks.append(_partition(cluster))
    if all(each.state != "no" for each in checks):
        checks.append(_accepted(cluster, plan, folder))
    if all(each.state != "no" for each in checks):
        checks += _node(cluster, plan.request.results, folder, doctor, patience_s)
    return checks


def _scheduler() -> Check:
    found = settings()
    if found is None:
        return Check("SLURM", "no", "scontrol is not here, or does not answer", "Start this on a login node.")
    said = f"cluster {found['ClusterName']}, version {found.get('SLURM_VERSION', 'unknown')}, "
    return Check("SLURM", "ok", said + f"arrays of {found.get('MaxArraySize', 'unknown')} at most")


def _partition(cluster: Cluster) -> Check:
    asked = [f"--partition={cluster.partition}"] if cluster.partition else []
    done = ask("sinfo", "-h", *asked, "-o", "%P %D nodes %t, %c cores, %m MB, %G, limit %l")
    lines = done.stdout.split("\n") if done is not None and done.returncode == 0 else []
    found = "; ".join(each for each in lines if each)
    if found:
        return Check("partition", "ok", found)
    return Check("partition", "no", f"sinfo shows no {cluster.partition}", "Correct 'partition' of the cluster file.")


def _accepted(cluster: Cluster, plan: Plan, folder: Path) -> Check:
    most = max((cluster.processes(each.spec) for each in plan.trainings), default=1)
    try:
        said = check_accepted(cluster, folder, most)
    except UserError as error:
        return Check("sbatch", "no", f"it refuses a run of {most} processes", str(error))
    return Check("sbatch", "ok", " ".join(said.split()).removeprefix("sbatch: "))


def _node(cluster: Cluster, results: Results, folder: Path, doctor: list[str], patience_s: float) -> list[Check]:
    """What the tiny job says."""
    small = dataclasses.replace(cluster, time_min=10, signal_delay_s=60)
    command, job_name = ["-m", "ifrvis", "doctor", *doctor, "--json"], folder.name
    text = script_text(small, command, folder, take_snapshot(results), job_name=job_name, map_count=1)
    write_atomically(folder / "submit.sh", text)
    try:
        with job_environment(1):
            number = submit(folder / "submit.sh")
    except UserError as error:
        return [Check("tiny job", "no", "it could not be submitted", str(error))]
    job = _end_of((job_name, 0), patience_s)
    if job is None or not job.is_over:
        cancel_jobs([Job(f"{number}_0", "PENDING")])
        why = f"{job.state}, {job.reason}" if job else "SLURM does not answer"
        return [Check("tiny job", "note", f"not over after {patience_s:.0f} s: {why}", "Give --wait more seconds.")]
    output = folder / f"{number}_0_0_log.out"
    deadline = time.monotonic() + SHARED_LIMIT_S
    while not output.is_file() and time.monotonic() < deadline:
        time.sleep(POLL_S)
    if not output.is_file():
        return [Check("shared folder", "no", f"what a node wrote to {folder} is not here", FILE_CURE)]
    shared = Check("shared folder", "ok", f"a node reads the code from {results.root}, and what it writes is here")
    return [shared, *_said_by_node(output, job)]


def _end_of(key: Key, patience_s: float) -> Job | None:
    """A job once it is over, or as it is after so many seconds."""
    deadline = time.monotonic() + patience_s
    while True:
        job = (jobs_of({key}) or {}).get(key)
        if (job is not None and job.is_over) or time.monotonic() > deadline:
            return job
        time.sleep(POLL_S)


def _said_by_node(output: Path, job: Job) -> list[Check]:
    text = output.read_text(errors="replace")
    try:
        said = json.loads(text[text.index("[\n") :])  # set-up lines may have said something before
        return [Check(f"node: {each['name']}", each["state"], each["found"], each["cure"]) for each in said]
    except (KeyError, TypeError, ValueError):
        last = (text.splitlines() or ["nothing"])[-1]
        cure = f"Look at 'setup' of the cluster file, and at {output}."
        return [Check("tiny job", "no", f"{job.state}; it last said: {last}", cure)]
