"""Weights as they are published, loaded to start from, and loaded to predict.

What is published has half precision and half the bytes. Every run that starts from it starts from these rounded
values, whether they were made here or shipped, so both have one identity.
"""

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ifrvis.errors import UserError
from ifrvis.files import MAX_WEIGHTS_BYTES
from ifrvis.training.checkpoints import is_plain, load_plain, single_number
from ifrvis.training.renames import of_image_model

NEVER_LOADED = ("track_head.cls_embed.",)  # its classes are others, even where their number happens to fit
OF_DETECTORS = ("neck.", "rpn_head.", "roi_head.", "roi_heads.", "bbox_head.", "proposal_generator.")
CONVERTED = re.compile("imagenet_|(mask2former|seqformer)_.*_coco")  # as `ifrvis weights convert` names images' weights
CLASS_HEAD = re.compile(r"track_head\.cls_embed\.(0\.)?weight")
COMPUTED = (".relative_position_index", ".num_batches_tracked")  # not weights: the same in every model, or unused


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


@dataclass(frozen=True)
class NotLoaded:
    """What initial weights left out."""

    missing: list[str] = field(default_factory=list)  # parameters of the model that keep their random start
    unexpected: list[str] = field(default_factory=list)  # entries of the file that the model has no use for
    # Parameters whose shape differs from the file's; they keep their random start too.
    mismatched: list[str] = field(default_factory=list)


def load_initial_weights(model: nn.Module, path: Path) -> NotLoaded:
    """Copy what fits from a checkpoint of an image-level or video model; the class head always stays random. UserError
    if the file is missing, holds anything but tensors and plain data, nothing that fits, or a backbone of which less
    than half does.
    """
    held, _ = read_weights(path)
    _check_start(held, path)
    given = {of_image_model(key): value for key, value in held.items()}
    own = model.state_dict()
    known = {key: value for key, value in given.items() if key in own and not key.startswith(NEVER_LOADED)}
    fitting = {key: value for key, value in known.items() if value.shape == own[key].shape}
    _check_plain(fitting, path)
    backbone = {key for key in own if key.startswith("backbone.")}
    brings_one = any(key.startswith("backbone.") for key in given)
    if not fitting or (brings_one and 2 * len(fitting.keys() & backbone) < len(backbone)):  # norms fit many a model
        raise UserError(
            f"Choose other initial weights than {path}, or turn them with `ifrvis weights convert`: of the "
            f"{len(own)} weights of this model it has {len(fitting)} under their names and in their shapes."
        )
    model.load_state_dict(fitting, strict=False)
    return NotLoaded(
        missing=sorted(name for name in own.keys() - known.keys() if not name.endswith(COMPUTED)),
        unexpected=sorted(given.keys() - known.keys()),
        mismatched=sorted(known.keys() - fitting.keys()),
    )


def _check_plain(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    if bad := next((name for name, value in tensors.items() if not is_plain(value)), None):
        raise UserError(f"Replace {path}: {bad} is not a dense tensor of finite real numbers.")


def _check_start(given: Mapping[str, Any], path: Path) -> None:
    """Refuse what is no start, or is not what its file's name says: what `ifrvis weights convert` makes has no class
    head, and what an image model of the host has is called otherwise.
    """
    if other := next((name for name in given if name.startswith(OF_DETECTORS)), None):
        raise UserError(f"Choose other initial weights than {path}: {other} in it is a detector's.")
    classes = next((len(value) for name, value in given.items() if CLASS_HEAD.fullmatch(name)), None)
    if classes is not None and CONVERTED.match(path.name):
        raise UserError(
            f"Rename {path}, or choose other initial weights: it is a video model with a class head of {classes} "
            "outputs, not what its name says."
        )


def read_weights(path: Path) -> tuple[dict[str, torch.Tensor], Any]:
    """The tensors of a file of weights or of a checkpoint, by name, and the whole content that they are a part of;
    UserError if they are more than tensors, or the file is missing.
    """
    try:
        content = whole = load_plain(path, MAX_WEIGHTS_BYTES)
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(
            f"Replace {path}, or turn it into plain tensors with `ifrvis weights convert`: it cannot be read, is cut "
            f"short, or holds more than tensors and plain data ({error})."
        ) from error
    for key in ("state_dict", "model"):
        content = content.get(key, content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise UserError(f"Replace {path}: expected a mapping of parameter names to tensors, as `torch.save` writes it.")
    if bad := single_number(content):
        raise UserError(f"Replace {path}: {bad} in it is a single number, not the weights of a layer.")
    return content, whole


def load_trained(model: nn.Module, path: Path) -> None:
    """Fill a model with trained weights: a checkpoint of a run, or the weights that one publishes; UserError if the
    file cannot be read, or is of another model: another method, size or number of classes.
    """
    given, own = (
        {name: value for name, value in tensors.items() if not name.endswith(COMPUTED)}
        for tensors in (read_weights(path)[0], model.state_dict())
    )
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
    _check_plain(given, path)
    model.load_state_dict(given, strict=False)
