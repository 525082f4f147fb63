"""Losses beside the literal ones, and their properties where there is little or nothing to learn from."""

import copy
import math
from itertools import pairwise

import pytest
import torch
from models.conftest import features
from models.seqformer import literal

from ifrvis.models.losses import FocalClasses
from ifrvis.models.seqformer.losses import (
    box_costs,
    box_losses,
    class_cost,
    generalised_iou,
    mask_losses,
    target_boxes,
    target_masks,
)
from ifrvis.models.targets import NotFiniteLossError, clip_targets

CELLS = FocalClasses(alpha=0.25, gamma=2.0)


def total(losses):
    return torch.stack(list(losses.values())).sum()


@pytest.mark.parametrize("num_frames", [1, 2, 5])
def test_losses_are_the_literal_ones_in_every_layer(build, make_clip, num_frames):
    model = build("seqformer", dropout=0.0)
    shown = [[1] * num_frames, [1] * num_frames, [0] * (num_frames - 1) + [1]]
    clips = [make_clip(shown[: 2 + b], img_shape=size) for b, size in enumerate([(32, 64), (27, 50)])]
    x = features(model, 2 * num_frames)
    found = model.track_head.loss(x, clips)
    classes, boxes, masks = (
        [value.detach().double() for value in values] for values in model.track_head.forward(x, clips)
    )
    targets = [clip_targets(clip, "cpu") for clip in clips]
    for i in range(3):
        of_clips = [
            literal.clip_losses(*(each[i][b] for each in (classes, boxes, masks)), t.labels, t.gt_masks, size)
            for b, (t, size) in enumerate(zip(targets, [(32, 64), (27, 50)]))
        ]
        sums = [sum(values) / 5 for values in zip(*of_clips)]
        prefix = f"d{i}." if i < 2 else ""
        for name, weight, value in zip(("cls", "box", "giou", "mask", "dice"), (2, 5, 2, 2, 5), sums):
            assert found[f"{prefix}loss_{name}"].item() == pytest.approx(weight * value, rel=2e-5, abs=1e-6)


@pytest.mark.parametrize("shown", [[], [[0, 1]], [[1], [1]], [[1] * 6, [0, 0, 1, 1, 0, 0]]], ids=str)
def test_losses_are_finite_and_give_gradients(build, make_clip, shown):
    model = build("seqformer")
    clip = make_clip(shown)
    losses = model.track_head.loss(features(model, len(clip)), [clip])
    assert all(torch.isfinite(value) and value >= 0 for value in losses.values())
    assert len(losses) == 3 * 5
    total(losses).backward()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert not [name for name, p in trained.items() if p.grad is None]
    assert all(torch.isfinite(p.grad).all() for p in trained.values())
    learned = {"cls_embed.", "decoder.", "pixel_encoder."} | ({"mask_branch.", "controller."} if shown else set())
    for part in learned:
        assert any(p.grad.any() for name, p in trained.items() if name.startswith(f"track_head.{part}")), part


def test_micro_batches_add_up_to_the_whole_batch(build, make_clip):
    model = build("seqformer", dropout=0.0)
    shown = [[[1, 1], [0, 1]], [], [[1, 0], [1, 1], [1, 1]]]
    plain = [make_clip(s, draw_key=(0, 0, b)) for b, s in enumerate(shown)]
    clips = copy.deepcopy(plain)
    for clip in clips:
        for frame in clip.video_data_samples:
            frame.set_metainfo({"batch_num_instances": 5, "batch_num_clips": 3})
    x = features(model, 6)
    whole = model.track_head.loss(x, plain)
    parts = [model.track_head.loss([level[2 * b : 2 * b + 2] for level in x], [clips[b]]) for b in range(3)]
    for name, value in whole.items():
        torch.testing.assert_close(sum(part[name] for part in parts), value, rtol=1e-5, atol=1e-6)


def test_more_instances_than_queries_train_the_best_pairs(build, make_clip):
    model = build("seqformer")
    assert torch.isfinite(total(model.track_head.loss(features(model, 2), [make_clip([[1, 1]] * 8)])))


def test_a_cost_that_is_not_finite_names_the_video(build, make_clip):
    model = build("seqformer")
    x = [level * torch.nan for level in features(model, 2)]
    with pytest.raises(NotFiniteLossError, match=r"Lower train.optimizer.lr.*video v: .*prediction 0"):
        model.track_head.loss(x, [make_clip([[1, 1]])])


def test_a_frame_without_the_instance_counts_as_a_box_of_nothing_in_the_corner():
    masks = torch.zeros(2, 2, 32, 64)
    masks[0, 0, 4:12, 8:24] = 1
    masks[1, 1] = 1
    found = target_boxes(masks, (32, 64))
    tiny = [pytest.approx(1e-6)] * 4
    assert found[0].tolist() == [[0.25, 0.25, 0.25, 0.25], tiny]
    assert found[1].tolist() == [tiny, [0.5, 0.5, 1.0, 1.0]]
    torch.testing.assert_close(target_boxes(masks, (24, 40)), literal.boxes_of(masks, (24, 40)).float())


def test_mask_targets_are_every_fourth_pixel_from_the_third_and_background_in_padding():
    masks = torch.arange(9 * 13.0).view(1, 1, 9, 13)
    found = target_masks(masks, (2, 2))
    assert found.shape == (1, 1, 4, 4)
    assert found[0, 0, :2, :3].tolist() == [[28, 32, 36], [80, 84, 88]]
    assert not found[0, 0, 2:].any()
    assert not found[0, 0, :, 3:].any()


def test_generalised_iou_follows_by_hand():
    unit = torch.tensor([0.5, 0.5, 1.0, 1.0])
    others = torch.tensor([[0.5, 0.5, 1.0, 1.0], [1.0, 0.5, 1.0, 1.0], [2.5, 0.5, 1.0, 1.0], [0.5, 0.5, 0.5, 0.5]])
    # The same, half of it, one away (hull of three, union of two), inside.
    assert generalised_iou(unit, others).tolist() == pytest.approx([1, 1 / 3, -1 / 3, 0.25])
    tiny = torch.full((4,), 1e-6)
    assert float(generalised_iou(tiny, tiny)) == pytest.approx(1.0)


def test_costs_are_the_distance_of_all_numbers_and_the_mean_overlap():
    boxes = torch.rand(3, 4, 4)
    gt_boxes = torch.rand(2, 3, 4)
    distance, overlap = box_costs(boxes, gt_boxes)
    for q in range(4):
        for m in range(2):
            expected = math.sqrt(float((boxes[:, q] - gt_boxes[m]).square().sum()))
            assert float(distance[q, m]) == pytest.approx(expected, rel=1e-5)
            mean = sum(literal.giou(boxes[t, q], gt_boxes[m, t]) for t in range(3)) / 3
            assert float(overlap[q, m]) == pytest.approx(-mean, abs=1e-5)


def test_the_class_cost_is_what_the_focal_loss_changes_by():
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    found = class_cost(logits, torch.tensor([2, 0]), CELLS)
    for q in range(3):
        for m, k in enumerate((2, 0)):
            expected = literal.focal(logits[q, k], True) - literal.focal(logits[q, k], False)
            assert float(found[q, m]) == pytest.approx(expected, abs=1e-6)


def test_perfect_predictions_cost_nothing():
    boxes = torch.rand(2, 3, 4)
    assert torch.cat(box_losses(boxes, boxes)).tolist() == pytest.approx([0] * 4, abs=1e-6)
    targets = (torch.rand(2, 3, 8, 8) > 0.5).float()
    focal, dice = mask_losses(60 * targets - 30, targets, CELLS)
    assert focal.tolist() == pytest.approx([0, 0], abs=1e-6)
    assert dice.tolist() == pytest.approx([0, 0], abs=1e-6)
    worse = [mask_losses(scale * (2 * targets - 1), targets, CELLS) for scale in (1.0, 0.0, -1.0)]
    for values in zip(*worse):
        assert all((a < b).all() for a, b in pairwise(values))
