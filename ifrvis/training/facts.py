"""What a record says of a training, kept in its checkpoints: whichever attempt trained, another may score."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ifrvis.training.checkpoints import newest_valid
from ifrvis.training.convert import why_random

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


def facts_of(folders: Iterable[Path], *, train_sig: str, iterations: int) -> dict[str, Any]:
    """Fields of a record, by their names, from the checkpoint folders of all attempts, oldest first; empty without."""
    checkpoint = newest_valid(folders, train_sig=train_sig)
    if checkpoint is None:
        return {}
    state, history = checkpoint.state, History(**checkpoint.state["history"])
    left = state["not_loaded"]
    random = why_random([*left["missing"], *left["mismatched"]])
    return {
        "started_from": history.started_from,
        "final_weights": weights_digest(state["model"]),
        "not_loaded": {
            **{kind: len(names) for kind, names in left.items()},
            "reasons": {reason: len(names) for reason, names in random.items()},
        },
        "cost": {"parameters": state["parameters"], "training_seconds": round(history.seconds, 3)},
        "loss": history.mean_losses(iterations),
    }


def weights_digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes of tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
