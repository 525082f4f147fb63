"""What a record says of a training, read from its last checkpoint: whichever attempt trained, another may score."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ifrvis.training.checkpoints import newest_valid
from ifrvis.training.convert import why_random
from ifrvis.training.state import History


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
