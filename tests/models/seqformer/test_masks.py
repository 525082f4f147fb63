import math

import pytest
import torch
from models.seqformer import literal

from ifrvis.models.seqformer.masks import DynamicMasks, MaskBranch, dynamic_masks, geometry, num_parameters, upsampled

SHAPE, SIZE = (4, 5), (29, 37)


def random_masks(draws, num_frames, channels):
    """Embeddings (T, N, 2 + parameters), features with geometry (T, 4 + E, h, w)."""
    parameters = torch.randn(3, num_parameters(channels), generator=draws, dtype=torch.float64)
    references = torch.rand(num_frames, 3, 2, generator=draws, dtype=torch.float64)
    features = torch.randn(num_frames, channels, *SHAPE, generator=draws, dtype=torch.float64)
    where = geometry(SIZE, SHAPE, like=features).expand(num_frames, -1, -1, -1)
    embeds = torch.cat([references, parameters.expand(num_frames, -1, -1)], -1)
    return embeds, torch.cat([where, features], 1)


def test_eight_channels_have_169_parameters():
    assert num_parameters(8) == 169


@pytest.mark.parametrize("channels", [8, 3])
def test_masks_are_the_literal_ones_in_values_and_gradients(draws, channels):
    embeds, features = random_masks(draws, 2, channels)
    embeds.requires_grad_(), features.requires_grad_()
    fast = dynamic_masks(embeds, features)
    slow = torch.stack(
        [
            torch.stack([literal.dynamic_mask(embed[2:], embed[:2], maps[4:], SIZE) for embed in of_frame])
            for of_frame, maps in zip(embeds, features)
        ]
    )
    torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-9)
    weights = torch.randn(fast.shape, generator=draws, dtype=fast.dtype)
    grads = torch.autograd.grad((weights * fast).sum(), [embeds, features])
    expected = torch.autograd.grad((weights * slow).sum(), [embeds, features])
    torch.testing.assert_close(grads[0], expected[0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(grads[1][:, 4:], expected[1][:, 4:], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (3, 5)])
def test_upsampling_is_the_literal_one(draws, shape):
    logits = torch.randn(2, *shape, generator=draws, dtype=torch.float64)
    expected = torch.stack([literal.upsampled(each) for each in logits])
    torch.testing.assert_close(upsampled(logits), expected, rtol=1e-12, atol=1e-12)


def test_an_embedding_of_zeros_is_an_empty_mask(draws):
    embeds, features = random_masks(draws, 1, 8)
    assert not DynamicMasks().logits(torch.zeros_like(embeds), features).any()


def test_a_mask_can_say_that_cells_lie_near_its_reference():
    """Weights by hand: 16 - |dx| - |dy| of a reference at pixel (20, 12), in cells whose centres are 4, 12, 20, ..."""
    weights_1 = torch.zeros(8, 10)
    weights_1[:4, :2] = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    weights_3 = torch.tensor([-1.0, -1, -1, -1, 0, 0, 0, 0])
    zeros = torch.zeros(8)
    parameters = [weights_1.flatten(), torch.eye(8).flatten(), weights_3, zeros, zeros, torch.tensor([16.0])]
    embeds = torch.cat([torch.tensor([20 / 40, 12 / 24]), *parameters])[None]
    where = geometry((24, 40), (3, 5), like=embeds)
    logits = DynamicMasks().logits(embeds, torch.cat([where, torch.zeros(8, 3, 5)]))
    assert logits[0].tolist() == [[-8, 0, 8, 0, -8], [0, 8, 16, 8, 0], [-8, 0, 8, 0, -8]]


def test_output_crops_what_is_padding_and_goes_to_the_frame_in_one_step(draws):
    logits = torch.randn(2, 4, 8, generator=draws)
    whole = DynamicMasks().output(logits, (29, 61), (29, 61), (58, 122))
    expected = torch.nn.functional.interpolate(upsampled(logits)[:, None], (58, 122), mode="bilinear")[:, 0]
    assert torch.equal(whole, expected)
    cropped = DynamicMasks().output(logits, (32, 64), (29, 40), (58, 80))
    expected = torch.nn.functional.interpolate(upsampled(logits)[:, None, :, :10], (58, 80), mode="bilinear")[:, 0]
    assert torch.equal(cropped, expected)


def test_mask_features_are_five_convolutions_down_to_eight_channels(draws):
    branch = MaskBranch(32, 8)
    assert [tuple(conv.weight.shape[:2]) for conv in branch.convs] == [(32, 32)] * 3 + [(8, 32), (8, 8)]
    maps = [torch.randn(1, 32, *shape, generator=draws) for shape in ((5, 7), (3, 4), (2, 2))]
    x = branch.convs[0](maps[2]).relu()
    for conv, finer in ((branch.convs[1], maps[1]), (branch.convs[2], maps[0])):
        rows = [[math.floor(i * x.shape[2] / finer.shape[2]) for i in range(finer.shape[2])]]
        columns = [math.floor(j * x.shape[3] / finer.shape[3]) for j in range(finer.shape[3])]
        x = conv(x[:, :, rows[0]][..., columns] + finer).relu()
    x = branch.convs[4](branch.convs[3](x).relu()).relu()
    torch.testing.assert_close(branch(maps), x)
