"""`DeformableAttention` beside the host's own form."""

import math

import pytest
import torch
from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch
from torch import nn

from ifrvis.models import deformable
from ifrvis.models.deformable import DeformableAttention, adopt, operator_runs, sample_levels, sample_maps


def _case(num_frames, sizes, num_queries):
    grid = (num_frames, num_queries, 4, len(sizes), 3)
    values = torch.randn(num_frames, sum(map(math.prod, sizes)), 4, 8, dtype=torch.float64)
    locations = torch.rand(*grid, 2, dtype=torch.float64) * 2.0 - 0.5  # half of them beyond the borders
    return values, sizes, locations, torch.rand(grid, dtype=torch.float64)


@pytest.mark.parametrize("sizes", [[(3, 5), (6, 10), (12, 20)], [(1, 1)], [(7, 2), (1, 9)]])
@pytest.mark.parametrize("num_frames", [1, 3])
@pytest.mark.parametrize("form", [sample_levels, sample_maps])
def test_sampling_equals_the_hosts_form(form, sizes, num_frames):
    case = _case(num_frames, sizes, 11)
    torch.testing.assert_close(form(*case), multi_scale_deformable_attn_pytorch(*case), rtol=0, atol=1e-12)


def test_points_on_and_far_beyond_the_borders_equal_the_hosts():
    values, sizes, locations, weights = _case(1, [(3, 5), (6, 10)], 4)
    edges = torch.tensor([-1e4, -0.1, 0.0, 0.1, 0.5, 0.9, 1.0, 1.1, 1e4], dtype=torch.float64)
    for x in edges:
        for y in edges:
            locations[..., 0], locations[..., 1] = x, y
            expected = multi_scale_deformable_attn_pytorch(values, sizes, locations, weights)
            torch.testing.assert_close(sample_levels(values, sizes, locations, weights), expected, rtol=0, atol=1e-12)


@pytest.fixture
def attention():
    module = nn.ModuleDict({"attn": DeformableAttention.__base__(32, num_heads=4, num_levels=2, batch_first=True)})
    nn.init.normal_(module["attn"].sampling_offsets.weight, std=0.2)
    nn.init.normal_(module["attn"].attention_weights.weight, std=0.2)
    return module.eval()


def _given(num_frames):
    shapes = torch.tensor([[2, 3], [4, 6]])
    query, pos = torch.randn(2, num_frames, 30, 32)
    mask = torch.zeros(num_frames, 30, dtype=torch.bool)
    mask[:, 3:5] = True
    points = torch.rand(num_frames, 30, 2, 2)
    start = torch.tensor([0, 6])
    return {
        "query": query, "value": query, "query_pos": pos, "key_padding_mask": mask, "reference_points": points,
        "spatial_shapes": shapes, "level_start_index": start, "key": query, "key_pos": pos,
    }  # fmt: skip


def test_a_module_that_is_adopted_gives_what_it_gave(attention):
    given = _given(3)
    with torch.no_grad():
        expected = attention["attn"](**given)
        adopt(attention)
        assert type(attention["attn"]) is DeformableAttention
        torch.testing.assert_close(attention["attn"](**given), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("masked", [True, False])
def test_training_has_the_hosts_values_and_gradients(attention, masked):
    given = _given(2)
    given["key_padding_mask"] &= masked
    results = []
    for _ in range(2):
        attention.zero_grad()
        found = attention["attn"](**given)
        found.square().sum().backward()
        results.append([found, *(weight.grad.clone() for weight in attention.parameters())])
        adopt(attention)
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


class OnCuda(torch.Tensor):
    is_cuda = True


def test_without_the_operator_a_gpu_gets_torchs_operations_and_their_gradients(attention, caplog):
    """What stands for the operator here raises, as on a GPU for which nothing was compiled."""
    given = _given(2)
    results = []
    for kind in (torch.Tensor, OnCuda):
        attention.zero_grad()
        found = attention["attn"](**{**given, "value": given["value"].as_subclass(kind)})
        torch.Tensor(found).square().sum().backward()
        results.append([torch.Tensor(found), *(weight.grad.clone() for weight in attention.parameters())])
        adopt(attention)
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)
    assert not operator_runs(torch.device("cpu"))
    assert "without its compiled operator, slowly: " in caplog.text


@pytest.mark.parametrize("numbers", [0.0, 1.0])
def test_an_operator_for_another_gpu_gives_zeros_and_is_not_used(monkeypatch, numbers):
    monkeypatch.setattr(
        deformable.MultiScaleDeformableAttnFunction, "apply", lambda *_: torch.full((1, 16, 8), numbers)
    )
    assert operator_runs.__wrapped__(torch.device("cpu")) == bool(numbers)


@pytest.mark.parametrize("num_frames", [1, 32, 64, 80, 128, 130])
def test_the_operator_gets_batches_that_it_takes(attention, num_frames, monkeypatch):
    """On CUDA: at most as many frames as it is told, or a multiple of it."""
    adopt(attention)
    attn, seen = attention["attn"], []

    class Operator:
        @staticmethod
        def apply(values, shapes, starts, locations, weights, step):
            assert starts.tolist() == [0, 6]
            assert len(values) == len(locations) == len(weights)
            assert len(values) % min(step, len(values)) == 0
            seen.append(len(values))
            return multi_scale_deformable_attn_pytorch(values, shapes, locations, weights)

    monkeypatch.setattr(deformable, "MultiScaleDeformableAttnFunction", Operator)
    monkeypatch.setattr(deformable, "operator_runs", lambda device: True)
    given = _given(num_frames)
    expected = attn(**given)
    assert not seen
    found = attn(**{**given, "value": given["value"].as_subclass(OnCuda)})
    torch.testing.assert_close(torch.Tensor(found), expected, rtol=1e-5, atol=1e-5)
    assert sum(seen) == num_frames
