import pytest
import torch
from torch.nn import functional as F

from ifrvis.models.points import bce_and_dice, bce_cost, dice_cost, sample_points, uncertain_points, uniform_points
from ifrvis.models.targets import ClipTargets


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_uniform_points_repeat_with_their_generator_and_fill_the_unit_square():
    like = torch.zeros(1)
    points = uniform_points(3, 500, like=like, generator=generator())
    assert torch.equal(points, uniform_points(3, 500, like=like, generator=generator()))
    assert points.shape == (3, 500, 2)
    assert 0 <= points.min() < 0.05
    assert 0.95 < points.max() <= 1


def test_a_sampled_point_is_the_bilinear_value_between_cell_centres():
    maps = torch.arange(8.0).view(1, 1, 2, 4)
    points = torch.tensor([[[1 / 8, 1 / 4], [2 / 8, 1 / 4], [7 / 8, 1 / 2]]])  # a centre, a midpoint in x, one in y
    assert sample_points(maps, points)[0, 0].tolist() == pytest.approx([0.0, 0.5, 5.0])


def test_uncertain_points_lie_where_logits_are_near_zero():
    logits = torch.full((2, 8, 8), 9.0)
    logits[:, :, 2:6] = 0.0  # 480 of 1200 candidates fall on the band
    points = uncertain_points(logits, uniform_points(2, 1200, like=logits, generator=generator()), 300)
    assert points.shape == (2, 300, 2)
    assert (sample_points(logits[:, None], points).abs() < 1.0).all()


def test_mask_losses_are_the_written_formulas():
    logits, gt = torch.randn(3, 40, generator=generator(1)), torch.rand(3, 40, generator=generator(2)).round()
    bce, dice = bce_and_dice(logits, gt)
    for r in range(3):
        p, y = logits[r].sigmoid(), gt[r]
        torch.testing.assert_close(bce[r], -(y * p.log() + (1 - y) * (1 - p).log()).mean())
        torch.testing.assert_close(dice[r], 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1))


def test_dice_loss_falls_as_overlap_grows():
    gt = torch.tensor([1.0] * 20 + [0.0] * 20)
    found = torch.arange(40) < torch.arange(0, 21, 5)[:, None]
    losses = bce_and_dice(torch.where(found, 9.0, -9.0), gt.expand(5, -1))[1]
    assert losses.tolist() == sorted(losses.tolist(), reverse=True)
    assert losses[-1] < 0.01 < 0.9 < losses[0]


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


@pytest.mark.gpu
def test_a_gpu_draws_its_points_from_their_key_and_where_they_are_used():
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU here")
    drawn = []
    for key in ((0, 1, 2), (0, 1, 2), (0, 1, 3)):
        target = ClipTargets(torch.zeros(1), torch.zeros(1, 2, 8, 8, device="cuda"), "v", key)
        drawn.append(uniform_points(5, like=target.gt_masks, generator=target.generator(0)))
    assert drawn[0].is_cuda
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
