"""A cluster as data: how a job reaches a machine. It is checked before anything is submitted, and changes no number."""

import math
import re
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from ifrvis.harness.spec.signatures import TrainSpec
from ifrvis.packed import packed_yaml
from ifrvis.schema import Model, Name, read_model

OURS = {"array", "chdir", "dependency", "error", "export", "job-name", "kill-on-invalid-dep", "no-requeue", "nodes"}
OURS |= {"ntasks", "ntasks-per-node", "open-mode", "output", "requeue", "signal"}
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.,:;&|*@+=/\[\]()%-]{1,200}$")]  # what follows a flag of sbatch
Count = Annotated[int, Field(ge=1, le=10**7)]


class Cluster(Model):
    """How jobs are asked for (`slurm/README.md`)."""

    name: Name
    time_min: Count  # limit of one job; a run that needs more goes on in the same job, requeued
    memory_gb: float = Field(ge=0.01, le=10**7)  # of one run
    cpus: Count  # of each process of a run
    gpus: int = Field(default=0, ge=0, le=10**7)  # of one run, one process each; 0: one process, on the CPU
    partition: Word | None = None
    account: Word | None = None
    qos: Word | None = None
    constraint: Word | None = None
    array_limit: Count = 1000  # most jobs of one array; the scheduler's own limit holds too
    signal_delay_s: Count = 120  # a job is told so long before its end: time for an iteration and the checkpoint
    poll_s: float = Field(default=40.0, ge=1, le=10**7)  # how often `--wait` asks the scheduler
    setup: tuple[str, ...] = ()  # lines of shell that each job runs first
    environment: dict[str, str] = Field(default_factory=dict)  # beside the named variables that all jobs get
    options: dict[str, Word | int] = Field(default_factory=dict)  # further flags of sbatch, without the dashes

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.signal_delay_s >= 60 * self.time_min:
            raise ValueError(f"Set 'signal_delay_s' to less than the {self.time_min} minutes of 'time_min'.")
        for key in self.options:
            if not re.fullmatch("[a-z][a-z-]{1,40}", key) or key in OURS:
                raise ValueError(f"Remove option {key!r}: the program sets it, or sbatch has no such flag.")
        for key, text in self.environment.items():
            if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", key) or "\0" in text:
                raise ValueError(f"Rename the variable {key!r} of 'environment': letters, digits and '_' only.")
        return self

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
    return read_model(Cluster, packed_yaml("clusters", name, within="slurm"), "the cluster")
