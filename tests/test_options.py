"""What can be known to be wrong is refused before anything is queued; what is accepted can be built."""

import itertools
import math
import re

import pytest

from ifrvis.cli import main
from ifrvis.errors import UserError
from ifrvis.harness.spec.allowed import _known
from ifrvis.harness.spec.compose import compose
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.options import INTERVAL_OF, INTERVALS, WORDS
from ifrvis.training.build import build_model

HEAD, RESNET, SWIN = "model.track_head", ("ours", "r50"), ("ours", "swin-t")


def composed(overrides, named=RESNET):
    return compose(*named, "ytvis19", load_profile("smoke"), {"--set": overrides}, num_classes=4)


def refused(key, value, named=RESNET):
    with pytest.raises(UserError) as caught:
        composed({key: value}, named)
    assert str(caught.value).startswith(f"Set {key} in profile 'smoke', --set to ")
    assert str(caught.value).endswith(f": it is {value!r}.")


@pytest.mark.parametrize("interval", INTERVALS)
def test_a_number_outside_its_interval_is_refused_by_its_key(interval):
    low, high = map(float, interval[1:-1].split(","))
    beyond = [low - (interval[0] == "["), *([high + (interval[-1] == "]")] if high < math.inf else [])]
    recipes = {named: vars(composed({}, named)) for named in (RESNET, SWIN)}
    for named, key in itertools.product(recipes, INTERVALS[interval].split()):
        node = recipes[named]
        for part in key.split("."):
            node = node.get(part) if isinstance(node, dict) else None
        for value in beyond if node is not None else []:
            refused(key, [type(node[0])(value)] * len(node) if isinstance(node, list) else type(node)(value), named)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (f"{HEAD}.cross_frame_sum", "wrong"),
        ("train.precision", "fp8"),
        ("train.sampler.num_frames", 0),
        ("train.pipeline.sides", []),
        ("inference.mode", "parts"),
        ("inference.tta", []),
        ("inference.tta", [96, 0]),
        ("inference.tta", ["96"]),
        ("train.pipeline.sides", [10**6]),
        ("model.track_head.num_queries", 10**9),
        ("train.threads", 10**6),
        ("inference.min_class_score", 1.5),
        ("model.backbone.depth", 51),
        ("model.backbone.style", "keras"),
        ("model.backbone.out_indices", [0, 1, 2, 4]),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_its_key(key, value):
    refused(key, value)


@pytest.mark.parametrize(
    ("named", "overrides", "message"),
    [
        (RESNET, {"train.schedule.milestones": [3, 2]}, "Let train.schedule.milestones rise: they are [3, 2]"),
        (RESNET, {"inference.tta": [96.5]}, "Set inference.tta to whole pixels, such as [360, 480]: got [96.5]"),
        (RESNET, {"train.optimizer.betas": [0.9]}, "Give 'train.optimizer.betas' of --set 2 items"),
        (RESNET, {f"{HEAD}.feat_channels": 30}, f"Make {HEAD}.feat_channels a multiple of 4: it is 30"),
        (RESNET, {f"{HEAD}.encoder.num_heads": 5}, f"Make {HEAD}.feat_channels a multiple of 5: it is 32"),
        (RESNET, {f"{HEAD}.decoder.num_heads": 3}, f"Make {HEAD}.feat_channels a multiple of 3: it is 32"),
        (RESNET, {f"{HEAD}.in_channels": [32, 64, 128, 512]}, f"Set {HEAD}.in_channels to [32, 64, 128, 256]"),
        (RESNET, {"model.backbone.depth": 18}, f"Set {HEAD}.in_channels to [8, 16, 32, 64]"),
        (RESNET, {"model.backbone.stem_channels": 6}, "multiples of the 4 groups of its norm"),
        (
            RESNET,
            {"model.backbone.norm_cfg": {"type": "BN", "num_groups": 4}},
            "Give model.backbone.norm_cfg num_groups",
        ),
        (RESNET, {"model.backbone.norm_cfg": {"type": "SyncBN", "eps": None}}, "norm_cfg a whole num_groups"),
        (RESNET, {"model.backbone.norm_cfg": {"type": "BN", "requires_grad": "no"}}, "norm_cfg a whole num_groups"),
        (SWIN, {"model.backbone.num_heads": [1, 1, 2, 5]}, "divide its channels: 96 has 5 heads"),
        (SWIN, {"model.backbone.embed_dims": 16}, f"Set {HEAD}.in_channels to [16, 32, 64, 128]"),
        (
            ("seqformer", "r50"),
            {"train.pipeline.crop.smallest": 9000},
            "Set train.pipeline.crop.smallest to at most train.pipeline.crop.largest: they are 9000 and",
        ),
        (SWIN, {f"{HEAD}.type": "Mask2FormerVISHead"}, "be IFRHead, or choose another method or backbone"),
    ],
)
def test_values_that_do_not_fit_each_other_are_refused(named, overrides, message):
    with pytest.raises(UserError, match=re.escape(message)):
        composed(overrides, named)


def test_a_run_refuses_before_anything_is_written(tmp_path, capsys):
    options = ["--profile", "smoke", f"--data-root={tmp_path}/data", f"--results={tmp_path}/results"]
    for change in (f"{HEAD}.cross_frame_sum=wrong", "train.precision=fp8", "train.pipeline.sides=[]"):
        assert main(["run", "table1", "--rows", "ours-r50-ytvis19", "--set", change, *options]) == 2
        assert "in profile 'smoke', --set to " in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert main(["run", "table1", "--rows", "ours-r50-ytvis19", "--set", "train.precision=amp", *options]) == 2
    assert "Set train.precision=fp32, or run where a GPU is" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_every_option_that_is_bounded_is_one_of_a_recipe():
    keys, _ = _known()
    assert set(INTERVAL_OF) | set(WORDS) <= {f"{path}.{key}" for path, names in keys.items() for key in names}


@pytest.mark.parametrize(
    ("named", "overrides"),
    [
        (RESNET, {f"{HEAD}.feat_channels": 20, f"{HEAD}.decoder.num_heads": 2, f"{HEAD}.encoder.num_heads": 5}),
        (RESNET, {"model.backbone.depth": 18, f"{HEAD}.in_channels": [8, 16, 32, 64]}),
        (RESNET, {"model.backbone.norm_cfg": {"type": "BN", "requires_grad": False}, "model.backbone.style": "caffe"}),
        (SWIN, {"model.backbone.num_heads": [3, 4, 6, 12], "model.backbone.window_size": 3}),
    ],
)
def test_what_is_accepted_can_be_built(named, overrides):
    build_model(composed(overrides, named).model, seed=0)
