"""Trained weights: as they are published and shipped, and as they are loaded to predict.

What is published has half precision and half the bytes. Every run that starts from it starts from these rounded
values, whether they were made here or shipped, so both have one identity.
"""

import io
from pathlib import Path

import torch
from torch import nn

from ifrvis.errors import UserError
from ifrvis.training.build import COMPUTED, read_weights


def packed_weights(model: nn.Module) -> bytes:
    """A model's parameters and buffers as a file of tensors, floating-point ones in half precision."""
    state = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    halved = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    return packed(halved)


def packed(tensors: dict[str, torch.Tensor]) -> bytes:
    """A file of weights: equal ones give equal bytes, since a run's identity holds their hash."""
    stream = io.BytesIO()
    torch.save({"state_dict": tensors}, stream)
    return stream.getvalue()


def load_trained(model: nn.Module, path: Path) -> None:
    """Fill a model with trained weights: a checkpoint of a run, or the weights that one publishes; UserError if the
    file cannot be read, or is of another model: another method, size or number of classes.
    """
    given, own = (_without_computed(each) for each in (read_weights(path), model.state_dict()))
    if given.keys() != own.keys():
        name = min(given.keys() ^ own.keys())
        has, model_has = ("has", "lacks") if name in given else ("lacks", "has")
        raise UserError(
            f"Give weights of this method and backbone, or name theirs with --method and --backbone: {path} {has} "
            f"{name}, which the model {model_has}. Those of another program `ifrvis weights convert --trained` turns."
        )
    other = sorted(name for name, value in given.items() if value.shape != own[name].shape)
    if other and all(name.startswith("track_head.cls_embed.") for name in other):
        raise UserError(
            f"Give weights for the classes of this data set, or name theirs with --dataset: the class head of {path} "
            f"has {len(given[other[0]])} outputs, the model has {len(own[other[0]])}."
        )
    if other:
        shapes = f"{tuple(given[other[0]].shape)}, the model has {tuple(own[other[0]].shape)}"
        raise UserError(f"Give weights of this size, or name their --profile: {path} has {other[0]} of {shapes}.")
    model.load_state_dict(given, strict=False)


def _without_computed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in state.items() if not name.endswith(COMPUTED)}
