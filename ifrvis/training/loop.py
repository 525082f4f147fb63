"""The training loop: small, so that a run that is killed at any instant goes on to bitwise the same weights.

The host's own Runner trains the same models; this loop exists because exact resumption and safe loading need it.
Its numbers depend on the specification alone: clips, points and drop path are drawn from (seed, iteration, position),
and the losses are divided by the counts of the global batch, so that micro-batches and processes add up to it.
"""

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ifrvis.datasets.clips import Clip
from ifrvis.datasets.coco import Stills
from ifrvis.datasets.sampling.samplers import sampler_of
from ifrvis.datasets.ytvis import Annotations
from ifrvis.models.drop_path import draw_drop_path_for
from ifrvis.models.targets import NotFiniteLossError
from ifrvis.streams import Stream
from ifrvis.training.batches import GlobalBatch, global_batches, model_inputs
from ifrvis.training.build import TrainingState, gpu_facts, recompute_blocks, settle_torch, start_or_resume
from ifrvis.training.checkpoints import Writer
from ifrvis.training.processes import Processes
from ifrvis.training.progress import Clock, Progress, Sink

_SMALLEST_LOSS_SCALE = 1.0  # mixed precision halves its scale of 65536 at each overflow; below this, all overflow


def _not_finite(what: str, batch: GlobalBatch) -> NotFiniteLossError:
    return NotFiniteLossError(
        f"Lower train.optimizer.lr, or look at the frames and masks of {', '.join(batch.videos)}: {what} is not finite "
        f"in iteration {batch.iteration}, whose batch these videos make up."
    )


@dataclass(frozen=True)
class Trained:
    """How a training ended."""

    model: nn.Module  # as it is after `iteration` iterations
    iteration: int  # iterations behind it, earlier attempts included
    finished: bool  # whether that was all of them; else it was asked to stop, and the next attempt goes on
    measured: dict[str, Any]  # what a record says of this attempt's time and GPUs


def train(
    # The training part of a run's specification (docs/architecture.md, "One recipe"), with model and seed.
    spec: Mapping[str, Any],
    *,
    train_sig: str,  # identity of the training; only its own checkpoints are taken up
    annotations: Annotations,  # the training split
    frames_root: Path,  # folder that the file names of frames are relative to
    folder: Path,  # where this attempt, and no other, writes checkpoints; of several processes the first does
    resume_from: Sequence[Path] = (),  # checkpoint folders of earlier attempts, oldest first
    init_weights: Path | None = None,  # the file behind the specification's `init`
    # What pseudo-videos are made of, and their share of the clips (see `MixedSampler`); the specification's `data`
    # covers both.
    stills: tuple[Stills, float | None] | None = None,
    workers: int | None = None,  # processes that load clips; by default some where a GPU trains, else none
    # Clips of one forward pass; all of a process by default. The gradient is the same but for rounding.
    micro_batch: int | None = None,
    # Compute activations of the backbone again in the backward pass, to the same numbers.
    checkpoint_backbone: bool = False,
    # Those that share the global batch, whatever their number; this one alone by default. Ended by one, all end at the
    # same iteration.
    processes: Processes | None = None,
    # Seconds from one checkpoint to the next (`checkpoints.Writer`); one is also written at the end.
    checkpoint_interval_s: float = 600.0,
    should_stop: Callable[[], bool] = lambda: False,  # asked after each iteration, by each process
    # Called before a checkpoint is published, on the thread that writes; raises if this attempt must not write any
    # more. This and what follows is called in the first process alone.
    before_checkpoint: Callable[[], None] = lambda: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,  # called after each iteration
    # Given the model and the iterations behind it, before the first and after each; it may put the model into
    # evaluation mode, and must leave its weights alone.
    watch: Callable[[nn.Module, int], None] | None = None,
    sink: Sink | None = None,  # takes scalars after each iteration
) -> Trained:
    """Train from the newest checkpoint, or from the start, to the end or until asked to stop.

    Raises:
        NotFiniteLossError: If the loss or its gradient is not finite; the last checkpoint is from before.
        UserError: If data, weights or checkpoints cannot be used, or the disk is full.
    """
    processes = processes or Processes()
    settle_torch(spec["threads"], spec["precision"])
    state = start_or_resume(
        spec, train_sig=train_sig, init_weights=init_weights, resume_from=resume_from, processes=processes
    )
    if checkpoint_backbone:
        recompute_blocks(state.model.backbone)
    state.model.train()  # a new model is so by name, but frozen batch norms and stages are set here alone
    batches = global_batches(
        sampler_of(spec, annotations, stills),
        annotations,
        frames_root,
        stills=stills and stills[0],
        start=state.iteration,
        stop=spec["iterations"],
        workers=workers,
        processes=processes,
    )
    first, last = processes.rank == 0, spec["iterations"]
    with processes.agreeing():
        if watch is not None and first:
            watch(state.model, state.iteration)
    clock, writer = Clock(), Writer(folder, checkpoint_interval_s, before_checkpoint)
    with contextlib.closing(writer):
        began = time.monotonic()
        for batch in clock.waits(batches):
            parts, grad_norm = _step(state, batch, spec["seed"], micro_batch or len(batch.clips), processes)
            state.history.add(state.iteration, last, parts["loss"], time.monotonic() - began)
            terms = {name: value for name, value in parts.items() if name != "loss"}
            pace_s = clock.tick()
            eta_s = (last - state.iteration) * pace_s
            progress = Progress(state.iteration, last, parts["loss"], terms, grad_norm, pace_s, eta_s)
            stopping = due = False
            with processes.agreeing():
                if first:
                    due = writer.is_due()
                    on_progress(progress)
                    if watch is not None:
                        watch(state.model, state.iteration)
                    if sink is not None:
                        _sink_scalars(sink, progress, state)
                stopping = should_stop()
            stopping, due = map(bool, processes.total([stopping, due]))
            ending = stopping or state.iteration == last
            if ending or due:
                with processes.agreeing():
                    if first:
                        writer.write(state.iteration, state.contents(train_sig))
                    if first and ending:
                        writer.finish()
            if stopping:
                break
            began = time.monotonic()
    measured: dict[str, Any] = {"waiting_for_data": clock.waiting}
    if processes.device.type == "cuda":
        names = processes.of_all(torch.cuda.get_device_name(processes.device))
        peak = torch.cuda.max_memory_allocated(processes.device)
        measured |= {**gpu_facts(names), "peak_gpu_memory_bytes": peak}
    return Trained(state.model, state.iteration, state.iteration == last, measured)


def _step(
    state: TrainingState, batch: GlobalBatch, seed: int, micro_batch: int, processes: Processes
) -> tuple[dict[str, float], float]:
    """One optimizer step; the terms of the loss with their total under `loss`, and the gradient's norm."""
    if not state.model.training:  # watching leaves it so; the walk through all modules takes 1 % of a mini step
        state.model.train()
    parts: dict[str, float] = {}
    starts = range(0, len(batch.clips), micro_batch)
    micro_batches = [batch.clips[start : start + micro_batch] for start in starts]
    forward = state.forward  # several processes add their gradients up in the last backward pass of a step alone
    with processes.agreeing():
        with forward.no_sync() if isinstance(forward, DistributedDataParallel) else contextlib.nullcontext():
            for clips in micro_batches[:-1]:
                state.optimizer.backward(_loss(state, batch, clips, seed, parts) * processes.world_size)
        loss = _loss(state, batch, micro_batches[-1], seed, parts)
    with processes.telling():
        # Torch takes the mean over processes, the sum is meant.
        state.optimizer.backward(loss * processes.world_size)
        state.optimizer.step()
        grad_norm = float(state.optimizer.message_hub.get_scalar("train/grad_norm").current())
        totals = processes.total(list(parts.values()))
    scaler = getattr(state.optimizer, "loss_scaler", None)  # which skips a step that overflows, as happens in every run
    if not math.isfinite(grad_norm) and (scaler is None or scaler.get_scale() < _SMALLEST_LOSS_SCALE):
        raise _not_finite("the gradient", batch)
    state.optimizer.zero_grad()
    state.schedule.step()
    state.iteration += 1
    return dict(zip(parts, totals)), grad_norm


def _loss(
    state: TrainingState, batch: GlobalBatch, clips: Sequence[Clip], seed: int, parts: dict[str, float]
) -> Tensor:
    """A micro-batch's share of the loss of the global batch; its terms are added to `parts`."""
    loss, terms = _forward(state, batch, clips, seed)
    values = torch.stack(list(terms.values())).detach().tolist()  # one wait for the GPU instead of thirty
    for name, value in zip(terms, values):
        parts[name] = parts.get(name, 0.0) + value
    if not math.isfinite(parts["loss"]):
        raise _not_finite("the loss", batch)
    return loss


def _forward(
    state: TrainingState, batch: GlobalBatch, clips: Sequence[Clip], seed: int
) -> tuple[Tensor, Mapping[str, Tensor]]:
    key = np.random.SeedSequence((Stream.TORCH, seed, batch.iteration, clips[0].draw.position))
    torch.manual_seed(int(key.generate_state(1, np.uint64)[0]))
    draw_drop_path_for(state.model, [(seed, batch.iteration, clip.draw.position) for clip in clips])
    data = state.model.data_preprocessor(model_inputs(batch, clips, seed), training=True)
    for image, clip in zip(data["inputs"], clips):
        # Padding is zero after normalisation, as the host and the official code pad.
        image[..., clip.draw.size[0] :, :] = 0
        image[..., :, clip.draw.size[1] :] = 0
    with state.optimizer.optim_context(state.model):
        losses = state.forward(**data, mode="loss")
    return state.model.parse_losses(losses)


def _sink_scalars(sink: Sink, progress: Progress, state: TrainingState) -> None:
    rates = state.optimizer.get_lr()
    scalars = {"loss": progress.loss, **progress.loss_parts, "grad_norm": progress.grad_norm}
    scalars["lr"] = rates.get("base_lr", rates["lr"])[0]
    for name, value in scalars.items():
        sink(f"train/{name}", value, progress.iteration)
