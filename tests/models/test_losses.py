"""Class losses, where points are drawn and what is read there; losses of masks are tested in `test_supervision`."""

import pytest
import torch
from models import literal

from ifrvis.models.losses import FocalClasses, sample_points, uniform_points
from ifrvis.models.targets import ClipTargets


def test_focal_loss_is_the_written_one_and_counts_no_object_as_no_class():
    cls_logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([0, 3, 2, 3, 1])
    torch.testing.assert_close(FocalClasses(0.25, 2.0).loss(cls_logits, classes), literal.focal(cls_logits, classes))


def test_the_best_queries_of_a_clip_are_kept_where_no_class_says_which_are_none():
    logits = torch.full((14, 3), -4.0)
    best = [13, 2, 3, 5, 7, 8, 9, 10, 11, 12]
    logits[best, torch.arange(10) % 3] = torch.linspace(-3, 2, 10)
    assert FocalClasses(0.25, 2.0).kept(logits).nonzero().flatten().tolist() == sorted(best)
    assert FocalClasses(0.25, 2.0).kept(logits[:4]).tolist() == [True] * 4


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
