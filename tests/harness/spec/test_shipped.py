"""Shipped weights are those of a pretraining that the recipes still ask for."""

from ifrvis.harness.plan.planner import make_plan


def test_no_row_with_resnet50_trains_a_pretraining(make_request):
    """A change of the mini recipe that moves the identity of its pretraining needs its weights made again."""
    rows = ("mask2former-r50-ytvis19", "ours-r50-ytvis19", "seqformer-r50-coco-ytvis19")
    trainings = make_plan(make_request(profile="mini", rows=rows, pretraining=True)).trainings
    assert {training.name: training.state for training in trainings if training.is_pretraining} == {
        "pretraining-r50-mini-coco": "complete",
        "pretraining-seqformer-r50-mini-coco": "complete",
    }
