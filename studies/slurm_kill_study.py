"""Kill jobs, launchers and slurmds of a table on a real SLURM at random instants; in the end every run has ended once.

Run `SLURM_CONF=... python studies/slurm_kill_study.py --kills 100 --seed 0` as the user who started the cluster of
one machine (`slurm_local.sh up`). The runs count instead of training, so that a lost or doubled step is seen at once.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from ifrvis.datasets.catalog import load_dataset
from ifrvis.files import read_json
from studies.kill_study import HANGS_S, ROOT, _killed, endings

STEPS, STEP_S, PAUSE_S = 60, 0.1, 3.0
CLUSTER = {"name": "kills", "time_min": 60, "memory_gb": 0.5, "cpus": 1, "signal_delay_s": 5, "poll_s": 1}
# What is done, and how often: processes are killed, jobs are signalled or requeued, a slurmd is away for a while.
ROLES = {"worker": 4, "launcher": 3, "slurmd": 2, "signal": 1, "requeue": 1}


class Table:
    """Runs that count, one a seed, and the launcher that stays until all are complete."""

    def __init__(self, folder: Path, data: Path, seeds: int) -> None:
        folder.mkdir()
        profile = (ROOT / "experiments" / "profiles" / "smoke.yaml").read_text()
        profile = profile.replace("train.iterations: 4", f"train.iterations: {STEPS}")
        (folder / "smoke.yaml").write_text(profile.replace("train.init: pretraining", "train.init: null"))
        (folder / "cluster.yaml").write_text(json.dumps(CLUSTER))
        options = {
            "profile": folder / "smoke.yaml",
            "rows": "mask2former-r50-ytvis19",
            "seeds": seeds,
            "data-root": data,
        }
        options |= {"results": folder / "results", "reports": folder / "reports", "cluster": folder / "cluster.yaml"}
        self.command = [sys.executable, "-m", "fake_ifrvis", "run", "table1", "--wait"]
        self.command += [str(each) for name, value in options.items() for each in (f"--{name}", value)]
        self.folder, self.launches, self.started = folder, 0, 0.0
        self.launcher: subprocess.Popen[bytes] = None

    def keep_going(self, most: int) -> bool:
        """Start the launcher unless it runs; tells whether the table is still incomplete."""
        code = self.launcher.poll() if self.launcher else 1
        hangs = code is None and time.monotonic() - self.started > HANGS_S
        if hangs or code not in (None, 0, 1, -signal.SIGKILL) or self.launches > most:
            raise RuntimeError(f"launch {self.launches} does not get on (exit {code}), see {self.folder}/launches.txt")
        if code not in (None, 0):
            paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
            fake = json.dumps({"slow_s": STEP_S, "log": str(self.folder / "starts")})
            environment = {**os.environ, "PYTHONPATH": paths, "IFRVIS_FAKE": fake}
            with (self.folder / "launches.txt").open("a") as log:
                self.launcher = subprocess.Popen(self.command, cwd=ROOT, env=environment, stdout=log, stderr=log)
            self.launches, self.started = self.launches + 1, time.monotonic()
        return code != 0

    def runs(self) -> list[Path]:
        return sorted((self.folder / "results" / "runs").glob("*-*"))

    def living(self) -> list[Path]:
        found = [path for run in self.runs() for path in run.glob("attempts/[0-9]*")]
        return [path for path in found if (path / "job.json").exists() and not (path / "exit.json").exists()]

    def wrong(self) -> list[str]:
        """What does not add up: each run is complete once, has one record, and has counted each step once."""
        found = []
        for run in self.runs():
            attempts = sorted(run.glob("attempts/[0-9]*"))
            ends = Counter(
                read_json(path / "exit.json")["reason"] for path in attempts if (path / "exit.json").exists()
            )
            records = list((self.folder / "results" / "records").glob(f"*/{run.name}-*.json"))
            texts = [path.read_text() for each in attempts for path in each.glob("checkpoints/count")]
            counts = [int(text) for text in texts if text]  # empty: killed while it wrote
            if ends["complete"] != 1 or len(records) != 1 or counts != sorted(counts) or counts[-1] != STEPS:
                found.append(f"{run}: {dict(ends)}, {len(records)} records, counts {counts}")
        return found


def strike(table: Table, role: str, rng: random.Random) -> bool:
    """Do one thing; tells whether there was anything to do it to."""
    if role == "launcher":
        table.launcher.kill()
        table.launcher.wait()
        return True
    if role == "slurmd":
        return _restart_some_slurmd(rng)
    living = table.living()
    if not living:
        return False
    attempt = rng.choice(living)
    if role == "worker":
        return _killed(read_json(attempt / "job.json")["pid"])
    place = read_json(attempt / "slurm.json")
    listed = subprocess.run(["squeue", "-hr", f"--name={place['name']}", "-o%K %i"], capture_output=True, text=True)
    jobs = dict(line.split() for line in listed.stdout.splitlines())
    what = {"signal": ["scancel", "--signal=USR2"], "requeue": ["scontrol", "requeue"]}[role]
    return subprocess.run([*what, jobs.get(str(place["index"]), "0")], capture_output=True).returncode == 0


def _restart_some_slurmd(rng: random.Random) -> bool:
    """Kill the daemon of a node, and start it again as `slurm_local.sh` would."""
    folder = Path(os.environ["SLURM_CONF"]).parent
    node = rng.choice((folder / "run" / "nodes").read_text().split())
    path = folder / "run" / f"slurmd-{node}.pid"
    os.kill(int(path.read_text().split()[0]), signal.SIGKILL)
    time.sleep(rng.random() * PAUSE_S)
    command = ["slurmd", "-D", "-f", os.environ["SLURM_CONF"], "-N", node]
    with (folder / "log" / f"slurmd-{node}.out").open("a") as log:
        daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    started = Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2].split()[19]
    path.write_text(f"{daemon.pid} {started}\n")
    return True


def study(given: argparse.Namespace, folder: Path) -> dict:
    """Strike tables until there were enough kills; the summary."""
    started, rng, done, wrong, tables = time.monotonic(), random.Random(given.seed), Counter(), [], []
    for role in ("train", "heldout"):
        load_dataset("smoke19", folder / "data").make(role)
    while done.total() < given.kills:
        table = Table(folder / f"table-{len(tables)}", folder / "data", given.seeds)
        tables.append(table)
        end = min(given.kills, done.total() + given.kills_a_table)
        while table.keep_going(3 * given.kills + 3):
            time.sleep(rng.random() * PAUSE_S)
            role = rng.choices(list(ROLES), list(ROLES.values()))[0]
            if done.total() < end and table.launcher.poll() is None and strike(table, role, rng):
                done[role] += 1
                print(f"{done.total()}: {role}", file=sys.stderr)
        wrong += table.wrong()
    return {
        "kills": done.total(),
        "killed": dict(done),
        "tables": len(tables),
        "launches": sum(table.launches for table in tables),
        "runs": sum(len(table.runs()) for table in tables),
        "attempts": dict(endings(run for table in tables for run in table.runs())),
        "every_run_ended_once": not wrong,
        "wrong": wrong,
        "minutes": round((time.monotonic() - started) / 60, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--kills-a-table", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=5, help="runs of a table")
    parser.add_argument("--out", type=Path, help="a JSON file for the summary")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ifrvis-slurm-kills-"))
    summary = study(given, folder)
    if summary["every_run_ended_once"]:
        shutil.rmtree(folder)
    else:
        print(f"what is wrong lies in {folder}", file=sys.stderr)
    print(text := json.dumps(summary, indent=1))
    if given.out:
        given.out.write_text(text + "\n")
    return 0 if summary["every_run_ended_once"] else 1


if __name__ == "__main__":
    sys.exit(main())
