"""A small split, a thin model's specification, and torch's settings put back after each test."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from ifrvis.datasets.synthetic.making import make_split
from ifrvis.datasets.synthetic.parameters import SyntheticParameters
from ifrvis.datasets.ytvis import Annotations, read_annotations
from ifrvis.harness.spec.compose import compose
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.spec.signatures import train_spec
from ifrvis.training.loop import Trained, train

SIG = "a" * 64
THIN = {
    "model.backbone.depth": 18,
    "model.track_head.in_channels": [8, 16, 32, 64],
    "model.track_head.feat_channels": 16,
    "model.track_head.num_queries": 6,
    "model.track_head.encoder": {"num_layers": 1, "num_heads": 2, "num_points": 2, "feedforward_channels": 16},
    "model.track_head.decoder": {"num_layers": 2, "num_heads": 2, "feedforward_channels": 16},
    "train.pipeline": {"sides": [48, 64], "max_side": 200, "flip": 0.5, "resize": "pillow"},
    "train.sampler": {"num_frames": 2, "frame_range": 3, "redraw_empty": False},
    "train.optimizer.lr": 1e-3,
    "train.optimizer.backbone_lr_mult": 0.5,
    "train.optimizer.clip_grad": 0.1,
    "train.schedule": {"milestones": [4, 9], "gamma": 0.5},
    "train.iterations": 12,
    "train.global_batch": 3,
}
_LAYERS = {"num_layers": 2, "num_heads": 2, "num_points": 2, "feedforward_channels": 16}
_CROP = {"probability": 0.5, "sides": [56, 72], "smallest": 40, "largest": 64}
THIN_SEQFORMER = {
    **THIN,
    "model.track_head.encoder": _LAYERS,
    "model.track_head.decoder": _LAYERS,
    "train.pipeline": {**THIN["train.pipeline"], "crop": _CROP, "truncate": True, "colour": True},
    "train.sampler": {"around": "frames", "num_frames": 3, "frame_range": 2},
}
SWIN = {
    "type": "SwinTransformer",
    "embed_dims": 8,
    "depths": [1, 1, 2, 1],
    "num_heads": [1, 2, 2, 2],
    "window_size": 4,
    "drop_path_rate": 0.5,
    "out_indices": [0, 1, 2, 3],
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
    parameters = SyntheticParameters(seed=1, videos=videos, height=64, width=80, frames=(6, 6), diameter=(16.0, 24.0))
    path = make_split(parameters, "train", folder)
    return SmallSplit(read_annotations(path), folder / "train" / "JPEGImages")


@pytest.fixture
def spec_of() -> Callable[[str], dict[str, Any]]:
    """The specification of a method that trains in a moment: its recipe, but for what makes it thin."""

    def of_method(method: str) -> dict[str, Any]:
        thin = {"thin": THIN_SEQFORMER if method == "seqformer" else THIN}
        composed = compose(method, "r50", "ytvis19", load_profile("smoke"), thin, num_classes=4)
        return train_spec(composed, data="0" * 64, init=None, seed=5).model_dump()

    return of_method


@pytest.fixture
def spec(spec_of: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    return spec_of("mask2former")


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
