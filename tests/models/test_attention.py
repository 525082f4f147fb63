"""The decoders beside the equations written with loops."""

import pytest
import torch
from mmdet.registry import MODELS
from models import literal
from models.conftest import make_frames

from ifrvis.models import ifr
from ifrvis.models.attention import time_positions
from ifrvis.models.decoding import FrameFeatures


def random_shape(draws):
    num_clips, num_frames, num_queries = (int(torch.randint(1, 5, (), generator=draws)) for _ in range(3))
    size = tuple(int(x) for x in torch.randint(1, 4, (2,), generator=draws))
    return {"num_clips": min(num_clips, 2), "num_frames": num_frames, "num_queries": 1 + num_queries, "size": size}


READINGS = {
    "printed": {},
    "static": {"recurrence": False},
    "own": {"temporal_keys": "own"},
    "no sum": {"cross_residual": False},
    "own, no sum": {"temporal_keys": "own", "cross_residual": False},
}
SEEDS = [*((seed, "printed") for seed in range(6)), *((seed, name) for seed in (0, 4) for name in list(READINGS)[1:])]


@pytest.mark.parametrize(("seed", "reading"), SEEDS)
def test_decoder_is_the_literal_one_in_values_and_gradients(make_head, seed, reading):
    shape = random_shape(torch.Generator().manual_seed(seed))
    options = {"recurrence": True, "cross_residual": True, "temporal_keys": "all"} | READINGS[reading]
    head, draws = make_head(seed, num_queries=shape["num_queries"], **options)
    literally = {"recurrence": options["recurrence"], "residual": options["cross_residual"]}
    literally["own_keys"] = options["temporal_keys"] == "own"
    frames = make_frames(draws, shape["num_clips"] * shape["num_frames"], 16, shape["size"])
    inputs = [frames.mask_features, *frames.memories]
    for x in inputs:
        x.requires_grad_()
    fast = mask_logits(head, frames, shape["num_clips"])

    def code(height, width, _):  # the host's code is in single precision
        return head.decoder_positional_encoding(torch.zeros(1, height, width))[0].flatten(1).T

    clips = clips_of(frames, shape["num_clips"])
    slow, margins = zip(*(literal.ifr_decoder(head, *clip, code=code, **literally) for clip in clips))
    assert min(margins) > 1e-6
    parameters = [p for name, p in head.named_parameters() if not name.startswith("pixel_decoder")]
    ours, theirs = [], []
    for i, outputs in enumerate(fast):
        for j, value in enumerate(outputs):
            expected = torch.stack([clip[i][j] for clip in slow])
            torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-9)
            weights = torch.randn(value.shape, generator=draws, dtype=value.dtype)
            ours.append((weights * value).sum())
            theirs.append((weights * expected).sum())
    grads = torch.autograd.grad(sum(ours), parameters + inputs)
    for grad, expected in zip(grads, torch.autograd.grad(sum(theirs), parameters + inputs)):
        torch.testing.assert_close(grad, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_decoder_is_the_literal_one_in_single_precision_with_the_same_masks(make_head, monkeypatch, seed):
    head, draws = make_head(seed, torch.float32)
    frames = make_frames(draws, 3, 16, dtype=torch.float32)
    masks, allowed_keys = [], ifr.allowed_keys
    monkeypatch.setattr(ifr, "allowed_keys", lambda *args: masks.append(allowed_keys(*args)) or masks[-1])
    with torch.no_grad():
        fast = mask_logits(head, frames, 1)
        slow, _ = literal.ifr_decoder(head, frames.mask_features, frames.memories, [mask[0] for mask in masks])
    for outputs, expected in zip(fast, slow):
        for value, other in zip(outputs, expected):
            torch.testing.assert_close(value[0], other, rtol=1e-4, atol=1e-4)  # processors round otherwise


def mask_logits(head, frames, num_clips):
    """Class and mask logits of every prediction."""
    layers = head.decode_layers(frames, num_clips)
    maps = frames.mask_features.unflatten(0, (num_clips, -1))
    return [(layer.cls_logits, torch.einsum("btnc,btchw->bnthw", layer.mask_embeds, maps)) for layer in layers]


def clips_of(frames, num_clips):
    split = [x.unflatten(0, (num_clips, -1)) for x in (frames.mask_features, *frames.memories)]
    return [(maps[0], maps[1:]) for maps in zip(*split)]


@pytest.mark.parametrize("method", ["mask2former", "ours"])
@pytest.mark.parametrize(
    ("num_frames", "stride", "num_clips"),
    [(2, 1, 3), (3, 2, 3), (4, 1, 3), (1, 1, 3), (1, 1, 1), (5, 5, 1), (16, 16, 1), (17, 17, 1), (40, 40, 1)],
)
def test_clips_that_share_frames_are_each_the_clip_alone_as_in_training(
    make_head, method, num_frames, stride, num_clips
):
    head, draws = make_head(method=method)
    frames = make_frames(draws, (num_clips - 1) * stride + num_frames, 16, (1, 2))
    together = head.decode_clips(head.levels(frames), num_frames, stride)
    assert together.mask_embeds.shape == (num_clips, num_frames, 6, 16)
    for b in range(num_clips):
        clip = slice(b * stride, b * stride + num_frames)
        alone = FrameFeatures(frames.mask_features[clip], [level[clip] for level in frames.memories])
        alone = head.decode_layers(alone, 1)[-1]  # with gradients
        torch.testing.assert_close(together.cls_logits[b], alone.cls_logits[0].detach(), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(together.mask_embeds[b], alone.mask_embeds[0].detach(), rtol=1e-5, atol=1e-5)


def test_chunks_of_frames_change_nothing(make_head, monkeypatch):
    head, draws = make_head()
    frames = make_frames(draws, 7, 16)
    whole = mask_logits(head, frames, 1)
    monkeypatch.setattr("ifrvis.models.ifr.FRAMES_AT_ONCE", 3)
    for outputs, expected in zip(mask_logits(head, frames, 1), whole):
        for value, other in zip(outputs, expected):
            torch.testing.assert_close(value, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("num_frames", [1, 7])
def test_places_and_times_add_up_to_the_hosts_code(num_frames):
    config = {"num_feats": 8, "normalize": True}
    host = MODELS.build({"type": "SinePositionalEncoding3D", **config})
    place = MODELS.build({"type": "SinePositionalEncoding", **config})
    expected = host(torch.zeros(1, num_frames, 3, 5, dtype=torch.bool))[0]
    places = place(torch.zeros(1, 3, 5, dtype=torch.bool))
    times = time_positions(num_frames, like=torch.zeros(16))
    torch.testing.assert_close(places + times[:, :, None, None], expected)
