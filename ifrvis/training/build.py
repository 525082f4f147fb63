"""From a training specification to a model, its optimizer and its schedule, all of the host's registries."""

import copy
import ctypes
import functools
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import torch
from mmdet.models.mot import BaseMOTModel
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.logging import MMLogger
from mmengine.optim import AmpOptimWrapper, MultiStepLR, OptimWrapper
from mmengine.registry import init_default_scope
from torch import distributed, nn
from torch.utils.checkpoint import checkpoint

import ifrvis.models  # noqa: F401  registers the method
from ifrvis.errors import UserError
from ifrvis.files import MAX_WEIGHTS_BYTES
from ifrvis.models.deformable import operator_runs
from ifrvis.models.drop_path import replace_drop_path
from ifrvis.models.parameters import parameter_groups
from ifrvis.training.checkpoints import is_plain, load_plain

HOST_PREFIX = ("panoptic_head.", "track_head.")  # of image checkpoints, and what the video model calls it
NEVER_LOADED = ("track_head.cls_embed.",)  # its classes are others, even where their number happens to fit
OF_DETECTORS = ("neck.", "rpn_head.", "roi_head.", "roi_heads.", "bbox_head.", "proposal_generator.")
CONVERTED = re.compile("imagenet_|(mask2former|seqformer)_.*_coco")  # as `ifrvis weights convert` names images' weights
CLASS_HEAD = re.compile(r"track_head\.cls_embed\.(0\.)?weight")
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
COMPUTED = (".relative_position_index", ".num_batches_tracked")  # not weights: the same in every model, or unused


@dataclass(frozen=True)
class NotLoaded:
    """What initial weights left out."""

    missing: list[str] = field(default_factory=list)  # parameters of the model that keep their random start
    unexpected: list[str] = field(default_factory=list)  # entries of the file that the model has no use for
    # Parameters whose shape differs from the file's; they keep their random start too.
    mismatched: list[str] = field(default_factory=list)


def pick_device() -> torch.device:
    """The first GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def settle_torch(threads: int, precision: str) -> None:
    """Fix what the numbers of this process depend on beside its inputs: threads, choice of algorithms and rounding.

    On the CPU every operation has a deterministic form; on GPUs bilinear sampling has none, and runs are seeded only.

    Args:
        threads: Of this process.
        precision: `fp32` means so; under `amp` what stays in float32 may be computed in TF32, as the official code's
            torch did by default.
    """
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "amp"
    cv2.setNumThreads(0)
    torch.use_deterministic_algorithms(pick_device().type == "cpu")
    # Nothing here reads memory that it has not written, and filling it costs time. (Torch hides the name from mypy.)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    # Freed memory serves the next step, where glibc allocates: the kernel would clear what it gives out anew.
    if pick_device().type == "cpu" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        for option in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
            mallopt(option, 1 << 30)


def gpu_facts(names: Sequence[str]) -> dict[str, Any]:
    """What a record says of the GPUs that train, given their names."""
    cudnn = torch.backends.cudnn.version()
    return {
        "gpus": tuple(names),
        "cuda": torch.version.cuda,
        "cudnn": cudnn and str(cudnn),
        "nccl": ".".join(map(str, torch.cuda.nccl.version())) if distributed.is_nccl_available() else None,
        "tf32": torch.backends.cuda.matmul.allow_tf32,
        "attention": operator_runs(torch.device("cuda")),
    }


def build_model(config: Mapping[str, Any], *, seed: int) -> BaseMOTModel:
    """The model with its random start, which depends on `config` and `seed` alone."""
    init_default_scope("mmdet")
    # Else every parameter's initialisation is printed, and that the model starts from no weights, which come later.
    MMLogger.get_current_instance().setLevel(logging.ERROR)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = MODELS.build(ConfigDict(copy.deepcopy(dict(config))))
        model.init_weights()
    replace_drop_path(model)
    return model


def recompute_blocks(backbone: nn.Module) -> None:
    """Keep of each block its input alone, and compute the rest again in the backward pass, to the same numbers.

    The host's own `with_cp` passes over blocks whose input needs no gradient, and cannot be used with several processes
    that look for weights without a gradient. Nothing in a block draws but drop path, which draws alike again.
    """
    for block in backbone.modules():
        if hasattr(block, "with_cp") and block is not backbone:
            block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)


def load_initial_weights(model: nn.Module, path: Path) -> NotLoaded:
    """Copy what fits from a checkpoint of an image-level or video model; the class head always stays random. UserError
    if the file is missing, holds anything but tensors and plain data, or nothing that fits.
    """
    held = read_weights(path)
    _check_start(held, path)
    given = {key.replace(*HOST_PREFIX): value for key, value in held.items()}
    own = model.state_dict()
    known = {key: value for key, value in given.items() if key in own and not key.startswith(NEVER_LOADED)}
    fitting = {key: value for key, value in known.items() if value.shape == own[key].shape}
    if not fitting:
        raise UserError(f"Choose other initial weights than {path}: nothing in it has a name and shape of this model.")
    for key, value in fitting.items():
        if not is_plain(value):
            raise UserError(f"Replace {path}: {key} is not a dense tensor of finite real numbers.")
    model.load_state_dict(fitting, strict=False)
    return NotLoaded(
        missing=sorted(name for name in own.keys() - known.keys() if not name.endswith(COMPUTED)),
        unexpected=sorted(given.keys() - known.keys()),
        mismatched=sorted(known.keys() - fitting.keys()),
    )


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


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file of weights or of a checkpoint, by name; UserError if it holds more, or is missing."""
    return weights_and_rest(path)[0]


def weights_and_rest(path: Path) -> tuple[dict[str, torch.Tensor], Any]:
    """The same, and the whole content that they are a part of."""
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
    return content, whole


def build_optimizer(model: nn.Module, config: Mapping[str, Any], *, precision: str) -> OptimWrapper:
    """AdamW in MMEngine's wrapper, measuring the gradient where `clip_grad` is None; UserError if amp lacks its GPU."""
    if precision == "amp" and pick_device().type == "cpu":
        raise UserError("Set train.precision=fp32, or run where a GPU is: amp needs one, and none is visible here.")
    rules = {key: config[key] for key in config if key not in ("betas", "eps", "clip_grad")}
    groups = parameter_groups(model, **rules)
    # Fused: one pass over the weights in a quarter of the time of a loop over three hundred of them.
    adamw = torch.optim.AdamW(groups, lr=config["lr"], betas=tuple(config["betas"]), eps=config["eps"], fused=True)
    max_norm = float("inf") if config["clip_grad"] is None else config["clip_grad"]
    wrapper = AmpOptimWrapper if precision == "amp" else OptimWrapper
    return wrapper(optimizer=adamw, clip_grad={"max_norm": max_norm, "norm_type": 2})


def build_schedule(optimizer: OptimWrapper, config: Mapping[str, Any]) -> MultiStepLR:
    """Learning rates that fall by `gamma` after each of `milestones` iterations."""
    return MultiStepLR(optimizer, milestones=config["milestones"], gamma=config["gamma"], by_epoch=False)
