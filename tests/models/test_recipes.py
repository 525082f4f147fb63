import copy

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner

from ifrvis.harness.spec.compose import compose
from ifrvis.harness.spec.profiles import load_profile

BACKBONES = ("r50", "r101", "swin-t", "swin-s", "swin-b", "swin-l")


@pytest.mark.parametrize(("schedule", "iterations", "milestone"), [("ytvis19", 6000, 4000), ("ytvis21", 8000, 5500)])
def test_a_merged_recipe_has_the_official_numbers(recipe, schedule, iterations, milestone):
    merged = recipe("mask2former", "swin-l", schedule)
    train = merged["train"]
    assert set(merged) == {"model", "train", "inference"}
    assert (train["iterations"], train["schedule"]) == (iterations, {"milestones": [milestone], "gamma": 0.1})
    assert train["pipeline"] == {"sides": [360, 480], "max_side": 1333, "flip": 0.5, "resize": "pillow"}
    assert train["sampler"] == {"num_frames": 2, "frame_range": 20, "redraw_empty": False}
    assert (train["global_batch"], train["precision"], train["threads"]) == (16, "amp", 1)
    assert train["init"] == "mask2former_swin-l_coco_instance"
    expected = {"mode": "whole", "side": 480, "max_side": 1333, "resize": "pillow", "topk": 10}
    assert expected.items() <= merged["inference"].items()


class Clips(torch.utils.data.Dataset):
    """Two clips as a host's data set yields them."""

    def __init__(self, clips):
        self.clips = clips

    def __len__(self):
        return len(self.clips)

    def __getitem__(self, index):
        images = torch.randint(0, 256, (2, 3, 32, 64), dtype=torch.uint8)
        return {"inputs": images, "data_samples": copy.deepcopy(self.clips[index])}


@pytest.mark.parametrize("method", ["mask2former", "ours"])
def test_it_trains_under_the_hosts_runner(thin, make_clip, tmp_path, method):
    clips = Clips([make_clip([[1, 1]]), make_clip([[1, 0], [1, 1]])])
    loader = torch.utils.data.DataLoader(clips, batch_size=2, collate_fn=pseudo_collate)
    runner = Runner(
        model=thin(method),
        work_dir=str(tmp_path),
        train_dataloader=loader,
        train_cfg={"type": "IterBasedTrainLoop", "max_iters": 2},
        optim_wrapper={
            "constructor": "ParameterRuleConstructor",
            "optimizer": {"type": "AdamW", "lr": 1e-4, "weight_decay": 0.05},
            "paramwise_cfg": {"backbone_lr_mult": 0.1},
            "clip_grad": {"max_norm": 0.01},
        },
        default_scope="mmdet",
        default_hooks={"checkpoint": None},
        experiment_name=f"{tmp_path.name}-{method}",
    )
    before = copy.deepcopy(runner.model.state_dict())
    model = runner.train()
    moved = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    assert any("transformer_decoder" in name for name in moved)
    assert any("backbone" in name for name in moved)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_our_method_adds_the_same_to_every_backbone(full_model, backbone):
    """Two attentions, an FFN and three norms in each of nine layers; the class head loses no-object."""
    baseline, ours = (sum(p.numel() for p in full_model(m, backbone).parameters()) for m in ("mask2former", "ours"))
    width, hidden = 256, 2048
    attention, ffn, norms = 4 * (width * width + width), 2 * width * hidden + width + hidden, 3 * 2 * width
    assert ours - baseline == 9 * (2 * attention + ffn + norms) - (width + 1)
    print(f"{backbone}: Mask2Former {baseline / 1e6:.1f} M parameters, ours {ours / 1e6:.1f} M")


@pytest.mark.parametrize("profile", ["mini", "smoke"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_thin_version_can_be_built(cpu_linspace, profile, backbone):
    for method in ("mask2former", "ours"):
        composed = compose(method, backbone, "ytvis19", load_profile(profile), num_classes=3)
        with torch.device("meta"):
            model = MODELS.build(composed.model)
        assert sum(p.numel() for p in model.parameters()) < 15e6
