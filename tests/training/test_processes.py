"""Several processes train as one does, to rounding; what ends one ends all, and they resume bitwise."""

import os
import signal
import traceback
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
import torch
from made_records import asked, made_run
from torch import Tensor
from training.conftest import SWIN

from ifrvis.cli import main
from ifrvis.errors import UserError
from ifrvis.harness.jobs.worker_life import live
from ifrvis.harness.store.attempts import claim
from ifrvis.harness.store.paths import Store
from ifrvis.training import loop
from ifrvis.training.loop import NotFiniteLossError
from ifrvis.training.processes import Processes, join_processes
from ifrvis.worker import _Worker, dealt


@pytest.fixture
def together(tmp_path):
    """Call `work(processes)` in several processes at once; their exit codes, 3 for an exception."""
    meetings = iter(range(99))

    def start(world_size: int, work) -> list[int]:
        meeting = tmp_path / f"meeting-{next(meetings)}"
        children = [_forked(rank, world_size, meeting, work) for rank in range(world_size)]
        return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]

    return start


def _forked(rank: int, world_size: int, meeting: Path, work) -> int:
    child = os.fork()
    if child:
        return child
    code = 3
    try:
        os.environ.update(RANK=str(rank), WORLD_SIZE=str(world_size))
        with join_processes(f"file://{meeting}") as processes:
            work(processes)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


@pytest.fixture
def train_together(together, run, tmp_path):
    """Train in several processes, each in a folder of its own; exit codes, and the weights of those that finished."""

    def start(spec, world_size: int, name: str, **given):
        def work(processes: Processes) -> None:
            folder = tmp_path / name / str(processes.rank)
            trained = run(spec, folder=folder, processes=processes, **given)
            torch.save(trained.model.state_dict(), tmp_path / f"{name}-{processes.rank}.pth")

        codes = together(world_size, work)
        return codes, [torch.load(path) for path in sorted(tmp_path.glob(f"{name}-?.pth"))]

    return start


def largest_difference(one: dict, other: dict) -> float:
    assert one.keys() == other.keys()
    return max(float((one[key].double() - other[key].double()).abs().max()) for key in one)


@pytest.fixture
def calm(spec):
    """A specification in which rounding stays rounding: it neither chooses points nor is blown up by Adam."""
    spec["optimizer"]["eps"] = 1e-4  # gradients that are all but zero are not scaled to one
    spec["model"]["track_head"]["importance_ratio"] = 0.0  # of two points that are as uncertain, either may be kept
    return spec | {"iterations": 6}


@pytest.mark.parametrize(("world_size", "micro_batch"), [(2, None), (2, 1), (3, None)])
@pytest.mark.parametrize("method", ["mask2former", "ours with drop path", "seqformer"])
def test_the_number_of_processes_changes_rounding_alone(
    run, train_together, calm, spec_of, method, world_size, micro_batch
):
    """The global batch of three clips is one that two processes do not divide."""
    if method == "seqformer":
        calm = spec_of(method) | {"iterations": 6}
        calm["optimizer"]["eps"] = 1e-4
    elif method != "mask2former":
        calm["model"]["backbone"] = SWIN
        calm["model"]["track_head"] = spec_of("ours")["model"]["track_head"] | {"importance_ratio": 0.0}
    alone = run(calm).model.state_dict()
    codes, weights = train_together(calm, world_size, "all", micro_batch=micro_batch)
    assert codes == [0] * world_size
    assert all(largest_difference(weights[0], each) == 0 for each in weights[1:])
    assert largest_difference(alone, weights[0]) < (1e-4 if method == "seqformer" else 1e-5)


@pytest.mark.parametrize("world_size", [2, 3])
def test_killed_and_resumed_is_bitwise_the_same(train_together, spec, tmp_path, world_size):
    calls = iter(range(1, 99))

    def killed_in_the_fifth() -> bool:
        if next(calls) == 5 and os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    whole = train_together(spec, world_size, "whole")[1]
    settings = {"checkpoint_interval_s": 0}
    codes, weights = train_together(spec, world_size, "killed", should_stop=killed_in_the_fifth, **settings)
    assert codes[1] == -signal.SIGKILL
    assert 0 not in codes
    assert weights == []
    assert not (tmp_path / "killed" / "1").exists(), "only the first process writes"
    resumed = train_together(spec, world_size, "resumed", resume_from=[tmp_path / "killed" / "0"])[1]
    assert [largest_difference(whole[0], each) for each in resumed] == [0] * world_size
    assert sorted(path.name for path in tmp_path.glob("resumed/*/*.pth")) == ["iter_000012.pth"]


@pytest.mark.parametrize("buffers", ["forward_sync_buffers", "broadcast_buffers"])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_torch_is_asked_for_what_it_knows_and_what_the_device_needs(monkeypatch, device, buffers):
    """Older torch has another name for the buffers, which every process makes for itself."""
    asked = {}

    def older(module, device_ids=None, broadcast_buffers=True, find_unused_parameters=False):
        asked.update(devices=device_ids, broadcast_buffers=broadcast_buffers, finds=find_unused_parameters)

    def newer(module, device_ids=None, broadcast_buffers=None, find_unused_parameters=False, forward_sync_buffers=None):
        assert broadcast_buffers is None
        asked.update(devices=device_ids, forward_sync_buffers=forward_sync_buffers, finds=find_unused_parameters)

    known = older if buffers == "broadcast_buffers" else newer
    monkeypatch.setattr("ifrvis.training.processes.DistributedDataParallel", known)
    here = torch.device(device)
    Processes(0, 2, here).summing_gradients(torch.nn.Linear(1, 1))
    assert asked == {"devices": [here] if device == "cuda" else None, buffers: False, "finds": device == "cpu"}


def test_the_first_process_tells_the_loss_of_all(run, together, spec):
    spec["iterations"] = 1
    alone = []
    run(spec, on_progress=alone.append)

    def work(processes: Processes) -> None:
        told = []
        run(spec, processes=processes, on_progress=told.append)
        assert len(told) == (processes.rank == 0)
        for progress in told:
            assert progress.loss == pytest.approx(alone[0].loss, rel=1e-5)
            assert progress.grad_norm == pytest.approx(alone[0].grad_norm, rel=1e-3)

    assert together(2, work) == [0, 0]


def test_asked_by_one_all_stop_at_the_same_iteration(run, together, spec, tmp_path):
    def work(processes: Processes) -> None:
        calls = iter(range(1, 99))
        trained = run(spec, processes=processes, should_stop=lambda: next(calls) == 3 and processes.rank == 1)
        assert (trained.iteration, trained.finished) == (3, False)

    assert together(2, work) == [0, 0]
    assert [path.name for path in tmp_path.glob("checkpoints/*.pth")] == ["iter_000003.pth"]


@pytest.mark.parametrize("sick", [0, 1])
def test_a_loss_that_is_not_finite_in_one_process_stops_all(run, together, spec, monkeypatch, sick):
    forward = loop._forward

    def work(processes: Processes) -> None:
        def sometimes_nan(state, batch, *others):
            loss, terms = forward(state, batch, *others)
            factor = float("nan") if (processes.rank, batch.iteration) == (sick, 2) else 1.0
            return loss * factor, {name: term * factor for name, term in terms.items()}

        monkeypatch.setattr(loop, "_forward", sometimes_nan)
        with pytest.raises(NotFiniteLossError, match="the loss is not finite in iteration 2") as caught:
            run(spec, processes=processes)
        assert str(caught.value).count("video ") >= 2, "it names the videos of the whole global batch"

    assert together(2, work) == [0, 0]


def test_what_fails_in_one_process_fails_in_all(run, together, spec):
    def work(processes: Processes) -> None:
        kind, words = (
            (RuntimeError, "ZeroDivisionError in process 0") if processes.rank else (ZeroDivisionError, "zero")
        )
        with pytest.raises(kind, match=words):
            run(spec, processes=processes, on_progress=lambda progress: 1 / 0)

    assert together(2, work) == [0, 0]


@pytest.mark.parametrize("sick", [0, 1])
def test_out_of_memory_in_one_backward_pass_ends_all_as_memory(run, tmp_path, spec, sick):
    """The others wait for its gradients meanwhile. Each process is a worker's, with an attempt to say how it ended."""
    attempts = [claim(made_run(Store(tmp_path / str(rank))), asked()) for rank in (0, 1)]

    def work(attempt, progress) -> None:
        with join_processes(f"file://{tmp_path}/meeting") as processes:
            if processes.rank == sick:
                Tensor.backward = mock.Mock(side_effect=torch.OutOfMemoryError("CUDA has none left"))
            run(spec, processes=processes)

    children = []
    for rank, attempt in enumerate(attempts):
        children.append(os.fork())
        if not children[-1]:
            os.environ.update(RANK=str(rank), WORLD_SIZE="2")
            live(str(attempt.folder), work)
            os._exit(0)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    for rank, attempt in enumerate(attempts):
        ending = attempt.ending()
        assert (ending.reason, ending.kind) == ("failed", "memory")
        told = "" if rank == sick else f" in process {sick}"
        assert ending.message.endswith(f"OutOfMemoryError{told}: CUDA has none left")
        assert ending.seconds < 60


def test_a_frame_that_one_process_cannot_read_is_named_by_all(run, together, spec, split):
    path = split.frames_root / split.annotations.videos[0].file_names[0]

    def work(processes: Processes) -> None:
        with pytest.raises(UserError, match=f"^Copy {path} again"):
            run(spec | {"iterations": 40}, processes=processes)

    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    try:
        assert together(2, work) == [0, 0]
    finally:
        path.write_bytes(whole)


def test_what_is_meant_for_a_gpu_is_not_computed_on_a_cpu():
    """As where the driver is older than torch: it would take weeks."""
    worker = object.__new__(_Worker)
    worker._job = asked(on_gpu=True)
    with pytest.raises(UserError, match=r"^Install a torch that the GPU's driver takes .* finds no GPU"):
        worker.work()


def test_processes_on_several_nodes_are_refused(monkeypatch):
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "4"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=r"^Start all processes of a run on one node, got 2 of 4"), join_processes():
        pass


def test_more_processes_than_clips_are_refused(together, run, spec):
    def work(processes: Processes) -> None:
        with pytest.raises(UserError, match=r"^Start at most 3 processes, got 4"):
            run(spec, processes=processes)

    assert together(4, work) == [0] * 4


@pytest.mark.slow
def test_a_row_trains_with_two_processes_of_this_machine(tmp_path):
    told = [f"--{kind}={tmp_path / kind}" for kind in ("data-root", "results", "reports")]
    chosen = ["--profile=smoke", "--rows=mask2former-r50-ytvis19", "--seeds=1", "--gpus-per-run=2"]
    assert main(["run", "table1", *chosen, *told]) == 0
    logs = [path.read_text() for path in tmp_path.glob("results/runs/*/attempts/0001/submitit/*_log.out")]
    assert len(logs) == 2


def test_videos_are_dealt_by_length_each_once():
    videos = [SimpleNamespace(id=number, length=length) for number, length in enumerate((3, 9, 5, 7, 1))]
    rounds = [list(dealt(videos, rank, 2)) for rank in (0, 1)]
    assert [[[video.length for video in share] for share in each] for each in rounds] == [
        [[9], [5], [1]],
        [[7], [3], []],
    ]
    assert [share[0].length for share in dealt(videos, 0, 1)] == [9, 7, 5, 3, 1]


@pytest.mark.slow
def test_two_processes_predict_the_same_bytes_as_one(tmp_path):
    told = [f"--{kind}={tmp_path / kind}" for kind in ("data-root", "results", "reports")]
    chosen = ["run", "table1", "--profile=smoke", "--rows=mask2former-r50-ytvis19", "--seeds=1", *told]
    assert main(chosen) == 0
    (path,) = tmp_path.glob("results/runs/mask2former-*/predictions/*/predictions.json.gz")
    alone = path.read_bytes()
    for each in (path, *tmp_path.glob("results/records/smoke/mask2former-*")):
        each.unlink()
    assert main([*chosen, "--gpus-per-run=2"]) == 0
    assert path.read_bytes() == alone
    assert len(list(path.parents[2].glob("attempts/*/exit.json"))) == 2
