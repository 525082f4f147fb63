"""Several processes of one run on this machine: who is told what, and that none is left behind."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from fake_worker import run_attempt as counts

from ifrvis.errors import UserError
from ifrvis.harness.jobs import local
from ifrvis.harness.jobs.local import LocalQueue
from ifrvis.harness.jobs.together import helped, run_on
from ifrvis.harness.plan.planner import make_plan

TOLD = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "CUDA_VISIBLE_DEVICES")


def tell(folder):
    told = {name: os.environ[name] for name in TOLD}
    (Path(folder) / told["RANK"]).write_text(json.dumps(told | {"pid": os.getpid()}))
    if told["RANK"] == "0":
        signal.alarm(30)
        while len(list(Path(folder).iterdir())) < 3:
            time.sleep(0.05)
    elif "forever" in folder:
        time.sleep(60)


@pytest.fixture
def in_a_child(monkeypatch):
    """Work in a process of its own, whose environment and path are those of a job; its exit code."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)]))
    monkeypatch.setattr(tell, "__module__", "test_together")

    def run(work):
        child = os.fork()
        if not child:
            work()
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    return run


def test_each_process_is_told_its_rank_and_all_gpus(in_a_child, tmp_path):
    assert in_a_child(lambda: run_on(["2", "GPU-5"], 3, tell, str(tmp_path))) == 0
    told = [json.loads((tmp_path / str(rank)).read_text()) for rank in range(3)]
    assert [(each["RANK"], each["LOCAL_RANK"], each["WORLD_SIZE"]) for each in told] == [
        (str(rank), str(rank), "3") for rank in range(3)
    ]
    assert {(each["MASTER_ADDR"], each["MASTER_PORT"]) for each in told} == {("127.0.0.1", told[0]["MASTER_PORT"])}
    assert {each["CUDA_VISIBLE_DEVICES"] for each in told} == {"2,GPU-5"}


def test_helpers_end_with_the_first_however_it_ends(in_a_child, tmp_path):
    """It is killed while they are busy, or wait for something else than it."""
    folder = tmp_path / "forever"
    folder.mkdir()

    def killed() -> None:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        with helped(3, tell, str(folder)):
            tell(str(folder))
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_a_child(killed) == -signal.SIGKILL
    helpers = [json.loads((folder / rank).read_text())["pid"] for rank in "12"]
    deadline = time.monotonic() + 10
    while any(_lives(helper) for helper in helpers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _lives(pid):
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_runs_share_the_gpus_and_have_no_more_processes_than_clips(make_request, fake, monkeypatch):
    started = []

    class Executor:
        def __init__(self, folder):
            pass

        def update_parameters(self, **_):
            pass

        def submit(self, function, *given):
            started.append(given[:2])
            return object()

    monkeypatch.setattr(local.submitit, "LocalExecutor", Executor)
    monkeypatch.setattr(local, "gpus", lambda: list("01234"))
    request = make_request(num_seeds=2, overrides={"train.global_batch": 2})
    trainings = make_plan(request).to_run
    for per_run, taken in ((2, [(["0", "1"], 2), (["2", "3"], 2)]), (4, [(["0", "1"], 2), (["4", "0"], 2)])):
        queue = LocalQueue(trainings, request, jobs=2, run_attempt=counts, gpus_per_run=per_run)
        started.clear()
        for item in queue.items:
            item.state, item.attempt = "running", item.attempt or _Attempt()
            queue._start([item])
        assert started == taken
    with pytest.raises(UserError, match="at most 5: so many GPUs are visible"):
        LocalQueue([], request, jobs=1, run_attempt=counts, gpus_per_run=6)


class _Attempt:
    folder = Path("attempt")
