"""Whether a cluster can run what is planned: its partition, its answer to such jobs, and a tiny job that looks around.

The tiny job runs `ifrvis doctor` itself on a node, from a snapshot of the code: GPUs, torch, mmcv's operators, disk,
data and weights as a node sees them, written to the folder of the results.
"""

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from ifrvis.errors import UserError
from ifrvis.files import read_end, write_atomically
from ifrvis.harness.jobs.cluster import Cluster
from ifrvis.harness.jobs.machine import job_environment
from ifrvis.harness.jobs.scheduler import Job, answer, ask, cancel_jobs, jobs_of, settings, submit
from ifrvis.harness.jobs.snapshot import take_snapshot
from ifrvis.harness.plan.plan import Plan
from ifrvis.harness.upkeep.doctor import Check, check_that

POLL_S = 2.0
SHARED_LIMIT_S = 60.0  # from the end of a job to its file here, as folders of NFS are cached


def examine_cluster(cluster: Cluster, plan: Plan, doctor: list[str], *, patience_s: float) -> Iterator[Check]:
    """Look at all that jobs of a plan need, up to the first `no`: what follows would fail too.

    With the arguments `doctor` of `ifrvis doctor` a node is to look at the same plan; its job has `patience_s` to end.
    """
    for check in _checks(cluster, plan, doctor, patience_s):
        yield check
        if check.state == "no" and not check.name.startswith("node"):
            break


def _checks(cluster: Cluster, plan: Plan, doctor: list[str], patience_s: float) -> Iterator[Check]:
    found = settings()
    said = ", ".join(f"{key} {found[key]}" for key in ("ClusterName", "SLURM_VERSION", "MaxArraySize") if key in found)
    no = "scontrol is not here, or does not answer"
    yield check_that("SLURM", bool(found), said or no, "Start this on a login node.")

    asked = [f"--partition={cluster.partition}"] if cluster.partition else []
    listed = answer("sinfo", "-h", *asked, "-o", "%P %D nodes %t, %c cores, %m MB, %G, limit %l")
    said = "; ".join((listed or "").splitlines()) or f"sinfo shows no {cluster.partition}"
    yield check_that("partition", bool(listed), said, "Correct 'partition' of the cluster file.")

    folder, snapshot = plan.request.store.jobs / f"doctor-{uuid.uuid4().hex[:12]}", take_snapshot(plan.request.store)
    most = max((cluster.processes(each.spec) for each in plan.trainings), default=1)
    small, command = {"time_min": 10, "signal_delay_s": 60}, ["-m", "ifrvis", "doctor", *doctor, "--json"]
    script = folder / "submit.sh"
    try:
        write_atomically(script, cluster.model_copy(update=small).script(command, folder, snapshot, processes=most))
        with job_environment(1):
            done, number = ask("sbatch", "--test-only", str(script)), submit(script)
    except UserError as error:
        yield Check("sbatch", "no", "it refuses such a job", str(error))
        return
    said = " ".join(done.stderr.split()).removeprefix("sbatch: ") if done else "no answer"
    taken = done is not None and done.returncode == 0  # of nodes that are down, it refuses what is queued all the same
    yield Check("sbatch", "ok" if taken else "note", said if taken else f"it takes such a job, which may wait: {said}")
    yield from _said_on_node(Job(f"{number}_0", "PENDING"), folder, patience_s)


def _said_on_node(job: Job, folder: Path, patience_s: float) -> Iterator[Check]:
    """What the tiny job says, once it is over."""
    key, output, started = (folder.name, 0), folder / f"{job.id}.out", time.monotonic()
    while not job.is_over:
        time.sleep(POLL_S)
        job = (jobs_of({key}) or {}).get(key, job)
        if not job.is_over and time.monotonic() - started > patience_s:
            cancel_jobs([job])
            said = f"not over after {patience_s:.0f} s: {job.state}, {job.reason}"
            yield Check("tiny job", "note", said, "Give --wait more seconds.")
            return
    started = time.monotonic()
    while not (there := output.is_file()) and time.monotonic() - started < SHARED_LIMIT_S:
        time.sleep(POLL_S)
    said = f"what a node wrote to {folder} is {'' if there else 'not '}here"
    cure = "Put --results on a file system that all nodes share, under the same path."
    yield check_that("shared folder", there, said, cure)
    text = read_end(output, "its output")[0]
    try:
        for each in json.loads(text[text.index("[\n") :]):  # set-up lines may have said something before
            yield Check(f"node: {each['name']}", each["state"], each["found"], each["cure"])
    except (KeyError, TypeError, ValueError):
        said = f"{job.state}; it last said: {(text.splitlines() or ['nothing'])[-1]}"
        yield Check("tiny job", "no", said, f"Look at 'setup' of the file, and at {output}.")
