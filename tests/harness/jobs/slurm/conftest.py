"""A real SLURM on this machine, and a small table that the command runs there with the fake worker."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import fake_worker
import pytest

import ifrvis.worker
from ifrvis.cli import main
from ifrvis.datasets.catalog import load_dataset
from ifrvis.harness.store.attempts import Attempt, attempts_of
from ifrvis.harness.store.paths import Store

ROOT = Path(__file__).parents[4]
PATIENCE_S = 90.0


def slurm_local(script, command):
    return subprocess.run([script, command], capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="session")
def slurm():
    """A running cluster, taken down if it was not up before; SLURM_CONF is set for the session."""
    folder = os.environ.get("IFRVIS_TEST_DATA")
    script = Path(folder or "").resolve() / "slurm" / "slurm_local.sh"
    if not folder or not script.is_file():
        pytest.skip("IFRVIS_TEST_DATA is not set or has no slurm/slurm_local.sh: there is no SLURM here")
    was_up = slurm_local(script, "status").returncode == 0
    up = slurm_local(script, "up")
    if up.returncode == 77:
        pytest.skip(up.stderr.strip())
    assert up.returncode == 0, up.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", slurm_local(script, "env").stdout.strip().partition("=")[2])
        yield
    if not was_up:
        slurm_local(script, "down")


@pytest.fixture(scope="session")
def data_root(tmp_path_factory):
    """The splits that the table needs, made once."""
    root = tmp_path_factory.mktemp("data")
    for role in ("pretrain", "train", "dev", "heldout"):
        load_dataset("smoke19", root).make(role)
    return root


def wait_until(true, what, patience_s=PATIENCE_S):
    deadline = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < deadline, f"not within {patience_s} s: {what}"
        time.sleep(0.1)


class Table:
    """One row of Table 1 in folders of its own; `rows` of it are runs, one a seed."""

    def __init__(self, folder, data_root):
        self.folder, self.data_root, self.results = folder, data_root, Store(folder / "results")
        self.starts = folder / "starts"
        self.set_up()

    def set_up(self, *, seeds=1, iterations=4, pretraining=False, fake=None, **cluster):
        """Say what is run, what the fake worker does, and what of the cluster's file differs."""
        os.environ["IFRVIS_FAKE"] = json.dumps({"log": str(self.starts), **(fake or {})})
        profile = (ROOT / "experiments" / "profiles" / "smoke.yaml").read_text()
        profile = profile.replace("train.iterations: 4", f"train.iterations: {iterations}")
        if not pretraining:
            profile = profile.replace("train.init: pretraining", "train.init: null")
        (self.folder / "smoke.yaml").write_text(profile)
        asked = {"name": "test", "time_min": 60, "memory_gb": 0.5, "cpus": 1, "partition": "main", "poll_s": 1}
        (self.folder / "cluster.yaml").write_text(json.dumps({**asked, "signal_delay_s": 5, **cluster}))
        roots = ["--data-root", self.data_root, "--results", self.results.root, "--reports", self.folder / "reports"]
        selection = ["table1", "--profile", self.folder / "smoke.yaml", "--rows", "mask2former-r50-ytvis19"]
        self.selection = [str(each) for each in [*selection, "--seeds", seeds, *roots]]
        self.to_cluster = [*self.selection, "--cluster", str(self.folder / "cluster.yaml")]

    def command(self, name, *more, expected=0):
        """Run a command in this process; what it printed."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([name, *(self.to_cluster if name == "run" else self.selection), *more])
        assert code == expected, out.getvalue() + err.getvalue()
        return out.getvalue() + err.getvalue()

    def start(self, *more):
        """Start a launch of its own and stay beside it."""
        with (self.folder / "launches.txt").open("a") as log:
            command = [sys.executable, "-m", "fake_ifrvis", "run", *self.to_cluster, *more]
            return subprocess.Popen(command, stdout=log, stderr=log)

    def states(self):
        return [row["state"] for row in json.loads(self.command("status", "--json"))]

    def attempts(self, seed=0) -> list[Attempt]:
        runs = [each for each in self.results.runs() if each.name == f"mask2former-r50-ytvis19-s{seed}"]
        return attempts_of(runs[0]) if runs else []

    def kinds(self, seed=0):
        return [each.ended() and each.ended().kind for each in self.attempts(seed)]

    def counted(self, seed=0, attempt=-1):
        path = self.attempts(seed)[attempt].checkpoints / "count"
        return int(path.read_text()) if path.exists() else 0

    def wait_for_step(self, step, seed=0):
        wait_until(lambda: self.attempts(seed) and self.counted(seed) >= step, f"seed {seed} at step {step}")

    def wait_for(self, *states):
        wait_until(lambda: self.states() == list(states), f"{states}")

    def job(self, seed=0):
        """The id of the job behind the last attempt, once it has one."""
        place = self.attempts(seed)[-1].place()
        said = squeue("-r", f"--name={place.name}", "-o", "%K %i")
        return next(line.split()[1] for line in said.splitlines() if line.split()[0] == str(place.index))

    def all_starts(self):
        return sorted(self.starts.read_text().splitlines()) if self.starts.exists() else []

    def arrays(self):
        return sorted((self.results.root / "jobs").glob("ifrvis-*"))

    def sizes(self):
        """How many jobs the arrays have."""
        return sorted(len(json.loads((each / "array.json").read_text())["attempts"]) for each in self.arrays())


@contextlib.contextmanager
def controller_away():
    """While the block lasts slurmctld does not run; then the same command starts it again, from its saved state."""
    pid_file = Path(os.environ["SLURM_CONF"]).with_name("run") / "slurmctld.pid"  # of slurm_local.sh: pid, start time
    pid = int(pid_file.read_text().split()[0])
    command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: subprocess.run(["squeue", "-h"], capture_output=True, check=False).returncode, "it is gone")
    wait_until(
        lambda: not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes(), "ended"
    )
    try:
        yield
    finally:
        begin = ["sh", "-c", 'setsid "$@" </dev/null >/dev/null 2>&1 & echo $!', "sh", *command]
        new = subprocess.run(begin, capture_output=True, text=True, check=True).stdout.strip()
        started = Path(f"/proc/{new}/stat").read_text().rpartition(") ")[2].split()[19]
        pid_file.write_text(f"{new} {started}\n")
        wait_until(
            lambda: "UP" in subprocess.run(["scontrol", "ping"], capture_output=True, text=True).stdout, "it is up"
        )


def squeue(*options):
    return subprocess.run(["squeue", "-h", *options], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def table(slurm, fake, tmp_path, data_root, monkeypatch):
    """A table whose runs are the fake worker's; its jobs are ended after the test."""
    fake()
    monkeypatch.setattr(ifrvis.worker, "run_attempt", fake_worker.run_attempt)
    made = Table(tmp_path, data_root)
    yield made
    names = ",".join(each.name for each in made.arrays())
    if names:
        for name in names.split(","):
            subprocess.run(["scancel", f"--name={name}"], check=False)
        wait_until(lambda: not squeue(f"--name={names}"), "no job is left")


@pytest.fixture
def stub(table, tmp_path):
    """Put a shell script in the place of a command of SLURM, until the table's jobs are ended."""
    folder = tmp_path / "stubs"
    folder.mkdir()

    def put(name, body):
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(folder), prepend=os.pathsep)
        yield put
