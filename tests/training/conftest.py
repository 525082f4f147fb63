"""A small split, a thin model's specification, and torch's settings put back after each test."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from ifrvis.datasets.synthetic import SyntheticParameters, make_split
from ifrvis.datasets.ytvis import Annotations, read_annotations
from ifrvis.training.loop import Trained, train

SIG = "a" * 64
MODEL = {
    "type": "Mask2FormerVideo",
    "data_preprocessor": {
        "type": "TrackDataPreprocessor",
        "mean": [123.675, 116.28, 103.53],
        "std": [58.395, 57.12, 57.375],
        "bgr_to_rgb": True,
        "pad_mask": True,
        "pad_size_divisor": 32,
    },
    "backbone": {
        "type": "ResNet",
        "depth": 18,
        "base_channels": 8,
        "stem_channels": 8,
        "num_stages": 4,
        "out_indices": [0, 1, 2, 3],
        "norm_cfg": {"type": "GN", "num_groups": 4},
        "norm_eval": False,
    },
    "track_head": {
        "type": "Mask2FormerVISHead",
        "in_channels": [8, 16, 32, 64],
        "num_classes": 4,
        "feat_channels": 16,
        "num_queries": 6,
        "encoder": {"num_layers": 1, "num_heads": 2, "num_points": 2, "feedforward_channels": 16},
        "decoder": {"num_layers": 2, "num_heads": 2, "feedforward_channels": 16},
        "loss_weights": {"cls": 2.0, "mask": 5.0, "dice": 5.0},
        "num_points": 64,
    },
}
SPEC = {
    "model": MODEL,
    "pipeline": {"sides": [48, 64], "max_side": 200, "flip": 0.5},
    "sampler": {"num_frames": 2, "frame_range": 3},
    "optimizer": {
        "lr": 1e-3,
        "weight_decay": 0.05,
        "betas": [0.9, 0.999],
        "eps": 1e-8,
        "backbone_lr_mult": 0.5,
        "clip_grad": 0.1,
    },
    "schedule": {"milestones": [4, 9], "gamma": 0.5},
    "iterations": 12,
    "global_batch": 3,
    "precision": "fp32",
    "threads": 1,
    "seed": 5,
    "init": None,
    "data": "0" * 64,
}


@dataclass(frozen=True)
class SmallSplit:
    """Four videos of six frames."""

    annotations: Annotations
    frames_root: Path


@pytest.fixture(scope="session")
def split(tmp_path_factory: pytest.TempPathFactory) -> SmallSplit:
    folder = tmp_path_factory.mktemp("set")
    videos = {"pretrain": 0, "train": 4, "dev": 0, "test": 0}
    parameters = SyntheticParameters(1, videos, height=64, width=80, frames=6, diameter=(16.0, 24.0))
    path = make_split(parameters, "train", folder)
    return SmallSplit(read_annotations(path), folder / "train" / "JPEGImages")


@pytest.fixture
def spec() -> dict[str, Any]:
    return copy.deepcopy(SPEC)


@pytest.fixture
def run(split: SmallSplit, tmp_path: Path) -> Callable[..., Trained]:
    """Train on the small split; keywords as for `train`."""

    def trained(spec: dict[str, Any], **given: Any) -> Trained:
        settings = {"train_sig": SIG, "folder": tmp_path / "checkpoints", **vars(split)}
        return train(spec, **(settings | given))

    return trained


@pytest.fixture(autouse=True)
def settings_put_back() -> Iterator[None]:
    threads = torch.get_num_threads()
    fill = torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = fill
