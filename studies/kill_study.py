"""Kill processes of a smoke table at random instants, start its command again until it is complete, and compare every
run bitwise with that of a table that was left alone.

Run `python studies/kill_study.py --kills 200 --seed 0`. The seed draws what is killed, in which phase, and how long
after the phase began. A table that is complete is compared, and the next one begins.
"""

import argparse
import contextlib
import hashlib
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ifrvis.files import read_json, sha256_file
from ifrvis.training.checkpoints import newest_valid

ROOT = Path(__file__).parents[1]
ROWS = "mask2former-r50-ytvis19,ours-r50-ytvis19"
# The phases of an attempt, and how long after its beginning a kill comes at most, in seconds. Publishing is while
# weights, predictions or a record are written; ending is when all are there and the attempt has not said so.
PHASES = {"starting": 8.0, "training": 2.0, "checkpoint": 0.02, "predicting": 1.0, "scoring": 0.2}
PHASES |= {"publishing": 0.002, "ending": 0.02}
# What is killed, and how often. A loader is a data worker; everything is what a machine without power loses.
ROLES = {"worker": 6, "launcher": 2, "controller": 1, "loader": 1, "everything": 1}
SAME = ("eval_sig", "metrics", "not_loaded", "files", "loss", "started_from", "final_weights")  # of records
PATIENCE_S = 20.0  # with a phase that no attempt reaches
HANGS_S = 600.0  # a launch that neither ends nor is killed


@dataclass
class Table:
    """A table in folders of its own, and the command that completes it."""

    folder: Path
    given: argparse.Namespace
    workers: int
    interval_s: float
    launcher: Any = None
    launches: int = 0
    started: float = 0.0

    def keep_going(self) -> bool:
        """Start the command unless it runs; tells whether the table is still incomplete."""
        code = self.launcher.poll() if self.launcher else 1
        hangs = code is None and time.monotonic() - self.started > HANGS_S
        if hangs or code not in (None, 0, 1, -signal.SIGKILL) or self.launches > 3 * self.given.kills + 3:
            raise RuntimeError(
                f"launch {self.launches} of {self.folder} does not get on (exit {code}), see launches.txt"
            )
        if code not in (None, 0):
            self._launch()
        return code != 0

    def _launch(self) -> None:
        command = [sys.executable, "-m", "ifrvis", "run", "table1", "--profile", "smoke", "--rows", ROWS]
        command += ["--seeds", str(self.given.seeds), "--jobs", "2", "--workers", str(self.workers)]
        command += ["--set", f"train.iterations={self.given.iterations}", "--data-root", str(self.folder / "data")]
        command += ["--results", str(self.folder / "results"), "--reports", str(self.folder / "reports")]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "IFRVIS_CHECKPOINT_INTERVAL_S": str(self.interval_s)}
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "launches.txt").open("a") as log:
            self.launcher = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        self.launches, self.started = self.launches + 1, time.monotonic()

    def complete(self) -> None:
        while self.keep_going():
            time.sleep(0.2)

    def runs(self) -> list[Path]:
        return sorted((self.folder / "results" / "runs").glob("*-*"))

    def records(self, run: Path) -> list[Path]:
        return sorted((self.folder / "results" / "records").glob(f"*/{run.name}-*.json"))

    def living_attempts(self) -> Iterator[Path]:
        """The last attempts of runs that have not written how they ended."""
        for run in self.runs():
            attempt = max(run.glob("attempts/[0-9]*"), default=None)
            if attempt and not (attempt / "exit.json").exists():
                yield attempt

    def unfinished_files(self) -> set[Path]:
        """Temporary files that are being written, or were when somebody was killed."""
        results = self.folder / "results"
        patterns = ("runs/*/.*.part", "runs/*/predictions/*/.*.part", "runs/*/attempts/*/checkpoints/.*.part")
        return {path for pattern in (*patterns, "records/*/.*.part") for path in results.glob(pattern)}

    def phase_of(self, attempt: Path, old: set[Path]) -> str:
        """The phase of an attempt as its files tell; `old` are files that earlier kills left unfinished."""
        run, sealed = attempt.parents[1], {path.stem for path in attempt.glob("checkpoints/iter_*.json")}
        writes = {path.parent.name for path in self.unfinished_files() - old if run.name in str(path)}
        if writes - {"checkpoints"}:
            return "publishing"
        if self.records(run):
            return "ending"
        if writes or {path.stem for path in attempt.glob("checkpoints/iter_*.pth")} - sealed:
            return "checkpoint"
        if "scoring" in _text(attempt / "log.txt"):
            return "scoring"
        beat = _text(attempt / "heartbeat")
        if "predicting" in beat or f"iter_{read_json(run / 'spec.json')['train']['iterations']:06d}" in sealed:
            return "predicting"
        return "training" if sealed or '"iteration"' in beat else "starting"


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


# Killing


@dataclass
class Tally:
    """What was killed."""

    phases: Counter = field(default_factory=Counter)
    roles: Counter = field(default_factory=Counter)
    signals: int = 0

    @property
    def kills(self) -> int:
        return self.roles.total()


def processes_of(folder: Path) -> dict[int, tuple[str, str]]:
    """Role and command of each process whose command names a folder; a loader is what a worker has forked."""
    commands, parents = {}, {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (path / "cmdline").read_text(errors="replace")
            if str(folder) in command and int(path.name) != os.getpid():
                commands[int(path.name)] = command
                parents[int(path.name)] = int(_text(path / "stat").rpartition(")")[2].split()[1])
    return {pid: (_role(command, commands.get(parents[pid])), command) for pid, command in commands.items()}


def _role(command: str, of_parent: str | None) -> str:
    if "submitit.core._submit" in command:
        return "loader" if command == of_parent else "worker"
    return "controller" if "submitit.local._local" in command else "launcher"


def kill(found: dict[int, tuple[str, str]], attempt: Path, role: str) -> tuple[str, int]:
    """Kill a process of an attempt; what was killed in the end (a worker where there is no loader), and how many."""
    name = "/".join(attempt.parts[-3:])
    for chosen in (role, "worker"):
        pids = [p for p, (r, command) in found.items() if r == chosen and (name in command or chosen == "launcher")]
        killed = sum(_killed(pid) for pid in (found if chosen == "everything" else pids))
        if killed:
            return chosen, killed
    return "", 0


def _killed(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def kill_some(table: Table, most: int, tally: Tally, rng: random.Random) -> None:
    """Kill until the table is complete or was killed often enough."""
    end = tally.kills + most
    while tally.kills < end and table.keep_going():
        old = table.unfinished_files()
        aim, role = rng.choice(list(PHASES)), rng.choices(list(ROLES), list(ROLES.values()))[0]
        delay_s = rng.random() * PHASES[aim]
        attempt, found = _wait_for(table, aim, old)
        if attempt is None:
            continue
        time.sleep(delay_s)
        killed, count = kill(found if PHASES[aim] < 0.1 else processes_of(table.folder), attempt, role)
        if killed:
            phase = table.phase_of(attempt, old)  # only now: finding out takes longer than some phases
            tally.phases[phase] += 1
            tally.roles[killed] += 1
            tally.signals += count
            print(f"{tally.kills}: {killed} of {attempt.parents[1].name} {attempt.name}, {phase}", file=sys.stderr)


def _wait_for(table: Table, phase: str, old: set[Path]) -> tuple[Path | None, dict[int, tuple[str, str]]]:
    """An attempt in a phase, if one reaches it, and the processes of a moment ago."""
    deadline, looked, found = time.monotonic() + PATIENCE_S, 0.0, {}
    while time.monotonic() < deadline and table.keep_going():
        if time.monotonic() - looked > 0.3:
            looked, found = time.monotonic(), processes_of(table.folder)
        for attempt in table.living_attempts():
            if table.phase_of(attempt, old) == phase:
                return attempt, found
        time.sleep(0.002)
    return None, {}


# Comparing


def contents(table: Table) -> dict[str, dict[str, Any]]:
    """Digests of what each run ended with, by the name of the run."""
    return {run.name: _content(table, run) for run in table.runs()}


def _content(table: Table, run: Path) -> dict[str, Any]:
    checkpoint = newest_valid(run.glob("attempts/*/checkpoints"), train_sig=read_json(run / "spec.json")["train_sig"])
    tensors = checkpoint.state["model"] if checkpoint else {}
    digests = {name: hashlib.sha256(tensor.numpy().tobytes()).hexdigest() for name, tensor in tensors.items()}
    records = [read_json(path) for path in table.records(run)]
    published = [*run.glob("predictions/*/*.gz"), *run.glob("weights.pth")]
    return {
        "iteration": checkpoint.iteration if checkpoint else None,
        "weights": digests,
        "published": {str(path.relative_to(run)): sha256_file(path) for path in published},
        "records": [{key: each[key] for key in SAME} for each in records],
    }


def endings(runs: Iterator[Path]) -> Counter[str]:
    """How many attempts ended how."""
    attempts = [path for run in runs for path in run.glob("attempts/[0-9]*")]
    files = [path / "exit.json" for path in attempts]
    return Counter(read_json(path)["reason"] if path.exists() else "no exit.json" for path in files)


def study(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Kill tables until there were enough kills; the summary."""
    started, rng, tally = time.monotonic(), random.Random(given.seed), Tally()
    alone = Table(folder / "alone", given, workers=0, interval_s=1e6)
    alone.complete()
    expected, tables, differing = contents(alone), [], []
    assert all(len(each["records"]) == 1 for each in expected.values())
    while tally.kills < given.kills:
        table = Table(folder / f"killed-{len(tables)}", given, workers=1, interval_s=given.interval_s)
        tables.append(table)
        kill_some(table, given.kills - tally.kills, tally, rng)
        table.complete()
        found = contents(table)
        names = sorted(expected.keys() | found.keys())
        differing += [f"{table.folder.name}/{name}" for name in names if found.get(name) != expected.get(name)]
        shutil.rmtree(table.folder / "data")
    return {
        "kills": tally.kills,
        "signals": tally.signals,
        "phases": dict(tally.phases),
        "killed": dict(tally.roles),
        "tables": len(tables),
        "launches": sum(table.launches for table in tables),
        "runs": len(expected) * len(tables),
        "attempts": dict(endings(run for table in tables for run in table.runs())),
        "all_equal": not differing,
        "differing": differing,
        "minutes": round((time.monotonic() - started) / 60, 1),
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "torch": torch.__version__},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=2, help="of each row")
    parser.add_argument("--iterations", type=int, default=24)
    parser.add_argument("--interval-s", type=float, default=0.3, help="from one checkpoint to the next")
    parser.add_argument("--out", type=Path, help="a JSON file for the summary")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ifrvis-kills-"))
    try:
        summary = study(given, folder)
    finally:
        for pid in processes_of(folder):
            _killed(pid)
    if summary["all_equal"]:
        shutil.rmtree(folder)
    else:
        print(f"what differs lies in {folder}", file=sys.stderr)
    print(text := json.dumps(summary, indent=1))
    if given.out:
        given.out.write_text(text + "\n")
    return 0 if summary["all_equal"] else 1


if __name__ == "__main__":
    sys.exit(main())
