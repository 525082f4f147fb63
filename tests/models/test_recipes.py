"""Every row of Tables 1 to 3 and Figure 4 as it is composed: size, optimizer's rule, official numbers, a thin step."""

import copy
import functools
import json
import re

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner

from ifrvis.files import canonical_json
from ifrvis.harness.spec.compose import compose_row
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.spec.tables import load_tables
from ifrvis.models.parameters import parameter_rules
from ifrvis.training.build import build_optimizer

TABLES = load_tables(["table1", "table2", "table3", "figure4"], load_profile("paper"))
ROWS = {f"{table.name}/{row.id}": row for table in TABLES for row in table.rows}
OURS_OR_BASELINE = [name for name, row in ROWS.items() if row.method in ("mask2former", "ours")]
# Millions of parameters of Mask2Former on COCO, as its paper prints them (Table 1); Swin-L there has 200 queries.
PUBLISHED = {"r50": 44, "r101": 63, "swin-t": 47, "swin-s": 69, "swin-b": 107, "swin-l": 216}
# Of the backbones alone, without the classifier: ResNets as torchvision counts them (25.6 and 44.5 with it), Swins as
# their paper does in Table 1 (28, 50, 88 and 197 with it).
BACKBONES = {"r50": 23.5, "r101": 42.5, "swin-t": 27.5, "swin-s": 48.8, "swin-b": 86.9, "swin-l": 195.2}
# The official rule, by names: what never decays.
UNDECAYED = re.compile(
    r"(^|\.)(norms?|norm\d|bn\d|gn|post_norm|clip_norms)(\.\d+)?\.(weight|bias)$|relative_position_bias_table$"
    r"|^track_head\.(query_feat|query_embed|level_embed)\.weight$"
)


def composed(name, profile="paper"):
    return compose_row(ROWS[name], load_profile(profile), {}, num_classes=40)


@functools.cache
def on_meta(config):
    """Rows share models: each is built once."""
    with torch.device("meta"):
        return MODELS.build(json.loads(config))


@pytest.fixture
def model_of(cpu_linspace):
    return lambda name: on_meta(canonical_json(composed(name).model).decode())


def test_all_other_rows_are_seqformers_and_have_its_official_settings():
    others = {name: row for name, row in ROWS.items() if name not in OURS_OR_BASELINE}
    assert {row.method for row in others.values()} == {"seqformer"}
    assert len(others) == 5
    for name, row in others.items():
        found = composed(name)
        train, head = found.train, found.model["track_head"]
        assert (train["global_batch"], train["precision"]) == (16, "fp32")
        assert (row.data, train["stills"]) == ("Y + COCO", {"dataset": "coco", "ratio": None})
        assert train["sampler"] == {"around": "frames", "num_frames": 5, "frame_range": 3}
        assert (train["optimizer"]["lr"], train["optimizer"]["weight_decay"]) == (2e-4, 1e-4)
        assert (train["optimizer"]["clip_grad"], train["optimizer"]["decay_all"]) == (0.1, True)
        assert train["optimizer"]["lr_mults"] == {"reference_points": 0.1, "sampling_offsets": 0.1}
        iterations, milestones = train["iterations"], train["schedule"]["milestones"]
        assert iterations == 12 * ({"ytvis19": 61845, "ytvis21": 90160}[row.dataset] + 90000) // 16  # frames and stills
        assert milestones == [iterations * 4 // 12, iterations * 10 // 12]
        assert train["init"] == f"seqformer_{row.backbone}_coco"
        assert found.model["backbone"]["frozen_stages"] == (1 if row.backbone.startswith("r") else -1)
        assert (head["num_queries"], head["dropout"], found.inference["side"]) == (300, 0.1, 360)
        assert head["loss_weights"] == {"cls": 2.0, "box": 5.0, "giou": 2.0, "mask": 2.0, "dice": 5.0}


@pytest.mark.parametrize("name", OURS_OR_BASELINE)
def test_a_rows_model_has_the_size_of_the_known_architecture(model_of, name):
    row, model = ROWS[name], model_of(name)
    total = sum(p.numel() for p in model.parameters())
    assert sum(p.numel() for p in model.backbone.parameters()) / 1e6 == pytest.approx(BACKBONES[row.backbone], abs=0.06)
    queries = 200 if "-q200-" in row.id else 100
    assert model.track_head.num_queries == queries
    width, hidden = 256, 2048
    attention, ffn, norms = 4 * (width * width + width), 2 * width * hidden + width + hidden, 3 * 2 * width
    more = 9 * (2 * attention + ffn + norms) - (width + 1) if row.method == "ours" else 0
    published = PUBLISHED[row.backbone] * 1e6 + (queries - (200 if row.backbone == "swin-l" else 100)) * 2 * width
    assert total - more == pytest.approx(published, abs=0.6e6)


@pytest.mark.parametrize("name", OURS_OR_BASELINE)
def test_a_rows_parameters_follow_the_official_rule_by_name(model_of, name):
    rules = list(parameter_rules(model_of(name), weight_decay=0.05, backbone_lr_mult=0.1))
    assert len(rules) > 300
    for rule in rules:
        assert rule.lr_mult == (0.1 if rule.name.startswith("backbone.") else 1.0), rule.name
        assert rule.weight_decay == (0.0 if UNDECAYED.search(rule.name) else 0.05), rule.name


@pytest.mark.parametrize("name", OURS_OR_BASELINE)
def test_a_row_has_the_papers_settings(name):
    row, found = ROWS[name], composed(name)
    train, inference = found.train, found.inference
    iterations, milestone = (6000, 4000) if row.dataset == "ytvis19" else (8000, 5500)
    assert (train["iterations"], train["schedule"]) == (iterations, {"milestones": [milestone], "gamma": 0.1})
    assert (train["global_batch"], train["precision"], train["stills"], train["threads"]) == (16, "amp", None, 1)
    assert train["sampler"] == {"num_frames": 2, "frame_range": 20, "redraw_empty": False}
    assert train["pipeline"] == {"sides": [360, 480], "max_side": 1333, "flip": 0.5, "resize": "pillow"}
    assert (train["optimizer"]["lr"], train["optimizer"]["weight_decay"]) == (1e-4, 0.05)
    assert (train["optimizer"]["backbone_lr_mult"], train["optimizer"]["clip_grad"]) == (0.1, 0.01)
    assert train["init"] == f"mask2former_{row.backbone}_coco_instance"
    small = row.backbone.startswith("r") or (row.backbone == "swin-l" and row.dataset == "ytvis21")
    if inference["tta"] is None:
        assert inference["side"] == (360 if small else 480)
    if row.method == "ours":
        lambda_e = re.search(r"-lambda([\d.]+)-", row.id)
        assert found.model["track_head"]["lambda_e"] == (float(lambda_e[1]) if lambda_e else 0.3)


def distinct(profile):
    """One row of each model that a profile makes of the rows: those of both years train alike."""
    return list({canonical_json(composed(name, profile).model): name for name in reversed(ROWS)}.values())


@pytest.mark.parametrize("name", distinct("smoke"))
def test_every_thin_version_steps(make_clip, name):
    found = composed(name, "smoke")
    torch.manual_seed(0)
    model = MODELS.build(found.model)
    optimizer = build_optimizer(model, found.train["optimizer"], precision="fp32")
    before = {key: value.clone() for key, value in model.named_parameters() if value.requires_grad}
    losses = model.loss(torch.randn(1, 2, 3, 64, 96), [make_clip([[1, 1], [0, 1]], size=(64, 96))])
    optimizer.update_params(torch.stack(list(losses.values())).sum())
    moved = {key for key, value in model.named_parameters() if key in before and not torch.equal(value, before[key])}
    assert all(torch.isfinite(value).all() for value in model.parameters())
    assert len(moved) > 0.9 * len(before)  # drop path leaves out blocks
    assert {key.split(".")[0] for key in moved} == {"backbone", "track_head"}


@pytest.mark.parametrize("name", distinct("mini"))
def test_every_mini_version_is_thin(cpu_linspace, name):
    assert sum(p.numel() for p in on_meta(canonical_json(composed(name, "mini").model).decode()).parameters()) < 15e6


class Clips(torch.utils.data.Dataset):
    """Two clips as a host's data set yields them."""

    def __init__(self, clips):
        self.clips = clips

    def __len__(self):
        return len(self.clips)

    def __getitem__(self, index):
        images = torch.randint(0, 256, (2, 3, 32, 64), dtype=torch.uint8)
        return {"inputs": images, "data_samples": copy.deepcopy(self.clips[index])}


@pytest.mark.parametrize("method", ["mask2former", "ours", "seqformer"])
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
    assert any("transformer_decoder." in name or "track_head.decoder." in name for name in moved)
    assert any("backbone" in name for name in moved)
