"""Where points are drawn and what is read there; losses and costs of points are tested in `test_supervision`."""

import pytest
import torch

from ifrvis.models.points import sample_points, uniform_points


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
