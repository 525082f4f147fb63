"""A cluster as data: how a job reaches a machine. It is checked before anything is submitted, and changes no number."""

import math
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ifrvis.errors import UserError
from ifrvis.files import read_yaml
from ifrvis.harness.spec.signatures import TrainSpec
from ifrvis.packed import packed, packed_names
from ifrvis.schema import check_name, construct

WORD = re.compile(r"[A-Za-z0-9_.,:;&|*@+=/\[\]()%-]{1,200}")  # what follows a flag of sbatch
OPTION = re.compile(r"[a-z][a-z-]{1,40}")
OURS = {"array", "chdir", "dependency", "error", "export", "job-name", "kill-on-invalid-dep", "no-requeue", "nodes"}
OURS |= {"ntasks", "ntasks-per-node", "open-mode", "output", "requeue", "signal"}


@dataclass(frozen=True)
class Cluster:
    """How jobs are asked for (`slurm/README.md`)."""

    name: str
    time_min: int  # limit of one job; a run that needs more goes on in the same job, requeued
    memory_gb: float  # of one run
    cpus: int  # of each process of a run
    gpus: int = 0  # of one run, one process each; 0: one process, on the CPU
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    array_limit: int = 1000  # most jobs of one array; the scheduler's own limit holds too
    signal_delay_s: int = 120  # a job is told so long before its end: time for an iteration and the checkpoint
    poll_s: float = 40.0  # how often `--wait` asks the scheduler
    setup: tuple[str, ...] = ()  # lines of shell that each job runs first
    environment: dict[str, str] = field(default_factory=dict)  # beside the named variables that all jobs get
    options: dict[str, str | int] = field(default_factory=dict)  # further flags of sbatch, without the dashes

    def processes(self, spec: TrainSpec) -> int:
        """Processes that train one run: one a GPU, and no more than its global batch has clips."""
        return max(1, min(self.gpus, spec.global_batch))

    def parameters(self, processes: int) -> dict[str, Any]:
        """What submitit is asked for, for runs of so many processes."""
        asked = {key: getattr(self, key) for key in ("partition", "account", "qos", "constraint")}
        asked["gpus_per_node"] = processes if self.gpus else None
        return {
            **{key: value for key, value in asked.items() if value is not None},
            "time": self.time_min,
            "mem": f"{math.ceil(self.memory_gb * 1024)}M",
            "nodes": 1,
            "ntasks_per_node": processes,
            "cpus_per_task": self.cpus,
            "signal_delay_s": self.signal_delay_s,
            "setup": list(self.setup),
            "stderr_to_stdout": True,
            "wckey": None,
            "additional_parameters": {**self.options, "requeue": True, "kill-on-invalid-dep": "yes"},
        }


def load_cluster(name: str) -> Cluster:
    """The cluster of a YAML file, or a packed one by name.

    Raises:
        UserError: If there is no such file, or its content is wrong; the message names the key.
    """
    names = packed_names("slurm", "clusters")
    if os.path.isfile(name):  # noqa: PTH113  never raises
        path = Path(name)
    elif name in names:
        path = packed("slurm", "clusters", f"{name}.yaml")
    else:
        raise UserError(f"Give --cluster the path of a YAML file, or one of {', '.join(names)}: no cluster {name!r}.")
    cluster = construct(Cluster, read_yaml(path, "the cluster"), str(path))
    check_name(cluster.name, f"the cluster's name in {path}")
    _check(cluster, str(path))
    return cluster


def _check(cluster: Cluster, where: str) -> None:
    least = {"time_min": 1, "cpus": 1, "gpus": 0, "array_limit": 1, "signal_delay_s": 1, "poll_s": 1, "memory_gb": 0.01}
    for key, bound in least.items():
        if not bound <= getattr(cluster, key) <= 10**7:
            raise UserError(f"Set {key!r} in {where} to {bound} or more; it is {getattr(cluster, key)}.")
    if cluster.signal_delay_s >= 60 * cluster.time_min:
        raise UserError(f"Set 'signal_delay_s' in {where} to less than the {cluster.time_min} minutes of 'time_min'.")
    flags = {key: getattr(cluster, key) for key in ("partition", "account", "qos", "constraint")}
    for key, value in {**flags, **cluster.options}.items():
        if value is not None and not WORD.fullmatch(str(value)):
            raise UserError(f"Correct {key!r} in {where}: {value!r} is not what sbatch takes.")
    for key in cluster.options:
        if not OPTION.fullmatch(key) or key in OURS:
            raise UserError(f"Remove option {key!r} from {where}: the program sets it, or sbatch has no such flag.")
    for key, text in cluster.environment.items():
        if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", str(key)) or "\0" in text:
            raise UserError(f"Rename the variable {key!r} of 'environment' in {where}: letters, digits and '_' only.")
