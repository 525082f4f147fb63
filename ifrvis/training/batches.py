"""Global batches for the training loop, in the host's data structures.

Workers load whole iterations in order; what they load depends on the iteration alone, so their number changes
nothing. Position p of a global batch belongs to process p mod the number of processes.

Shape letters:
    T  frames per clip    N  instances of a clip
    H, W  padded height and width, in pixels
"""

import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmdet.structures import DetDataSample, TrackDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData
from torch.utils.data import DataLoader, Dataset

from ifrvis.datasets.clips import Clip, ClipDraw, load_clip, padded_size
from ifrvis.datasets.coco import Stills
from ifrvis.datasets.sampling.samplers import Sampler
from ifrvis.datasets.stills import StillDraw, load_still
from ifrvis.datasets.ytvis import Annotations
from ifrvis.errors import UserError
from ifrvis.training.processes import Processes

GPU_WORKERS = 4  # of each process that trains on one: they load ahead while it computes


@dataclass(frozen=True)
class GlobalBatch:
    """What one process trains on in one iteration."""

    iteration: int  # the iteration, from 0
    clips: list[Clip]  # the clips of this process, by position
    videos: list[str]  # names of the videos of the whole global batch, each once
    # Meta information that normalises the losses, over the whole global batch: its clips, its instances, and the
    # instances that the last frame of their clip shows.
    counts: dict[str, int]

    def pin_memory(self) -> "GlobalBatch":
        """The same with images in memory that a GPU copies from; a loader's thread asks."""
        return replace(
            self,
            clips=[replace(clip, images=torch.from_numpy(clip.images).pin_memory().numpy()) for clip in self.clips],
        )


@dataclass(frozen=True)
class _Iterations(Dataset["GlobalBatch | UserError"]):
    """Iteration number -> one process's share of it, with its own counts.

    Errors are returned: a worker that raises them wraps them in a traceback.
    """

    sampler: Sampler
    annotations: Annotations
    frames_root: Path
    rank: int
    world_size: int
    stills: Stills | None

    def __getitem__(self, iteration: int) -> GlobalBatch | UserError:
        draws = self.sampler.batch(iteration)
        padded = padded_size(draws)
        try:
            own = draws[self.rank :: self.world_size]
            clips = [self._load(draw, padded) for draw in own]
        except UserError as error:
            return error
        videos = list(dict.fromkeys(f"video {draw.video.name}" for draw in draws))
        counts = {
            "batch_num_instances": sum(len(clip.labels) for clip in clips),
            "batch_num_classed": sum(int(clip.visible[:, -1].sum()) for clip in clips),
            "batch_num_clips": len(clips),
        }
        return GlobalBatch(iteration, clips, videos, counts)

    def _load(self, draw: ClipDraw, padded: tuple[int, int]) -> Clip:
        if isinstance(draw, StillDraw):
            assert self.stills is not None
            return load_still(self.stills, draw, padded)
        return load_clip(self.annotations, self.frames_root, draw, padded)


def global_batches(
    sampler: Sampler,
    annotations: Annotations,
    frames_root: Path,
    *,
    stills: Stills | None = None,
    start: int,
    stop: int,
    workers: int | None = None,
    processes: Processes | None = None,
) -> Iterator[GlobalBatch]:
    """The global batches of iterations `start` to `stop` - 1; UserError if a frame cannot be used, here or by another
    process, or a process has nothing to do.

    `annotations` are the split that the sampler draws from, `stills` what the pseudo-videos of a `MixedSampler` are
    drawn from. So many `workers`, processes, load: 0 loads in this one, None takes some where a GPU trains. `processes`
    are those that share the batches; this one alone by default.
    """
    processes = processes or Processes()
    if processes.world_size > sampler.global_batch:
        raise UserError(
            f"Start at most {sampler.global_batch} processes, got {processes.world_size}: "
            f"train.global_batch={sampler.global_batch}, and each needs a clip to train on."
        )
    on_gpu = processes.device.type == "cuda"
    loader = DataLoader(
        _Iterations(sampler, annotations, frames_root, processes.rank, processes.world_size, stills),
        batch_size=None,
        sampler=range(start, stop),
        num_workers=(GPU_WORKERS if on_gpu else 0) if workers is None else workers,
        pin_memory=on_gpu,
        worker_init_fn=_settle_worker,
    )
    batches = iter(loader)
    for _ in range(start, stop):
        with processes.agreeing():
            loaded = next(batches)
            if isinstance(loaded, UserError):
                raise loaded
        totals = map(int, processes.total(list(loaded.counts.values())))
        yield replace(loaded, counts=dict(zip(loaded.counts, totals)))


def _settle_worker(_: int) -> None:
    """Ctrl-C and the launcher's signals are the main process's affair; it ends its workers itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Where the main process was killed, a worker would else wait for ever to hand over what nobody reads.
    Finalize(None, os._exit, args=(0,), exitpriority=100)
    cv2.setNumThreads(0)


def model_inputs(batch: GlobalBatch, clips: Sequence[Clip], seed: int) -> dict[str, list[Any]]:
    """What the host's data preprocessor takes, for a micro-batch of a global batch.

    `inputs` are (T, 3, H, W) uint8 tensors, `data_samples` are TrackDataSample; the run's seed, with iteration and
    position, keys the points that the losses draw.
    """
    samples = [TrackDataSample() for _ in clips]
    for sample, clip in zip(samples, clips):
        draw = clip.draw
        meta = {
            "img_shape": draw.size,
            "ori_shape": (draw.video.height, draw.video.width),
            "video": draw.video.name,
            "draw_key": (seed, draw.iteration, draw.position),
            **batch.counts,
        }
        sample.video_data_samples = [_frame_sample(clip, t, {**meta, "frame_id": f}) for t, f in enumerate(draw.frames)]
    return {"inputs": [torch.from_numpy(clip.images) for clip in clips], "data_samples": samples}


def _frame_sample(clip: Clip, t: int, meta: dict[str, Any]) -> DetDataSample:
    """One frame with the instances that are visible in it; an instance has the same number in every frame."""
    numbers = np.flatnonzero(clip.visible[:, t])
    masks = clip.masks[:, t] if len(numbers) == len(clip.masks) else clip.masks[numbers, t]
    sample = DetDataSample(metainfo=meta)
    sample.gt_instances = InstanceData(
        labels=torch.from_numpy(clip.labels[numbers]),
        masks=BitmapMasks(masks.view(np.uint8), *masks.shape[1:]),
        instances_ids=torch.from_numpy(numbers),
    )
    return sample
