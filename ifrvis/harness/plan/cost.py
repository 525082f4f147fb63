"""What a plan costs, before it starts: hours of computing and bytes on disk.

Hours come from siblings that were measured (the same method and backbone under this profile), else from the profile's
estimate for Mask2Former as the profile sets it; either is scaled by the pixels that are trained on (`work_of`). Bytes
come from siblings of the same iterations and batch, else from a rough count of parameters.
"""

import errno
import math
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ifrvis.errors import UserError
from ifrvis.harness.plan.plan import Plan, Training
from ifrvis.harness.spec.signatures import TrainSpec, work_of
from ifrvis.harness.store.attempts import checkpoint_folders
from ifrvis.harness.store.paths import Run

# Backbones of full size: parameters in millions, and the width at which they have so many.
BACKBONES = {"r50": (24, 64), "r101": (43, 64), "swin-t": (28, 96), "swin-s": (50, 96), "swin-b": (88, 128)}
BACKBONES["swin-l"] = (197, 192)
HEAD_MILLIONS, HEAD_WIDTH = 20, 256
CHECKPOINTS = 2  # that stay of a run
BYTES_A_PARAMETER = 12  # of a checkpoint: the weight and two moments of AdamW
BYTES_A_MASK, MASKS = 60, 20  # of predictions: both lists together, a frame
VIDEOS, FRAMES = 400, 30  # of a real held-out split
Key = tuple[str, str, int, int]  # what siblings have in common


@dataclass(frozen=True)
class Cost:
    """What is still to run of a plan takes."""

    bytes: int
    free_bytes: int
    hours: float | None  # None where a training has no estimate at all
    measured: int  # trainings whose hours were measured on siblings
    estimated: int  # trainings whose hours are the profile's estimate


def measure_siblings(plan: Plan) -> None:
    """Note on each training of a plan the hours that its siblings took, and the bytes that it needs."""
    hours, sizes = dict[tuple[str, str], dict[float, list[float]]](), dict[Key, int]()
    for record in {each.train_sig: each for each in plan.records.all_readable()}.values():
        if record.spec is None:
            continue
        key = _key(record.method, record.backbone, record.spec.train)
        run = plan.request.store.run(record.name, record.train_sig)
        if record.attempts and all(each.seconds is not None for each in record.attempts):
            of_kind = hours.setdefault(key[:2], {})
            of_kind.setdefault(work_of(record.spec.train), []).append(record.hours)
        if key not in sizes and run.folder.is_dir():  # one is enough: equal models make equal checkpoints
            sizes[key] = _bytes_of(run)
    for training in plan.trainings:
        key = _key(training.method, training.backbone, training.spec)
        if of_kind := hours.get(key[:2], {}):
            work = work_of(training.spec)
            near = min(of_kind, key=lambda other: abs(math.log(other / work)))
            training.measured_hours = sum(of_kind[near]) / len(of_kind[near]) * work / near
        training.est_bytes = sizes.get(key) or _rough_bytes(training)


def cost_of(plan: Plan) -> Cost:
    """What is still to run of a plan takes, and what the disk has; `measure_siblings` comes first."""
    hours = [training.est_gpu_hours for training in plan.to_run]
    measured = sum(training.measured_hours is not None for training in plan.to_run)
    return Cost(
        bytes=sum(training.est_bytes for training in plan.to_run),
        free_bytes=_free_bytes(plan.request.store.root),
        hours=None if None in hours else sum(each for each in hours if each is not None),
        measured=measured,
        estimated=len(hours) - measured,
    )


def check_disk(plan: Plan) -> None:
    """Refuse what the disk cannot hold; UserError if the disk of the results has less room than the plan needs."""
    cost = cost_of(plan)
    if cost.bytes > cost.free_bytes:
        raise UserError(
            f"Free {size_text(cost.bytes - cost.free_bytes)} where {plan.request.store.root} lies (`ifrvis prune` "
            f"shows what can go), or choose fewer rows or --seeds: {len(plan.to_run)} trainings need about "
            f"{size_text(cost.bytes)}, the disk has {size_text(cost.free_bytes)}."
        )


def check_links(root: Path) -> str:
    """Refuse a folder of results where nothing can be published once; the part of its path that is there already.
    UserError if nothing can be written there, or no hard link made, as on FAT and some network mounts.
    """
    folder = _existing(root)
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".links-") as scratch:
            Path(scratch, "file").touch()
            os.link(f"{scratch}/file", f"{scratch}/link")
    except OSError as error:
        needed = "you may write" if error.errno in (errno.EACCES, errno.EROFS) else "hard links can be made"
        raise UserError(f"Put --results where {needed}: not in {folder} ({error.strerror}).") from error
    return str(folder)


def size_text(size: float) -> str:
    """Bytes for people: `512 B`, `3.1 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} TB" if size < 999.5 else f"{size:,.0f} TB"


def duration_text(seconds: float | None) -> str:
    """A time for people: `12 s`, `3 min`, `2 h 05 min`; empty where it is not known."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def _key(method: str, backbone: str, spec: TrainSpec) -> Key:
    return method, backbone, spec.iterations, spec.global_batch


def _bytes_of(run: Run) -> int:
    """What a run keeps: two checkpoints of the size of the largest, its weights and predictions."""
    checkpoints = [path.stat().st_size for each in checkpoint_folders(run) for path in each.glob("*")]
    kept = [path.stat().st_size for path in (run.weights, *run.all_predictions()) if path.is_file()]
    return CHECKPOINTS * max(checkpoints, default=0) + sum(kept) if checkpoints else 0


def _rough_bytes(training: Training) -> int:
    model: dict[str, Any] = training.spec.model
    millions, full_width = BACKBONES.get(training.backbone, (100, 1))
    backbone = model.get("backbone", {})
    width = backbone.get("base_channels", backbone.get("embed_dims", full_width)) / full_width
    head = model["track_head"].get("feat_channels", HEAD_WIDTH) / HEAD_WIDTH
    parameters = 1_000_000 * (millions * width**2 + HEAD_MILLIONS * head**2)
    made = training.dataset.config.synthetic
    videos, frames = (made.videos["test"], made.frames[1]) if made else (VIDEOS, FRAMES)
    predictions = len(training.evaluations) * videos * frames * MASKS * BYTES_A_MASK
    return int(CHECKPOINTS * BYTES_A_PARAMETER * parameters + predictions)


def _free_bytes(path: Path) -> int:
    return shutil.disk_usage(_existing(path)).free


def _existing(path: Path) -> Path:
    return next(each for each in (path.absolute(), *path.absolute().parents) if os.path.exists(each))  # noqa: PTH110
