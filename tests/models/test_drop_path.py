"""Drop path and dropout are drawn for each clip, whatever batch it comes in."""

import numpy as np
import pytest
import torch
from mmcv.cnn.bricks.drop import DropPath

from ifrvis.models.drop_path import ClipDropout, ClipDropPath, draw_drop_path_for, replace_drop_path
from ifrvis.streams import Stream, generator

KEYS = [(0, 5, 0), (0, 5, 1), (0, 5, 2)]


@pytest.fixture
def model():
    layers = torch.nn.Sequential(DropPath(0.5), torch.nn.Sequential(DropPath(0.25)), torch.nn.Linear(4, 4))
    replace_drop_path(layers)
    return layers.train()


def dropped(module, keys, frames=40):
    draw_drop_path_for(module, keys)
    return module(torch.ones(frames * len(keys), 2, 3))


def test_the_hosts_modules_are_replaced_in_order(model):
    replaced = [module for module in model.modules() if isinstance(module, DropPath)]
    assert [(type(each), each.number, each.drop_prob) for each in replaced] == [
        (ClipDropPath, 0, 0.5),
        (ClipDropPath, 1, 0.25),
    ]


def test_a_clip_draws_alike_in_any_batch_and_at_any_time(model):
    whole = dropped(model[0], KEYS)
    torch.rand(3)
    parts = [dropped(model[0], keys) for keys in (KEYS[:2], KEYS[2:])]
    assert torch.equal(whole, torch.cat(parts))


def test_clips_modules_and_iterations_draw_apart(model):
    frames = [dropped(model[0], [key])[:, 0, 0] for key in (*KEYS, (0, 6, 0), (1, 5, 0))]
    frames.append(dropped(model[1][0], KEYS[:1])[:, 0, 0].bool() * 2.0)
    assert all(not torch.equal(a, b) for i, a in enumerate(frames) for b in frames[:i])


def test_drop_paths_that_draw_together_draw_what_each_draws_from_its_stream(model):
    draw_drop_path_for(model, KEYS)
    for module in (model[1][0], model[0]):
        draws = [generator(Stream.DROP_PATH, *key, module.number).random(40) for key in KEYS]
        expected = (np.concatenate(draws) >= module.drop_prob) / (1.0 - module.drop_prob)
        assert torch.equal(module(torch.ones(120, 2, 3))[:, 0, 0], torch.from_numpy(expected).float())


def test_frames_are_kept_at_the_rate_and_scaled_to_the_same_mean(model):
    values = dropped(model[1][0], KEYS, frames=4000)
    assert sorted(set(values.flatten().tolist())) == [0.0, pytest.approx(4 / 3)]
    assert float(values.mean()) == pytest.approx(1.0, abs=0.02)
    assert (values == values[:, :1, :1]).all(), "a frame is dropped as a whole"


def test_recomputation_draws_alike(model):
    x = torch.ones(120, 4, requires_grad=True)
    draw_drop_path_for(model, KEYS)
    checkpointed = torch.utils.checkpoint.checkpoint(model[0], x, use_reentrant=False)
    checkpointed.sum().backward()
    assert torch.equal(x.grad, model[0](torch.ones(120, 4)))


def test_evaluation_and_the_hosts_runner_are_as_in_the_host(model):
    x = torch.ones(50, 4)
    torch.manual_seed(3)
    ours = model[0](x)
    torch.manual_seed(3)
    assert torch.equal(ours, DropPath(0.5).train()(x))
    draw_drop_path_for(model, KEYS)
    assert torch.equal(model.eval()[0](x), x)


@pytest.fixture
def dropouts():
    layers = torch.nn.Sequential(torch.nn.Dropout(0.1), torch.nn.Dropout(0.5), torch.nn.Dropout(0.0))
    replace_drop_path(layers)
    return layers.train()


def test_dropout_is_replaced_where_it_drops(dropouts):
    kinds = [(type(each), getattr(each, "number", None), each.p) for each in dropouts]
    assert kinds == [(ClipDropout, 0, 0.1), (ClipDropout, 1, 0.5), (torch.nn.Dropout, None, 0.0)]


def test_dropout_of_a_clip_is_alike_in_any_batch_and_at_any_time(dropouts):
    whole = dropped(dropouts[1], KEYS)
    torch.rand(3)
    parts = [dropped(dropouts[1], keys) for keys in (KEYS[:2], KEYS[2:])]
    assert torch.equal(whole, torch.cat(parts))
    apart = [*whole.chunk(3), dropped(dropouts[1], [(1, 5, 0)]), dropped(dropouts[0], KEYS[:1]).bool() * 2.0]
    assert all(not torch.equal(a, b) for i, a in enumerate(apart) for b in apart[:i])


def test_dropout_keeps_numbers_at_the_rate_and_scales_them_to_the_same_mean(dropouts):
    values = dropped(dropouts[0], KEYS, frames=20000)
    assert sorted(set(values.flatten().tolist())) == [0.0, pytest.approx(1 / 0.9)]
    assert float(values.mean()) == pytest.approx(1.0, abs=0.005)
    x = torch.ones(30, 4, requires_grad=True)
    kept = torch.utils.checkpoint.checkpoint(dropouts[0], x, use_reentrant=False)
    kept.sum().backward()
    assert torch.equal(x.grad, kept.detach())


def test_dropout_in_evaluation_and_under_the_hosts_runner_is_torchs(dropouts):
    x = torch.ones(50, 4)
    torch.manual_seed(3)
    ours = dropouts[0](x)
    torch.manual_seed(3)
    assert torch.equal(ours, torch.nn.Dropout(0.1).train()(x))
    draw_drop_path_for(dropouts, KEYS)
    assert torch.equal(dropouts.eval()(x), x)
