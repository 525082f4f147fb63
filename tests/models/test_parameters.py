"""Every trained parameter's learning-rate multiplier and weight decay, against a list that was checked by hand."""

import re
from collections import Counter
from pathlib import Path

import pytest
from mmengine.optim import build_optim_wrapper

from ifrvis.models.parameters import parameter_groups, parameter_rules


def listing(model):
    """A line for each kind of parameter: numbers in names become a star, and how many there are is counted."""
    rules = parameter_rules(model, weight_decay=0.05, backbone_lr_mult=0.1)
    kinds = Counter((re.sub(r"\d+", "*", rule.name), rule.lr_mult, rule.weight_decay) for rule in rules)
    return [f"{name} x{count} lr {lr:g} decay {decay:g}" for (name, lr, decay), count in kinds.items()]


@pytest.mark.parametrize("backbone", ["r50", "swin-t"])
def test_every_parameter_follows_the_official_rule(full_model, backbone):
    listed = (Path(__file__).parent / f"parameters-{backbone}.txt").read_text().splitlines()
    assert listing(full_model("mask2former", backbone)) == listed


def test_groups_hold_every_trained_parameter_once(build):
    model = build("mask2former", "swin-t")
    groups = parameter_groups(model, lr=1e-4, weight_decay=0.05, backbone_lr_mult=0.1)
    grouped = [parameter for group in groups for parameter in group["params"]]
    assert len(grouped) == len(set(grouped)) == sum(p.requires_grad for p in model.parameters())
    rates = {(group["lr"], group["weight_decay"]) for group in groups}
    assert rates == {(1e-4, 0.05), (1e-4, 0.0), (1e-4 * 0.1, 0.05), (1e-4 * 0.1, 0.0)}


def test_the_hosts_runner_uses_the_same_groups(build):
    model = build("mask2former", "swin-t")
    wrapper = build_optim_wrapper(
        model,
        {
            "constructor": "ParameterRuleConstructor",
            "optimizer": {"type": "AdamW", "lr": 1e-4, "weight_decay": 0.05},
            "paramwise_cfg": {"backbone_lr_mult": 0.1},
        },
    )
    expected = parameter_groups(model, lr=1e-4, weight_decay=0.05, backbone_lr_mult=0.1)
    assert len(wrapper.optimizer.param_groups) == len(expected)
    for group, rule in zip(wrapper.optimizer.param_groups, expected):
        assert all(a is b for a, b in zip(group["params"], rule["params"]))
        assert (group["lr"], group["weight_decay"]) == (rule["lr"], rule["weight_decay"])


def test_seqformers_rule_goes_by_parts_of_names_and_decays_everything(full_model):
    rules = list(
        parameter_rules(
            full_model("seqformer", "r50", num_classes=42),
            weight_decay=1e-4,
            backbone_lr_mult=0.1,
            lr_mults={"reference_points": 0.1, "sampling_offsets": 0.1},
            decay_all=True,
        )
    )
    assert {rule.weight_decay for rule in rules} == {1e-4}
    slow = {rule.name for rule in rules if rule.lr_mult != 1.0}
    assert {rule.lr_mult for rule in rules} == {0.1, 1.0}
    assert slow == {
        rule.name
        for rule in rules
        if rule.name.startswith("backbone.") or "reference_points" in rule.name or "sampling_offsets" in rule.name
    }
    of_head = [name for name in slow if name.startswith("track_head.")]
    assert len(of_head) == 2 * (1 + 6 + 6)
    # Stem and first stage are not trained.
    assert not any(rule.name.startswith(("backbone.conv1", "backbone.layer1.")) for rule in rules)
    unused = 394_752  # of the official encoder, where it is trained, too
    assert round((sum(rule.parameter.numel() for rule in rules) + unused) / 1e6, 3) == 48.182
