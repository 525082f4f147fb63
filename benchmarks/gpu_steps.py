"""The steps of `check_gpu`, each in a process of its own; what a step yields is kept at once, whatever follows."""

import contextlib
import copy
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from check_gpu import ROOT

Found = Iterator[dict[str, Any]]
PACKAGES = ("numpy", "scipy", "pydantic", "opencv-python-headless", "pycocotools", "onedl-mmcv", "onedl-mmdetection")
ON_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if ON_GPU else "cpu")


def run(step: str, folder: Path, *, dry: bool) -> None:
    """Run one step and write what it yields, so far, to `found.json` of a folder."""
    if not (dry or ON_GPU):
        raise SystemExit("Give --dry: there is no GPU here that torch can use.")
    if dry:
        torch.set_num_threads(1)
    found: dict[str, Any] = {}
    for more in globals()[step](folder, dry):
        found |= more
        (folder / "found.json").write_text(json.dumps(found))


def environment(folder: Path, dry: bool) -> Found:
    """Versions, and what the machine has."""
    yield {"python": sys.version.split()[0], "torch": torch.__version__, "cores": len(os.sched_getaffinity(0))}
    yield {name: _version(name) for name in PACKAGES}
    if ON_GPU:
        from ifrvis.training.build import gpu_facts, settle_torch

        settle_torch(1, "fp32")
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        free, total = torch.cuda.mem_get_info()
        yield {**gpu_facts(names), "capability": torch.cuda.get_device_capability(), "free": free, "memory": total}
    import mmdet.models

    yield {"mmdet imports": mmdet.models.__name__}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def build(folder: Path, dry: bool) -> Found:
    """Compile deformable attention as set-up does, for the architecture that is here."""
    if dry:
        yield {"skipped": "nothing is compiled for a CPU"}
        return
    from ifrvis.models.deformable import operator_runs

    began = time.monotonic()
    done = subprocess.run([sys.executable, ROOT / "setup" / "operators.py"], capture_output=True, text=True)
    yield {"seconds": round(time.monotonic() - began, 1), "said": (done.stdout + done.stderr)[-3000:]}
    yield {"runs": operator_runs(DEVICE)}
    done.check_returncode()


def operator(folder: Path, dry: bool) -> Found:
    """The operator beside torch's operations: largest differences, relative to the largest value, and times."""
    from ifrvis.models import deformable

    yield {"runs": ON_GPU and deformable.operator_runs(DEVICE)}
    torch.manual_seed(0)
    attention = deformable.DeformableAttention(256, num_levels=3, num_heads=8, batch_first=True, dropout=0.0).to(DEVICE)
    for name in ("sampling_offsets", "attention_weights"):
        torch.nn.init.normal_(getattr(attention, name).weight, std=0.05)
    forms = {"operator": deformable.operator_runs, "operations": lambda device: False}
    for batch in (1, 3) if dry else (1, 32, 64, 80, 128):
        given = _attended(batch, [(4, 6), (8, 12), (16, 24)])
        results = {}
        for form, runs in forms.items():
            # Without gradients, a CPU has another form than with them; a GPU has one for both.
            grads = ON_GPU or form == "operator"
            with mock.patch.object(deformable, "operator_runs", runs):
                results[form] = _timed_attention(attention, given, grads)
        first, second = (results[form][0] for form in forms)
        errors = [float((a - b).abs().max() / b.abs().max()) for a, b in zip(first, second)]
        names = ["forward", "query", *(name for name, _ in attention.named_parameters())]
        seconds = {form: results[form][1] for form in forms}
        yield {f"batch {batch}": {"error": dict(zip(names, errors)), "seconds": seconds}}


def _attended(batch: int, sizes: list[tuple[int, int]]) -> dict[str, Any]:
    shapes = torch.tensor(sizes, device=DEVICE)
    cells = int(shapes.prod(1).sum())
    query, points = torch.randn(batch, cells, 256, device=DEVICE), torch.rand(batch, cells, 3, 2, device=DEVICE)
    start = torch.cat([shapes.new_zeros(1), shapes.prod(1).cumsum(0)[:-1]])
    return {"query": query, "reference_points": points, "spatial_shapes": shapes, "level_start_index": start}


def _timed_attention(attention: Any, given: dict[str, Any], grads: bool) -> tuple[list[torch.Tensor], float]:
    attention.zero_grad()
    query = given["query"].clone().requires_grad_(grads)
    began = _now()
    with torch.set_grad_enabled(grads):
        out = attention(**{**given, "query": query, "value": query})
    if not grads:
        return [out], _now() - began
    out.square().mean().backward()
    seconds = _now() - began
    return [out.detach(), query.grad, *(each.grad.clone() for each in attention.parameters())], seconds


def agreement(folder: Path, dry: bool) -> Found:
    """Losses and gradients on the CPU and here, in float32, of the same weights and points."""
    from ifrvis.training.build import settle_torch

    _draw_points_on_cpu()
    settle_torch(_threads(dry), "fp32")
    for method in ("mask2former", "ours"):
        results = []
        for device in ("cpu", DEVICE):
            model = _model(method, "r50", dry).to(device).train()
            parts = _losses(model, _batch(1, (64, 96) if dry else (192, 320)))
            sum(parts.values()).backward()
            norms = {name: each.grad.norm().item() for name, each in model.named_parameters() if each.grad is not None}
            results.append(({name: float(value) for name, value in parts.items()}, norms))
        for what, cpu, here in zip(("losses", "gradients"), *results):
            largest = max(cpu, key=lambda name: abs(cpu[name] - here[name]) / max(abs(cpu[name]), 1e-6))
            error = abs(cpu[largest] - here[largest]) / max(abs(cpu[largest]), 1e-6)
            yield {f"{method} {what}": {"largest relative difference": error, "of": largest}}


def amp(folder: Path, dry: bool) -> Found:
    """Thirty steps in mixed precision through the training loop: scale, steps that were skipped, losses."""
    from ifrvis.training import loop

    scales, told, step = [], [], loop._step

    def watched(state: Any, *given: Any) -> Any:
        done = step(state, *given)
        scaler = getattr(state.optimizer, "loss_scaler", None)
        scales.append(scaler.get_scale() if scaler else None)
        return done

    precision = "amp" if ON_GPU else "fp32"
    with mock.patch.object(loop, "_step", watched):
        _train(folder, dry, iterations=2 if dry else 30, on_progress=told.append, precision=precision)
    skipped = sum(not np.isfinite(each.grad_norm) for each in told)
    yield {"scale": scales[-1], "skipped": skipped, "losses": [round(each.loss, 3) for each in told]}
    yield {"seconds an iteration": told[-1].seconds_per_iteration, "finite": bool(np.isfinite(told[-1].loss))}


def mini(folder: Path, dry: bool) -> Found:
    """Three hundred iterations of profile mini from its shipped pretraining: the loss falls; AP of eight videos."""
    from ifrvis.evaluation.ap import average_precision
    from ifrvis.evaluation.predictions import results_of
    from ifrvis.inference.modes import predict_split

    told: list[Any] = []
    trained, composed, split = _train(folder, dry, iterations=4 if dry else 300, on_progress=told.append)
    part = max(len(told) // 10, 1)
    first, last = (statistics.mean(each.loss for each in some) for some in (told[:part], told[-part:]))
    yield {"loss": [first, last], **trained.measured, "seconds an iteration": told[-1].seconds_per_iteration}
    annotations, frames = split("dev")
    scores = average_precision(annotations, results_of(predict_split(trained.model, annotations, frames, composed)))
    yield {name: scores[name] for name in ("AP", "AP50", "AR10")}


def resume(folder: Path, dry: bool) -> Found:
    """Killed in the middle and resumed: it ends at the last iteration, near where one that was not killed does."""
    losses = {}
    command: list[Any] = [
        sys.executable,
        ROOT / "benchmarks" / "check_gpu.py",
        folder,
        "--step",
        "half",
        *["--dry"] * dry,
    ]
    yield {"killed by": -subprocess.run(command).returncode}  # no fork: CUDA would not outlive it
    for name in ("killed", "whole"):
        told: list[Any] = []
        _train(folder, dry, iterations=_iterations(dry), name=name, on_progress=told.append)
        losses[name] = told[-1].loss
        yield {f"{name}: iterations of this attempt": [told[0].iteration, told[-1].iteration]}
    yield {"loss": losses, "difference": abs(losses["killed"] - losses["whole"])}


def half(folder: Path, dry: bool) -> Found:
    """The part of `resume` that is killed."""
    left = iter(range(_iterations(dry) // 2))

    def kills_itself() -> bool:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    settings: dict[str, Any] = {"checkpoint_interval_s": 0, "name": "killed", "should_stop": kills_itself}
    yield {"not killed": _train(folder, dry, iterations=_iterations(dry), **settings)[0].iteration}


def _iterations(dry: bool) -> int:
    return 6 if dry else 40


def ddp(folder: Path, dry: bool) -> Found:
    """DistributedDataParallel over NCCL with one process gives the same gradients; a group can be aborted."""
    from torch import distributed
    from torch.distributed.distributed_c10d import _abort_process_group

    from ifrvis.training.processes import Processes

    _draw_points_on_cpu()
    store = distributed.FileStore(str(folder / "meeting"), 1)  # type: ignore[attr-defined]  # torch re-exports it
    distributed.init_process_group("nccl" if ON_GPU else "gloo", store=store, rank=0, world_size=1)
    model, batch, norms = _model("ours", "r50", dry=True).to(DEVICE).train(), _batch(1, (64, 96)), []
    for forward in (model, Processes(0, 2, DEVICE).summing_gradients(model)):
        model.zero_grad()
        sum(_losses(model, batch, forward).values()).backward()
        norms.append(
            float(torch.stack([each.grad.norm() for each in model.parameters() if each.grad is not None]).norm())
        )
    yield {"gradient": norms}
    began = time.monotonic()
    _abort_process_group()
    yield {"seconds to abort": time.monotonic() - began}


def marked(folder: Path, dry: bool) -> Found:
    """The project's tests that need a GPU."""
    paths = sorted(str(path) for path in (ROOT / "tests").rglob("test_*.py") if "mark.gpu\n" in path.read_text())
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-m", "gpu", "-p", "no:cacheprovider", *paths]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    yield {"said": done.stdout.splitlines()[-12:]}
    if done.returncode:
        raise SystemExit(f"pytest ended with {done.returncode}: {done.stderr[-300:]}")


def steps(folder: Path, dry: bool) -> Found:
    """Seconds and peak memory of a training step in mixed precision, beside the host's head; the top of a profile."""
    clips = (1,) if dry else (2, 16)
    for backbone in ("r50",) if dry else ("r50", "swin-l"):
        for side in ("ours", "mask2former", "host", "ours recomputed"):
            for number in clips:
                with contextlib.suppress(torch.OutOfMemoryError):
                    yield {f"{backbone} {side} {number} clips": _measured_step(side, backbone, number, dry)}
                if ON_GPU:
                    torch.cuda.empty_cache()
    yield {"profile of ours, r50": _measured_step("ours", "r50", clips[0], dry, profile=True)["profile"]}


def _measured_step(side: str, backbone: str, clips: int, dry: bool, profile: bool = False) -> dict[str, Any]:
    from ifrvis.training.build import build_optimizer, recompute_blocks

    method, _, recomputed = side.partition(" ")
    model = _model(method, backbone, dry).to(DEVICE).train()
    if recomputed:
        recompute_blocks(model.backbone)
    rule = {"lr": 1e-4, "weight_decay": 0.05, "betas": [0.9, 0.999], "eps": 1e-8, "clip_grad": 0.01}
    optimizer = build_optimizer(model, {**rule, "backbone_lr_mult": 0.1}, precision="amp" if ON_GPU else "fp32")
    batch, seconds = _batch(clips, (64, 96) if dry else (480, 864)), []

    def step() -> None:
        with optimizer.optim_context(model):
            loss = sum(_losses(model, batch).values())
        optimizer.backward(loss)
        optimizer.step()
        optimizer.zero_grad()

    if ON_GPU:
        torch.cuda.reset_peak_memory_stats()
    for _ in range(1 if dry else 5):
        began = _now()
        step()
        seconds.append(_now() - began)
    result: dict[str, Any] = {"seconds": statistics.median(seconds[-3:]), "first": seconds[0], **_peak()}
    if profile:
        with torch.profiler.profile() as profiler:
            step()
        key = "self_device_time_total" if ON_GPU else "self_cpu_time_total"
        result["profile"] = profiler.key_averages().table(sort_by=key, row_limit=15).splitlines()
    return result


def inference(folder: Path, dry: bool) -> Found:
    """Frames a second, run-length codes included, and peak memory, in every mode."""
    from ifrvis.inference.modes import predict_video
    from ifrvis.inference.sources import FrameSource

    model, size = _model("ours", "r50", dry).to(DEVICE).eval(), (48, 64) if dry else (360, 640)
    whole = {"mode": "whole", "side": size[0], "max_side": 1333, "resize": "pillow", "topk": 10, "tta": None}
    joined = {"clip_frames": 5, "stride": 1, "min_class_score": 0.01, "min_overlap": 0.05}
    modes = {"whole": whole, "clips": {**whole, **joined, "mode": "clips"}}
    modes["tta"] = {**whole, "tta": [size[0]], "flip": True}
    random = np.random.default_rng(0)

    def noise(length: int) -> FrameSource:
        frames = random.integers(0, 256, (length, *size, 3), np.uint8)
        return FrameSource(7, *size, length, lambda: iter(frames))

    predict_video(model, noise(5), whole, range(1, 41))  # warms up
    for frames in (6,) if dry else (20, 100, 200):
        video = noise(frames)
        for name, mode in modes.items():
            if ON_GPU:
                torch.cuda.reset_peak_memory_stats()
            began = _now()
            predict_video(model, video, mode, range(1, 41))
            yield {f"{name} {frames} frames": {"frames a second": frames / (_now() - began), **_peak()}}


# What the steps share


def _draw_points_on_cpu() -> None:
    """The points of losses, so that they are the same on every device."""
    from ifrvis.models import targets

    def on_cpu(device: Any) -> torch.Generator:
        return torch.Generator()

    mock.patch.object(targets, "Generator", on_cpu).start()


def _threads(dry: bool) -> int:
    return 1 if dry else len(os.sched_getaffinity(0))


def _now() -> float:
    if ON_GPU:
        torch.cuda.synchronize()
    return time.perf_counter()


def _peak() -> dict[str, float]:
    return {"peak GiB": torch.cuda.max_memory_allocated() / 2**30} if ON_GPU else {}


def _model(method: str, backbone: str, dry: bool) -> Any:
    """A method's recipe of profile paper (mini for `dry`), or the host's head in the place of the baseline's."""
    from models.host import host_head_cfg

    from ifrvis.harness.spec.compose import compose
    from ifrvis.harness.spec.profiles import load_profile
    from ifrvis.training.build import build_model

    profile, known = load_profile("mini" if dry else "paper"), "mask2former" if method == "host" else method
    config = copy.deepcopy(compose(known, backbone, "ytvis19", profile, num_classes=40).model)
    if method == "host":
        config["track_head"] = host_head_cfg(config["track_head"], 2)
    return build_model(config, seed=0)


def _batch(clips: int, size: tuple[int, int]) -> tuple[list[Any], list[Any]]:
    """Random frames with four squares in each clip of two."""
    from models.conftest import pack

    masks = np.zeros((4, 2, *size), np.uint8)
    for m in range(4):
        masks[m, :, m * 10 : m * 10 + size[0] // 3, m * 20 : m * 20 + size[1] // 3] = 1
    counts = {"batch_num_instances": 4 * clips, "batch_num_classed": 4 * clips, "batch_num_clips": clips}
    samples = [pack(masks, np.arange(4), draw_key=(0, 0, b), **counts) for b in range(clips)]
    draws = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8, generator=draws) for _ in samples], samples


def _losses(model: Any, batch: tuple[list[Any], list[Any]], forward: Any = None) -> dict[str, Any]:
    from ifrvis.models.drop_path import draw_drop_path_for

    images, samples = batch
    draw_drop_path_for(model, [(0, 0, b) for b in range(len(samples))])
    # The host turns the masks of its samples into tensors in place.
    data = model.data_preprocessor({"inputs": list(images), "data_samples": copy.deepcopy(samples)}, training=True)
    losses = (forward or model)(**data, mode="loss")
    return {name: sum(value) if isinstance(value, list) else value for name, value in losses.items()}


def _train(
    folder: Path, dry: bool, *, iterations: int, name: str = "run", precision: str = "fp32", **given: Any
) -> Any:
    """Train `ours` of profile mini; what came of it, its inference, and what reads a split."""
    from ifrvis.datasets.catalog import load_config
    from ifrvis.datasets.synthetic.making import make_split
    from ifrvis.datasets.ytvis import read_annotations
    from ifrvis.harness.spec.compose import compose
    from ifrvis.harness.spec.profiles import load_profile
    from ifrvis.training.loop import train

    videos = {"pretrain": 0, "train": 3 if dry else 60, "dev": 2 if dry else 8, "test": 0}
    parameters = load_config("mini19")[0].synthetic.model_copy(update={"videos": videos})

    def split(role: str) -> Any:
        return read_annotations(make_split(parameters, role, folder)), folder / role / "JPEGImages"

    composed = compose("ours", "r50", "ytvis19", load_profile("mini"), num_classes=4)
    spec = {**copy.deepcopy(composed.train), "model": composed.model, "seed": 0, "precision": precision}
    spec |= {"iterations": iterations, "threads": _threads(dry)}
    spec["global_batch"] = 1 if dry else spec["global_batch"]
    annotations, frames = split("train")
    settings = {"folder": folder / name, "resume_from": [folder / name], **given}
    weights = ROOT / "experiments" / "weights" / "pretraining-r50-mini-coco.pth"
    start = {"train_sig": "0" * 64, "init_weights": weights, "annotations": annotations, "frames_root": frames}
    return train(spec, **start, **settings), composed.inference, split
