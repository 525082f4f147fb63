"""Every method at the paper's size on a pretended GPU: nothing is left on another device, whatever is asked for."""

import numpy as np
import pytest
import torch
from inference.conftest import ArrayVideo
from models.conftest import pack
from pretended_gpu import CUDA, OnGpu, pretended_gpu

from ifrvis.harness.spec.compose import compose
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.inference.modes import predict_video
from ifrvis.models import targets
from ifrvis.training.build import build_model

SIZE = (480, 864)
WHOLE = {"mode": "whole", "side": 480, "max_side": 1333, "resize": "pillow", "topk": 10, "tta": None}
CLIPS = {**WHOLE, "mode": "clips", "clip_frames": 5, "stride": 1, "min_class_score": -1.0, "min_overlap": 0.05}
MODES = {"whole": WHOLE, "clips": CLIPS, "tta": {**WHOLE, "tta": [360], "flip": True}}


@pytest.fixture
def model(method, backbone, monkeypatch):
    """The recipe's model; on the GPU once it is asked for under the pretence."""
    monkeypatch.setattr(targets, "Generator", lambda device: draws(device))
    return build_model(compose(method, backbone, "ytvis19", load_profile("paper"), num_classes=40).model, seed=0)


def draws(device):
    assert device == CUDA, "points are drawn where they are used"
    return torch.Generator()


def test_what_is_on_the_cpu_beside_the_gpu_is_found():
    with pretended_gpu():
        on_gpu = torch.zeros(3, device="cuda")
        with pytest.raises(AssertionError, match="of the GPU and of the CPU"):
            on_gpu + torch.zeros(3)


@pytest.mark.parametrize(
    ("method", "backbone"), [("mask2former", "r50"), ("ours", "r50"), ("ours", "swin-l"), ("seqformer", "r50")]
)
def test_losses_and_gradients_of_every_weight(model):
    masks = np.zeros((5, 2, *SIZE), np.uint8)
    for m in range(5):
        masks[m, m > 0 :, 40 * m : 200, 90 * m : 300] = 1  # one is absent from a frame
    clips = [pack(masks[: 5 * b], np.arange(5 * b), draw_key=(0, 0, b)) for b in (1, 0)]  # and one clip is empty
    with pretended_gpu():
        model.to("cuda").train()
        inputs = [torch.randint(0, 256, (2, 3, *SIZE), dtype=torch.uint8) for _ in clips]
        data = model.data_preprocessor({"inputs": inputs, "data_samples": clips}, training=True)
        loss, _ = model.parse_losses(model(**data, mode="loss"))
        loss.backward()
        trained = {name: each.grad for name, each in model.named_parameters() if each.requires_grad}
        assert [name for name, gradient in trained.items() if not isinstance(gradient, OnGpu)] == []


@pytest.mark.filterwarnings("ignore:CUDA is not available:UserWarning")  # autocast is not pretended
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("method", "backbone"), [("mask2former", "r50"), ("ours", "r50"), ("seqformer", "r50")])
def test_every_mode_of_inference(model, mode):
    video = ArrayVideo(np.zeros((6, *SIZE, 3), np.uint8))
    with pretended_gpu(), torch.no_grad():  # views of a subclass cannot be made in its own inference mode
        found = predict_video.__wrapped__(model.to("cuda"), video, MODES[mode], range(1, 41))
    assert len(found.by_class) == 10
    assert all(len(masks) == 6 for masks in found.masks.values())
