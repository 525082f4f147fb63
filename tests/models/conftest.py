"""Thin models built from the packaged recipes, and clips of rectangles packed as the host packs them."""

import copy
import functools
import logging
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample, TrackDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

import ifrvis.models  # noqa: F401
from ifrvis.models.decoding import FrameFeatures

THIN = {
    "feat_channels": 16,
    "num_queries": 6,
    "encoder": {"num_layers": 1, "num_heads": 2, "num_points": 2, "feedforward_channels": 16},
    "decoder": {"num_layers": 4, "num_heads": 2, "feedforward_channels": 16},
    "num_points": 64,
    "num_classes": 3,
}
_LAYERS = {"num_heads": 2, "num_points": 2, "feedforward_channels": 16}
THIN_SEQFORMER = {
    "feat_channels": 16,
    "num_queries": 6,
    "mask_channels": 4,
    "encoder": {"num_layers": 1, **_LAYERS},
    "decoder": {"num_layers": 3, **_LAYERS},
    "num_classes": 3,
}
THIN_BACKBONES = {
    "r50": ({"base_channels": 4, "stem_channels": 4, "norm_cfg": {"type": "GN", "num_groups": 2}}, [16, 32, 64, 128]),
    "swin-t": ({"embed_dims": 8, "num_heads": [1, 1, 2, 2]}, [8, 16, 32, 64]),
}


def merged_recipe(method, backbone="r50", schedule="ytvis19"):
    """The merge of a recipe's three files, with the host's own merge."""
    root = Path(str(files("ifrvis"))) / "configs"
    names = (("methods", method), ("backbones", backbone), ("schedules", schedule))
    merged = Config()
    for kind, name in names:
        merged.merge_from_dict(Config.fromfile(root / kind / f"{name}.py").to_dict())
    changes = merged.to_dict().get("changes", {})
    for kind, name in names[1:]:
        merged.merge_from_dict(changes.get(kind, {}).get(name, {}))
    return {key: value for key, value in merged.to_dict().items() if key != "changes"}


def thin_config(method, backbone="r50", **head):
    config = copy.deepcopy(merged_recipe(method, backbone)["model"])
    thin, in_channels = THIN_BACKBONES[backbone]
    config["backbone"].update(copy.deepcopy(thin))
    thin_head = THIN_SEQFORMER if method == "seqformer" else THIN
    config["track_head"].update(copy.deepcopy(thin_head), in_channels=in_channels, **head)
    return config


@pytest.fixture(autouse=True, scope="session")
def _host():
    init_default_scope("mmdet")
    logging.disable(logging.INFO)


@pytest.fixture
def recipe():
    return merged_recipe


@pytest.fixture
def thin():
    return thin_config


@pytest.fixture
def build():
    """A thin model of a packaged recipe, the same weights for the same arguments."""

    def build_thin(method, backbone="r50", *, seed=0, **head):
        torch.manual_seed(seed)
        model = MODELS.build(thin_config(method, backbone, **head))
        model.init_weights()
        return model

    return build_thin


@pytest.fixture
def make_head():
    """A head with every parameter random, biases and norms too, and the source of its draws."""

    def make(seed=0, dtype=torch.float64, method="ours", **head):
        torch.manual_seed(seed)
        config = thin_config(method, **head)["track_head"]
        draws = torch.Generator().manual_seed(seed)
        head = MODELS.build(config).to(dtype)
        with torch.no_grad():
            for parameter in head.parameters():
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=draws).to(parameter))
        return head, draws

    return make


@pytest.fixture
def cpu_linspace(monkeypatch):
    """Swin reads values of `torch.linspace` while it is built, which the meta device has not."""
    monkeypatch.setattr(torch, "linspace", functools.partial(torch.linspace, device="cpu"))


@pytest.fixture
def full_model(cpu_linspace):
    """A model of a packaged recipe at full size, without memory for its weights."""

    def build_full(method, backbone, **head):
        config = merged_recipe(method, backbone)["model"]
        config["track_head"].update(head)
        with torch.device("meta"):
            return MODELS.build(config)

    return build_full


@pytest.fixture
def make_clip(rng):
    """A clip of rectangles; `shown[m][t]` says whether instance m is in frame t."""

    def make(shown, *, size=(32, 64), labels=None, **meta):
        num_frames = len(shown[0]) if shown else 2
        masks = np.zeros((len(shown), num_frames, *size), np.uint8)
        for m, frames in enumerate(shown):
            for t in np.flatnonzero(frames):
                top, left = (int(rng.integers(0, extent // 2)) for extent in size)
                masks[m, t, top : top + size[0] // 2, left : left + size[1] // 3] = 1
        labels = np.arange(len(shown)) % 3 if labels is None else np.array(labels)
        return pack(masks, labels, video="v", **meta)

    return make


def features(model, num_frames, seed=0, size=(32, 64)):
    """The backbone's features of random frames."""
    frames = torch.randn(num_frames, 3, *size, generator=torch.Generator().manual_seed(seed))
    return model.backbone(frames)


def pack(masks, labels, **meta):
    """Masks (M, T, H, W) and labels (M,) as one TrackDataSample."""
    size = masks.shape[2:]
    shapes = {"img_shape": size, "ori_shape": (2 * size[0], 2 * size[1]), "batch_input_shape": size}
    frames = []
    for t in range(masks.shape[1]):
        rows = np.flatnonzero(masks[:, t].any((1, 2)))
        frame = DetDataSample(metainfo={**shapes, **meta, "frame_id": t})
        frame.gt_instances = InstanceData(
            labels=torch.from_numpy(labels[rows]),
            masks=BitmapMasks(masks[rows, t], *size),
            instances_ids=torch.from_numpy(rows + 5),
        )
        frames.append(frame)
    sample = TrackDataSample()
    sample.video_data_samples = frames
    return sample


def make_frames(draws, num_frames, width, size=(2, 3), dtype=torch.float64):
    """Pixel decoder features of random content; `size` is that of the coarsest level."""

    def randn(stride):
        return torch.randn(num_frames, width, *(s * stride for s in size), generator=draws, dtype=dtype)

    return FrameFeatures(randn(8), [randn(1), randn(2), randn(4)])


def with_meta(clip, **meta):
    clip = copy.deepcopy(clip)
    for frame in clip.video_data_samples:
        frame.set_metainfo(meta)
    return clip


def total(losses):
    return torch.stack(list(losses.values())).sum()
