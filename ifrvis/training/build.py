"""From a training specification to a model in training, of the host's registries, and from a checkpoint back to it."""

import copy
import ctypes
import functools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from ifrvis.files import sha256_file
from ifrvis.models.deformable import operator_runs
from ifrvis.models.drop_path import replace_drop_path
from ifrvis.models.parameters import parameter_groups
from ifrvis.training.checkpoints import Checkpoint, newest_valid, read_checkpoint
from ifrvis.training.facts import History
from ifrvis.training.processes import Processes, pick_device
from ifrvis.training.weights import NotLoaded, load_initial_weights

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def settle_torch(threads: int, precision: str) -> None:
    """Fix what the numbers of this process depend on beside its inputs: threads, choice of algorithms and rounding.

    On the CPU every operation has a deterministic form; on GPUs bilinear sampling has none, and runs are seeded only. A
    precision of `fp32` means so; under `amp` what stays in float32 may be computed in TF32, as the official code's
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
        found = newest_valid(resume_from, train_sig=train_sig) if processes.rank == 0 else None
    path = processes.from_first(None if found is None else found.path)
    with processes.agreeing():
        if found is None and path is not None and (found := read_checkpoint(path)) is None:
            raise UserError(f"Let every process see {path}: the first goes on from it, another cannot read it.")
        model = build_model(spec["model"], seed=spec["seed"])
        starts_from = init_weights if found is None else None
        not_loaded = NotLoaded() if starts_from is None else load_initial_weights(model, starts_from)
        model.to(processes.device)
        optimizer = build_optimizer(model, spec["optimizer"], precision=spec["precision"])
        schedule = build_schedule(optimizer, spec["schedule"])
        history = History(None if starts_from is None else sha256_file(starts_from))
        state = TrainingState(model, model, optimizer, schedule, 0, not_loaded, history)
        if found is not None:
            state.restore(found)
    state.forward = processes.summing_gradients(model)
    return state
