"""Composition: recipe < profile < row < --set, and no key that the recipe does not have."""

import pytest

from ifrvis.errors import UserError
from ifrvis.harness.spec.compose import choose_inference, compose, compose_pretraining, compose_row, parse_override
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.spec.tables import Row

NAMED = ("mask2former", "r50", "ytvis19")


def with_row(overrides=None, *, profile="smoke", **changes):
    row = Row(id="mask2former-r50-ytvis19", method="mask2former", backbone="r50", dataset="ytvis19", **changes)
    return compose_row(row, load_profile(profile), overrides or {}, num_classes=4)


def with_set(overrides, profile="smoke"):
    return compose(*NAMED, load_profile(profile), {"--set": overrides}, num_classes=4)


def test_the_paper_profile_is_the_official_recipe():
    composed = compose(*NAMED, load_profile("paper"), num_classes=40)
    assert composed.train["iterations"] == 6000
    assert composed.train["schedule"] == {"milestones": [4000], "gamma": 0.1}
    assert composed.train["global_batch"] == 16
    assert composed.train["optimizer"]["lr"] == 1e-4
    assert composed.model["track_head"]["num_queries"] == 100
    assert composed.inference["side"] == 360
    assert composed.model["track_head"]["num_classes"] == 40


def test_each_layer_wins_over_the_one_before():
    assert with_set({}, "mini").model["track_head"]["num_queries"] == 20
    row = {"model.track_head.num_queries": 200}
    composed = with_row(profile="mini", set=row)
    assert composed.model["track_head"]["num_queries"] == 40  # what stands for the row's 200 here
    assert composed.changes == {"model.track_head.num_queries": 40}
    overridden = with_row({"model.track_head.num_queries": 7}, profile="mini", set=row)
    assert overridden.model["track_head"]["num_queries"] == 7


def test_a_profile_keeps_its_own_schedule_where_the_recipe_trains_on_stills_and_a_pretraining_mixes_none_in():
    mini = load_profile("mini")
    row = compose("seqformer", "r50", "ytvis19", mini, num_classes=4).train
    assert (row["iterations"], row["schedule"]["milestones"]) == (1400, [1100])
    assert row["stills"] == {"dataset": "mini-coco", "ratio": None}
    before = compose_pretraining(mini.pretraining, "seqformer", "r50", mini, num_classes=4)
    assert before.train["stills"] is None


def test_a_value_that_is_the_recipes_own_is_no_change():
    assert with_set({"model.track_head.num_classes": 4}) == with_set({})
    assert with_row(profile="mini", set={"model.track_head.num_queries": 20}).changes == {}


def test_a_rows_sizes_become_the_profiles():
    composed = with_row(profile="mini", inference={"side": 480})
    assert composed.inference["side"] == 128


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"train.iteratons": 5}, "no such key"),
        ({"train.optimizer.lr.x": 5}, "no such key"),
        ({"train.iterations": "five"}, "plain number"),
        ({"train.optimizer.lr": "1e-4"}, "plain number"),
        ({"train.pipeline": 5}, "of type dict"),
        ({"train.iterations": True}, "of type int"),
        ({"model.track_head.num_classes": 7}, "^Remove .* from profile 'smoke', --set: its data set has 4"),
    ],
)
def test_wrong_overrides_are_refused(overrides, message):
    with pytest.raises(UserError, match=message):
        with_set(overrides)


@pytest.mark.parametrize(
    ("named", "meant"),
    [
        (("mask2fromer", "r50", "ytvis19"), "methods .* no 'mask2fromer' .did you mean 'mask2former'"),
        (("ours", "r51", "ytvis19"), "backbones .* no 'r51' .did you mean 'r50'"),
        (("ours", "r50", "cityscapes"), r"schedules .* no 'cityscapes'\."),
    ],
)
def test_a_recipe_that_does_not_exist_is_refused(named, meant):
    with pytest.raises(UserError, match=f"^Choose one of the {meant}"):
        compose(*named, load_profile("smoke"), num_classes=4)


def test_sizes_of_tta_become_the_profiles():
    composed = with_row(inference={"tta": [360, 480]})
    assert composed.inference["tta"] == [64, 96]
    fewer = with_row({"inference.tta": [48]}, inference={"tta": [360, 480]})
    assert fewer.inference["tta"] == [48]


def test_options_that_a_mode_does_not_read_are_no_part_of_it():
    def composed(overrides):
        return with_set(overrides).inference

    plain = composed({})
    assert plain.keys() == {*["mode", "side", "max_side", "resize", "topk", "clip_frames", "stride", "tta"]}
    assert composed({"inference.stride": 3, "inference.min_class_score": 0.5, "inference.flip": True}) == plain
    clips = {"inference.mode": "clips", "inference.clip_frames": 3}
    assert composed(clips) != composed({**clips, "inference.min_class_score": 0.5})
    assert composed({"inference.topk": None}) != plain
    assert composed({"inference.tta": [64]}) != composed({"inference.tta": [64], "inference.flip": True})


def test_recurrence_at_test_is_part_of_an_inference_where_it_is_off_and_of_ours_alone():
    smoke, given = load_profile("smoke"), [{"--set": {"inference.recurrence": value}} for value in (True, False)]
    on, off = (compose("ours", "r50", "ytvis19", smoke, each, num_classes=4) for each in given)
    assert off.inference == on.inference | {"recurrence": False}
    assert on.inference == with_set({}).inference
    with pytest.raises(UserError, match="no such key"):
        with_set({"inference.recurrence": False})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"inference.mode": "parts"}, "to one of whole, clips: it is 'parts'"),
        ({"inference.mode": "clips"}, "Set inference.clip_frames to the length of a clip"),
        ({"inference.mode": "clips", "inference.clip_frames": 2, "inference.stride": 3}, "stride from 1 to that"),
        ({"inference.tta": []}, r"to what lies in \[1, inf\): it is \[\]"),
        ({"inference.tta": [0]}, r"to what lies in \[1, inf\): it is \[0\]"),
        ({"inference.min_class_score": "much"}, "plain number"),
    ],
)
def test_inference_that_cannot_be_done_is_refused(overrides, message):
    with pytest.raises(UserError, match=message):
        with_set(overrides)
    with pytest.raises(UserError, match=message):
        choose_inference({"mode": "whole", "side": 64}, overrides)


def test_a_kept_inference_can_be_changed():
    kept = with_set({}).inference
    assert choose_inference(kept, {}) == kept
    changed = choose_inference(kept, {"inference.mode": "clips", "inference.clip_frames": 5})
    assert (changed["clip_frames"], changed["min_class_score"], changed["side"]) == (5, 0.01, 64)
    with pytest.raises(UserError, match="no such key"):
        choose_inference(kept, {"train.iterations": 3})


def test_override_text():
    assert parse_override("train.iterations=5") == ("train.iterations", 5)
    assert parse_override("train.precision=fp32") == ("train.precision", "fp32")
    assert parse_override("inference.tta=[1, 2]") == ("inference.tta", [1, 2])
    with pytest.raises(UserError, match="Write --set key=value"):
        parse_override("train.iterations")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train={}", "no such key"),
        ("model=null", "no such key"),
        ("model.track_head=null", "of type dict"),
        ("train.iterations=null", "of type int"),
        ("train.init=5", "of type str"),
        ("train.init=[]", "of type str"),
        ("inference.tta=5", "of type list"),
        ("train.optimizer.lr=NaN", "plain number"),
        ("train.optimizer.lr=1e999", "plain number"),
        ("train.optimizer.lr=" + "9" * 400, "plain number"),
        ("train.optimizer.lr=" + "9" * 5000, "plain number"),
        ("train.optimizer.lr=" + "[" * 100_000, "plain number"),
        ("train.optimizer.betas=[0.9, null]", r"betas\[1\]' of --set of type float"),
        ('train.schedule={"milestones": [3], "gama": 0.1}', "the recipe's keys, milestones, gamma"),
        ('train.schedule={"milestones": ["3"], "gamma": 0.1}', "plain number"),
        ('train.stills={"ratio": 0.5}', "^Add 'dataset' to 'train.stills' in profile 'smoke', --set"),
        ('train.stills={"dataset": "coco"}', "^Add 'ratio' to 'train.stills'"),
        ("train.stills={}", "^Add 'dataset' to 'train.stills'"),
        ('train.stills={"dataset": {}, "ratio": null}', "^Correct 'dataset' in 'train.stills'"),
        ("train.stills.ratio=0.5", "no such key .recipes of other methods have it"),
        (
            'model.backbone.norm_cfg={"requires_grad": true}',
            "^Add 'type' to model.backbone.norm_cfg of .* BN, GN, SyncBN",
        ),
        ("model.backbone.norm_cfg={}", "^Add 'type' to model.backbone.norm_cfg"),
    ],
)
def test_an_override_keeps_keys_and_types_all_the_way_down(text, message):
    key, value = parse_override(text)
    with pytest.raises(UserError, match=message):
        with_set({key: value})


@pytest.mark.parametrize("groups", [None, 2.0])
def test_groups_of_a_norm_are_counted_where_no_recipe_has_any(groups):
    with pytest.raises(UserError, match=r"Give model\.backbone\.norm_cfg a whole num_groups"):
        with_set({"model.backbone.norm_cfg": {"type": "GN", "num_groups": groups}}, "paper")


@pytest.mark.parametrize("sides", [480, "480"])
def test_sides_of_a_row_are_a_list(sides):
    with pytest.raises(UserError, match=r"Make 'inference.tta' of row .* of type list"):
        with_row(profile="mini", inference={"tta": sides})


def test_an_override_may_name_another_class_and_leave_the_optional_out():
    norm = {"type": "SyncBN", "requires_grad": True, "eps": 1e-3}
    overrides = {"model.backbone.norm_cfg": norm, "train.init": None, "train.optimizer.clip_grad": None}
    composed = with_set(overrides)
    assert composed.model["backbone"]["norm_cfg"] == norm
    assert composed.train["init"] is composed.train["optimizer"]["clip_grad"] is None


def test_a_key_below_what_a_row_has_set_can_be_changed():
    row = {"train.stills": {"dataset": "coco", "ratio": None}}
    composed = with_row({"train.stills.ratio": 0.5}, set=row)
    assert composed.train["stills"] == {"dataset": "smoke19", "ratio": 0.5}
    assert composed.changes == {"train.stills": composed.train["stills"]}, "one name, however it was said"
