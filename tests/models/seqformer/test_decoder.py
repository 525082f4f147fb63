import dataclasses

import pytest
import torch
from models.seqformer import literal
from models.seqformer.conftest import SHAPES

from ifrvis.models.seqformer.decoder import ClipMemory
from ifrvis.models.seqformer.encoder import Layout

CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def maps_of(tokens):
    """Frames of levels (h, w, C)."""
    lengths = [rows * columns for rows, columns in SHAPES]
    return [[part.view(*shape, -1) for part, shape in zip(frame.split(lengths), SHAPES)] for frame in tokens]


@pytest.mark.parametrize("num_frames", [1, 3])
@pytest.mark.parametrize("sizes", [[(32, 48), (32, 48)], [(32, 48), (19, 33)]], ids=["no padding", "padding"])
def test_decoder_is_the_literal_one_in_values_and_gradients(make_head, make_memory, draws, num_frames, sizes):
    head, memory = make_head(), make_memory(2, num_frames, sizes)
    tokens, embeds = memory.tokens[0].requires_grad_(), head.query_embed.weight
    fast = list(head.decoder(embeds, memory))
    split = tokens.split(num_frames)
    slow = [
        literal.decoder(head.decoder, embeds, maps_of(frames), valid)
        for frames, valid in zip(split, memory.layout.valid)
    ]
    ours, theirs = [], []
    for i, state in enumerate(fast):
        for j, value in enumerate(state):
            expected = torch.stack([clip[i][j] for clip in slow])
            torch.testing.assert_close(value, expected, **CLOSE)
            weights = torch.randn(value.shape, generator=draws, dtype=value.dtype)
            ours.append((weights * value).sum())
            theirs.append((weights * expected).sum())
    inputs = [tokens, embeds, *head.decoder.parameters()]
    for grad, expected in zip(torch.autograd.grad(sum(ours), inputs), torch.autograd.grad(sum(theirs), inputs)):
        torch.testing.assert_close(grad, expected, **CLOSE)


def test_permuting_queries_permutes_predictions(make_head, make_memory, draws):
    head, memory, order = make_head(), make_memory(1, 3), torch.randperm(6, generator=draws)
    before = list(head.decoder(head.query_embed.weight, memory))
    for state, after in zip(before, head.decoder(head.query_embed.weight[order], memory)):
        torch.testing.assert_close(state.queries[:, order], after.queries)
        torch.testing.assert_close(state.boxes[:, :, order], after.boxes)


def test_permuting_frames_permutes_boxes_and_leaves_queries(make_head, make_memory, draws):
    head, memory, order = make_head(), make_memory(1, 4), torch.randperm(4, generator=draws)
    shuffled = dataclasses.replace(memory, tokens=[memory.tokens[0][order]])
    states = (head.decoder(head.query_embed.weight, each) for each in (memory, shuffled))
    for state, after in zip(*states):
        torch.testing.assert_close(state.queries, after.queries)
        torch.testing.assert_close(state.boxes[:, order], after.boxes)


@pytest.mark.parametrize("gradients", [True, False])
def test_a_clip_in_a_batch_is_the_clip_alone(make_head, make_memory, monkeypatch, gradients):
    monkeypatch.setattr("ifrvis.models.seqformer.decoder.FRAMES_AT_ONCE", 4)
    sizes = [(32, 48), (19, 33), (30, 20)]
    head, memory = make_head(), make_memory(3, 3, sizes)
    with torch.set_grad_enabled(gradients):
        together = list(head.decoder(head.query_embed.weight, memory))[-1]
        for b in range(3):
            layout = Layout.of(SHAPES, sizes[b : b + 1])
            clip = ClipMemory([memory.tokens[0][3 * b : 3 * b + 3]], layout, 3, 3)
            alone = list(head.decoder(head.query_embed.weight, clip))[-1]
            for value, expected in zip(together, alone):
                torch.testing.assert_close(value[b], expected[0], **CLOSE)


@pytest.mark.parametrize(("num_frames", "stride"), [(2, 1), (3, 2), (4, 1), (1, 1)])
def test_clips_that_share_frames_are_each_the_clip_alone(make_head, make_memory, num_frames, stride):
    head, memory = make_head(), make_memory(3, num_frames, stride=stride)
    with torch.no_grad():
        together = list(head.decoder(head.query_embed.weight, memory))[-1]
    for b in range(3):
        frames = memory.tokens[0][b * stride : b * stride + num_frames]
        alone = list(head.decoder(head.query_embed.weight, ClipMemory([frames], memory.layout, num_frames, num_frames)))
        for value, expected in zip(together, alone[-1]):
            torch.testing.assert_close(value[b], expected[0].detach(), **CLOSE)


def test_levels_may_lie_apart_and_frames_come_in_chunks(make_head, make_memory, monkeypatch):
    head, memory = make_head(), make_memory(1, 7)
    whole = list(head.decoder(head.query_embed.weight, memory))[-1]
    parts = memory.tokens[0].split([rows * columns for rows, columns in SHAPES], 1)
    monkeypatch.setattr("ifrvis.models.seqformer.decoder.FRAMES_AT_ONCE", 3)
    with torch.no_grad():
        chunked = list(head.decoder(head.query_embed.weight, dataclasses.replace(memory, tokens=parts)))[-1]
    for value, expected in zip(chunked, whole):
        torch.testing.assert_close(value, expected.detach(), **CLOSE)


def test_references_are_detached_and_loss_sees_the_box_of_each_layer(make_head, make_memory):
    head, memory = make_head(), make_memory(1, 2)
    first, second, _ = head.decoder(head.query_embed.weight, memory)
    (grad,) = torch.autograd.grad(first.boxes.sum(), head.decoder.reference_points.weight, retain_graph=True)
    assert grad.any()
    assert not second.references.requires_grad
    assert torch.equal(second.references, first.boxes[..., :2])


def test_padding_is_what_nearest_resizing_of_a_mask_says():
    for size in ((19, 33), (32, 48), (1, 48), (30, 20)):
        layout = Layout.of(SHAPES, [size])
        mask = torch.ones(1, 1, 32, 48)
        mask[..., : size[0], : size[1]] = 0
        expected = [torch.nn.functional.interpolate(mask, shape)[0].bool() for shape in SHAPES]
        found = layout.padding(torch.device("cpu")) or [torch.zeros(1, *shape, dtype=torch.bool) for shape in SHAPES]
        assert all(torch.equal(a, b) for a, b in zip(found, expected))
