"""Several processes of one run on this machine: who is told what, and that none is left behind."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from ifrvis.errors import UserError
from ifrvis.harness.jobs import local
from ifrvis.harness.jobs.local import LocalQueue
from ifrvis.harness.jobs.together import gpus_of, run_on

TOLD = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "CUDA_VISIBLE_DEVICES")


def tell(folder):
    told = {name: os.environ[name] for name in TOLD}
    (Path(folder) / told["RANK"]).write_text(json.dumps(told | {"pid": os.getpid()}))
    if told["RANK"] == "0":
        signal.alarm(30)
        while len(list(Path(folder).iterdir())) < 3:
            time.sleep(0.05)


@pytest.fixture
def in_a_child(monkeypatch, tmp_path):
    """Live in three processes, with the environment and path of a job: the first's exit code, what each was told."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)]))
    monkeypatch.setattr(tell, "__module__", "test_together")

    def run(folder, first=tell):
        if not (child := os.fork()):
            run_on(["2", "GPU-5"], 3, first, str(folder))
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return code, [json.loads((folder / str(rank)).read_text()) for rank in range(3)]

    return run


def test_each_process_is_told_its_rank_and_all_gpus(in_a_child, tmp_path):
    code, told = in_a_child(tmp_path)
    assert code == 0
    assert [(each["RANK"], each["LOCAL_RANK"], each["WORLD_SIZE"]) for each in told] == [(r, r, "3") for r in "012"]
    assert len({(each["MASTER_ADDR"], each["MASTER_PORT"]) for each in told}) == 1
    assert {each["CUDA_VISIBLE_DEVICES"] for each in told} == {"2,GPU-5"}


def tell_and_die(folder):
    tell(folder)
    if os.environ["RANK"] == "0":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def test_helpers_end_with_the_first_however_it_ends(in_a_child, tmp_path, monkeypatch):
    """It is killed while they are busy, or wait for something else than it."""
    monkeypatch.setattr(tell_and_die, "__module__", "test_together")
    code, told = in_a_child(tmp_path, tell_and_die)
    assert code == -signal.SIGKILL
    deadline = time.monotonic() + 10
    while any(_lives(each["pid"]) for each in told[1:]):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _lives(pid):
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_runs_share_the_gpus_and_ask_for_no_more_than_there_are(make_request, monkeypatch):
    taken = [gpus_of(slot, "01234", 2, 2) for slot in range(3)]
    assert taken == [["0", "1"], ["2", "3"], ["4", "0"]]
    assert gpus_of(1, "0123", 2, 1) == ["2"], "as many processes as clips"
    assert gpus_of(1, "", 2, 2) == []
    monkeypatch.setattr(local, "gpus", lambda: ["0", "1"])
    with pytest.raises(UserError, match="at most 2: so many GPUs are visible"):
        LocalQueue([], make_request(), jobs=1, run_attempt=tell, gpus_per_run=3)
