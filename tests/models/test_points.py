import pytest
import torch
from torch.nn import functional as F

from ifrvis.models.points import bce_cost, dice_cost, mask_losses, sample_points, uncertain_points, uniform_points


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_uniform_points_repeat_with_their_generator_and_fill_the_unit_square():
    like = torch.zeros(1)
    points = uniform_points(3, 500, like, generator=generator())
    assert torch.equal(points, uniform_points(3, 500, like, generator=generator()))
    assert points.shape == (3, 500, 2)
    assert 0 <= points.min() < 0.05
    assert 0.95 < points.max() <= 1


def test_a_sampled_point_is_the_bilinear_value_between_cell_centres():
    maps = torch.arange(8.0).view(1, 1, 2, 4)
    points = torch.tensor([[[1 / 8, 1 / 4], [2 / 8, 1 / 4], [7 / 8, 1 / 2]]])  # a centre, a midpoint in x, one in y
    assert sample_points(maps, points)[0, 0].tolist() == pytest.approx([0.0, 0.5, 5.0])


def test_uncertain_points_lie_where_logits_are_near_zero_but_for_a_quarter():
    logits = torch.full((2, 8, 8), 9.0)
    logits[:, :, 2:6] = 0.0
    points = uncertain_points(logits, 400, generator=generator())
    certainty = sample_points(logits[:, None], points)[:, 0].abs()
    assert points.shape == (2, 400, 2)
    assert (certainty[:, :300] < 1.0).all()  # 300 of 1200 candidates, 480 of which fall on the band
    assert (certainty[:, 300:] > 1.0).float().mean() > 0.5


def test_mask_losses_are_the_written_formulas():
    logits, gt = torch.randn(3, 6, 5, generator=generator(1)), torch.rand(3, 12, 10, generator=generator(2)).round()
    points = uniform_points(3, 40, logits, generator=generator())
    bce, dice = mask_losses(logits, gt, points)
    for r in range(3):
        x = F.grid_sample(logits[r][None, None], points[r][None, None] * 2 - 1, align_corners=False).flatten()
        y = F.grid_sample(gt[r][None, None], points[r][None, None] * 2 - 1, align_corners=False).flatten()
        p = x.sigmoid()
        torch.testing.assert_close(bce[r], -(y * p.log() + (1 - y) * (1 - p).log()).mean())
        torch.testing.assert_close(dice[r], 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1))


def test_dice_loss_falls_as_overlap_grows():
    gt = torch.zeros(1, 8, 8)
    gt[:, :, :4] = 1
    points = uniform_points(1, 200, gt, generator=generator())
    losses = []
    for columns in range(5):
        logits = torch.full((1, 8, 8), -9.0)
        logits[:, :, :columns] = 9.0
        losses.append(float(mask_losses(logits, gt, points)[1]))
    assert losses == sorted(losses, reverse=True)


def test_costs_are_the_losses_of_every_pair():
    logits, gt = torch.randn(4, 30, generator=generator(1)), torch.rand(2, 30, generator=generator(2))
    bce, dice = bce_cost(logits, gt), dice_cost(logits, gt)
    assert bce.shape == dice.shape == (4, 2)
    for q in range(4):
        for m in range(2):
            p = logits[q].sigmoid()
            torch.testing.assert_close(bce[q, m], F.binary_cross_entropy_with_logits(logits[q], gt[m]))
            overlap = (2 * (p * gt[m]).sum() + 1) / (p.sum() + gt[m].sum() + 1)
            torch.testing.assert_close(dice[q, m], 1 - overlap)
