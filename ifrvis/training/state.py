"""Everything of a run that changes while it trains, and how it becomes a checkpoint and back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmdet.models.mot import BaseMOTModel
from mmengine.optim import MultiStepLR, OptimWrapper
from torch import nn

from ifrvis.errors import UserError
from ifrvis.files import sha256_file
from ifrvis.training.build import NotLoaded, build_model, build_optimizer, build_schedule, load_initial_weights
from ifrvis.training.checkpoints import Checkpoint, newest_valid, read_checkpoint
from ifrvis.training.processes import Processes

LOSSES = 60  # means of the loss that are kept of a training


@dataclass
class History:
    """What is behind a state, earlier attempts included, beside its numbers."""

    started_from: str | None = None  # SHA-256 of the file of the initial weights; None for a random start
    seconds: float = 0.0  # of the iterations, with waiting for data
    # Sums over equal parts of the training, at most `LOSSES`; the last may be under way.
    losses: list[float] = field(default_factory=list)

    def add(self, iteration: int, iterations: int, loss: float, seconds: float) -> None:
        """Note one more iteration, the `iteration`-th."""
        self.seconds += seconds
        part = (iteration - 1) * min(LOSSES, iterations) // iterations
        self.losses += [0.0] * (part + 1 - len(self.losses))
        self.losses[part] += loss

    def mean_losses(self, iterations: int) -> dict[str, float]:
        """The means of a training that is complete, by the last iteration of each part."""
        parts = min(LOSSES, iterations)
        ends = [-(-part * iterations // parts) for part in range(parts + 1)]
        return {str(end): sums / (end - start) for start, end, sums in zip(ends, ends[1:], self.losses)}


@dataclass
class TrainingState:
    """A model in training.

    There is no state of a random generator in it: every draw comes from (seed, iteration, position).
    """

    model: BaseMOTModel  # on the device that trains
    forward: nn.Module  # what is called to train it; with several processes it sums their gradients
    optimizer: OptimWrapper
    schedule: MultiStepLR
    iteration: int  # how many iterations are behind it
    not_loaded: NotLoaded  # what its initial weights left out
    history: History

    def contents(self, train_sig: str) -> dict[str, Any]:
        """Tensors and plain data, for `checkpoints.save`."""
        # The milestones come from the specification, in a type that is not plain data.
        schedule = {key: value for key, value in self.schedule.state_dict().items() if key != "milestones"}
        return {
            "train_sig": train_sig,
            "model": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "schedule": schedule,
            "not_loaded": vars(self.not_loaded),
            "history": vars(self.history),
            "parameters": sum(each.numel() for each in self.model.parameters()),
        }

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint of the same training; UserError if the checkpoint does not fit; then the program has
        changed since it was written.
        """
        state = checkpoint.state
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            self.not_loaded = NotLoaded(**state["not_loaded"])
            self.history = History(**state["history"])
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise UserError(
                f"Remove {checkpoint.path.parent} to start this run again, or go back to the version of the program "
                f"that wrote it: the checkpoint does not fit the model ({str(error).splitlines()[0]})."
            ) from error
        self.iteration = checkpoint.iteration


def start_or_resume(
    spec: Mapping[str, Any],
    *,
    train_sig: str,
    init_weights: Path | None,
    resume_from: Sequence[Path],
    processes: Processes,
) -> TrainingState:
    """The newest checkpoint in the folders `resume_from`, else a fresh start from the initial weights; UserError if
    weights or checkpoints cannot be used, here or by another process.
    """
    with processes.agreeing():
        checkpoint = newest_valid(resume_from, train_sig=train_sig) if processes.rank == 0 else None
    path = processes.from_first(None if checkpoint is None else checkpoint.path)
    with processes.agreeing():
        if checkpoint is None and path is not None and (checkpoint := read_checkpoint(path)) is None:
            raise UserError(f"Let every process see {path}: the first goes on from it, another cannot read it.")
        state = _started(spec, init_weights, checkpoint, processes.device)
    state.forward = processes.summing_gradients(state.model)
    return state


def _started(
    spec: Mapping[str, Any], init_weights: Path | None, checkpoint: Checkpoint | None, device: torch.device
) -> TrainingState:
    model = build_model(spec["model"], seed=spec["seed"])
    starts_from = init_weights if checkpoint is None else None
    not_loaded = NotLoaded() if starts_from is None else load_initial_weights(model, starts_from)
    model.to(device)
    optimizer = build_optimizer(model, spec["optimizer"], precision=spec["precision"])
    schedule = build_schedule(optimizer, spec["schedule"])
    history = History(None if starts_from is None else sha256_file(starts_from))
    state = TrainingState(model, model, optimizer, schedule, 0, not_loaded, history)
    if checkpoint is not None:
        state.restore(checkpoint)
    return state
