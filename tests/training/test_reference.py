"""Converted weights against other programs' models: what these compute, the host computes with what `convert` writes.

The other programs live in an environment of their own, named by IFRVIS_REFERENCE_PYTHON (`.ci/run` makes it).
"""

import os
import subprocess
from pathlib import Path

import pytest
import torch

from ifrvis.harness.spec.compose import compose
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.training.build import build_model
from ifrvis.training.convert import convert, model_shapes
from ifrvis.training.foreign import read_foreign
from ifrvis.training.weights import load_initial_weights

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).parent / "reference" / "models.py"
THIN = {
    "feat_channels": 32,
    "num_queries": 7,
    "encoder": {"num_layers": 2, "num_heads": 4, "num_points": 4, "feedforward_channels": 64},
    "decoder": {"num_layers": 3, "num_heads": 4, "feedforward_channels": 48},
    "in_channels": [16, 32, 64, 128],
}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    python = os.environ.get("IFRVIS_REFERENCE_PYTHON")
    if not python:
        pytest.skip("IFRVIS_REFERENCE_PYTHON is not set: no Python with transformers, timm and torchvision here")
    folder = tmp_path_factory.mktemp("reference")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    subprocess.run([python, SCRIPT, folder], check=True, env=environment)
    return folder


def config(backbone):
    """Mask2Former-VIS with a thin Swin of 2 blocks a stage, or the full ResNet."""
    model = compose("mask2former", backbone, "ytvis19", load_profile("paper"), num_classes=3).model
    if backbone == "swin-t":
        model["backbone"].update(embed_dims=16, depths=[2, 2, 2, 2], num_heads=[1, 2, 2, 4])
        model["track_head"].update(THIN, key_positions="2d")  # one frame, without a code of its time: an image
    return model


def converted(source, tmp_path, backbone):
    """A model that starts from the converted weights, and what it starts at random."""
    out = tmp_path / "w.pth"
    report = convert(source, out, shapes=lambda _: model_shapes(config(backbone)), backbone=backbone)
    model = build_model(config(backbone), seed=1)
    not_loaded = load_initial_weights(model, out)
    assert sorted(name for names in report.random.values() for name in names) == not_loaded.missing
    assert not not_loaded.unexpected
    return model.eval(), report


def assert_agree(ours, theirs):
    for mine, other in zip(ours, theirs, strict=True):
        assert other.std() > 0.01
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_mask2former_agrees_with_transformers(reference, tmp_path):
    model, report = converted(reference / "mask2former.pkl", tmp_path, "swin-t")
    expected = torch.load(reference / "mask2former.expected.pth", weights_only=True)
    assert report.name == "mask2former_swin-t_coco_instance"
    assert list(report.random) == ["class head: its classes are others"]
    features = model.backbone(expected["images"])
    assert_agree(features, expected["backbone"])
    frames = model.track_head.encode_frames(expected["backbone"])
    assert_agree([frames.mask_features, *frames.memories], [expected["mask_features"], *expected["memories"]])
    last = model.track_head.decode_layers(frames, 1)[-1]
    masks = torch.einsum("btnc,btchw->btnhw", last.mask_embeds, frames.mask_features[None])
    assert_agree([masks[:, 0]], [expected["mask_logits"]])
    head = torch.nn.Linear(32, 81)  # the class head is never loaded: put it there by hand
    source = read_foreign(reference / "mask2former.pkl")
    head.weight.copy_(source["sem_seg_head.predictor.class_embed.weight"])
    head.bias.copy_(source["sem_seg_head.predictor.class_embed.bias"])
    model.track_head.cls_embed = head
    assert_agree([model.track_head.decode_layers(frames, 1)[-1].cls_logits], [expected["class_logits"]])


@pytest.mark.parametrize(
    ("case", "ending", "backbone"),
    [
        ("swin-timm", "pth", "swin-t"),
        ("swin-torchvision", "pth", "swin-t"),
        ("resnet-torchvision", "pth", "r50"),
        ("resnet-detectron2", "pkl", "r50"),
    ],
)
@torch.no_grad()
def test_backbones_agree_with_their_programs(reference, tmp_path, case, ending, backbone):
    model, _ = converted(reference / f"{case}.{ending}", tmp_path, backbone)
    expected = torch.load(reference / f"{case}.expected.pth", weights_only=True)
    assert_agree(model.backbone(expected["images"]), expected["backbone"])
