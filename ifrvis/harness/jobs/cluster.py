"""A cluster as data: how a job reaches a machine, and the script that asks for it. None of it changes a number."""

import math
import re
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from ifrvis.errors import UserError
from ifrvis.harness.spec.signatures import TrainSpec
from ifrvis.packed import packed_yaml
from ifrvis.schema import Model, Name, read_model

OURS = """array chdir clusters error export job-name kill-on-invalid-dep no-requeue ntasks ntasks-per-node open-mode
    output parsable requeue test-only wait wrap"""
TAKEN = dict.fromkeys(OURS.split(), "the program sets it") | {"nodes": "a run takes one node, and any 'gpus' of it"}
TAKEN |= {each: f"set {each!r} instead" for each in ("partition", "account", "qos", "constraint")}
TAKEN |= {"time": "set 'time_min' instead", "mem": "set 'memory_gb' instead", "cpus-per-task": "set 'cpus' instead"}
TAKEN |= {"signal": "set 'signal_delay_s' instead"}
OF_GPUS = ("gpus", "gpus-per-node", "gpus-per-task", "gres")
Text = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,500}$")]  # what stands on a line of a script
Count = Annotated[int, Field(ge=1, le=10**7)]
Variable = Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$")]
Flag = Annotated[str, Field(pattern="^[a-z][a-z-]{1,40}$")]


class Cluster(Model):
    """How jobs are asked for (`slurm/README.md`)."""

    name: Name
    time_min: Count  # limit of one job; a run that needs more goes on in the same job, requeued
    memory_gb: float | None = Field(default=None, ge=0.01, le=10**7)  # of one run; None: as `options` or the site say
    cpus: Count  # of each process of a run
    gpus: int = Field(default=0, ge=0, le=10**7)  # of one run, one process each; 0: one process, on the CPU
    partition: Text | None = None
    account: Text | None = None
    qos: Text | None = None
    constraint: Text | None = None
    array_limit: Count = 1000  # most jobs of one array; the scheduler's own limit holds too
    array_throttle: Count | None = None  # most jobs of one array that run at once
    signal_delay_s: Count = 120  # a job is told so long before its end: time for an iteration and the checkpoint
    poll_s: float = Field(default=40.0, ge=1, le=10**7)  # how often `--wait` asks the scheduler
    setup: tuple[str, ...] = ()  # lines of shell that each job runs first
    environment: dict[Variable, str] = Field(default={})  # beside the named variables that all jobs get
    options: dict[Flag, Text | int | bool] = Field(default={})  # of sbatch, without dashes; true: a bare flag
    srun: tuple[Text, ...] = ()  # arguments of srun
    wrapper: tuple[Text, ...] = ()  # what Python is started with, such as [apptainer, exec, image.sif]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.signal_delay_s >= 60 * self.time_min:
            raise ValueError(f"Set 'signal_delay_s' to less than the {self.time_min} minutes of 'time_min'.")
        for key, value in self.options.items():
            # What the program asks for itself, under this name or a beginning of it, which sbatch takes too.
            meant = next((each for each in (*TAKEN, *OF_GPUS) if each.startswith(key)), key)
            if meant in TAKEN or (meant in OF_GPUS and key not in OF_GPUS):
                raise ValueError(f"Remove option {key!r}: {TAKEN.get(meant, f'write {meant!r}')}.")
            if key == "dependency" and "?" in str(value):
                raise ValueError("Write option 'dependency' with ',': the program adds that on a pretraining.")
            if (asked := _gpus_in(key, value)) not in (None, self.gpus):
                raise ValueError(f"Set 'gpus' to {asked}, or change option {key!r}: a run has a process for each GPU.")
        return self

    def processes(self, spec: TrainSpec) -> int:
        """Processes of one run: one a GPU, and no more than its global batch has clips."""
        return max(1, min(self.gpus, spec.global_batch))

    def script(
        self, command: list[str], folder: Path, snapshot: Path, *, processes: int = 1, runs: int = 1, after: str = ""
    ) -> str:
        """The script of an array of so many `runs`, named after its folder, that starts when job `after` is complete;
        UserError if SLURM would read the folder's name otherwise.

        Each runs `python *command` from a snapshot of the code, with so many processes.
        """
        if re.search(r"[%\\\x00-\x1f]", str(folder)):
            raise UserError(f"Choose --results without '%', '\\' and line breaks, which SLURM does not keep: {folder}.")
        given = {key: value for key, value in self.options.items() if value is not False}
        typed = any(_gpus_in(key, value) is not None for key, value in given.items())
        waits = [f"afterok:{after}" if after else "", str(given.pop("dependency", ""))]
        flags: dict[str, Any] = {key: getattr(self, key) for key in ("partition", "account", "qos", "constraint")}
        flags |= {
            "job-name": folder.name,
            "time": self.time_min,
            "mem": f"{math.ceil(self.memory_gb * 1024)}M" if self.memory_gb else None,
            "nodes": 1,
            "ntasks": 1,
            "cpus-per-task": self.cpus * processes,
            "gpus-per-node": processes if self.gpus and not typed else None,
            "array": f"0-{runs - 1}%{min(runs, self.array_throttle or runs)}",
            "dependency": ",".join(filter(None, waits)) or None,
            "signal": f"USR2@{self.signal_delay_s}",
            "output": folder / "%A_%a.out",
            "open-mode": "append",
            "requeue": True,
            "kill-on-invalid-dep": "yes",
        }
        asked = {key: value for key, value in (flags | given).items() if value is not None}
        said = (key if value is True else f"{key}={shlex.quote(str(value))}" for key, value in asked.items())
        lines = [f"#SBATCH --{each}" for each in said]
        exports = {**self.environment, "PYTHONSAFEPATH": "1", "SUBMITIT_EXECUTOR": "slurm"}  # as JobEnvironment asks
        lines += ["", *self.setup, *(f"export {name}={shlex.quote(value)}" for name, value in exports.items())]
        lines += [f"export PYTHONPATH={shlex.quote(str(snapshot))}${{PYTHONPATH:+:$PYTHONPATH}}"]
        # Through srun, as sbatch's signal goes to steps alone; since 22.05 that forgets what sbatch was told of cores.
        start = ["srun", "--unbuffered", f"--cpus-per-task={flags['cpus-per-task']}", *self.srun, *self.wrapper]
        return "\n".join(["#!/bin/bash", *lines, shlex.join([*start, sys.executable, "-u", *command]), ""])


def _gpus_in(key: str, value: str | int | bool) -> int | None:
    """The GPUs that an option asks for, as `2`, `a100`, `a100:2` or `gpu:a100:2`; None if it asks for none."""
    asked = [each for each in str(value).split(",") if key != "gres" or "gpu" in each] if key in OF_GPUS else []
    found = [re.search(r"(?:^|:)([0-9]+)$", each) for each in asked]
    return sum(int(each[1]) if each else 1 for each in found) if asked else None


def load_cluster(name: str) -> Cluster:
    """The cluster of a YAML file, or a packed one by name; UserError, with the key, if it is missing or wrong."""
    return read_model(Cluster, packed_yaml("clusters", name, within="slurm"), "the cluster")
