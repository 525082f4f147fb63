"""Masks by dynamic convolutions (SeqFormer, Sec. 3.2; Tian et al., CondInst, Sec. 3.1).

Three 1x1 convolutions, whose parameters an instance query gives, read mask features at stride 8 and each cell's
distance to the instance's reference point in that frame.

Shape letters:
    *  any leading axes, frames last    N  instances    E  channels of mask features and of hidden layers
    h, w  height and width at stride 8    H, W  at stride 4

Mask features carry their geometry in front: in each cell width and height of the frame without padding and the cell's
centre (x, y), in pixels. A mask embedding is a reference point (x, y), relative to the frame without padding, and
the parameters: weights of the three layers, then their biases.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from mmdet.models.utils import aligned_bilinear
from torch import Tensor, nn
from torch.nn import functional as F

from ifrvis.models.decoding import MaskDecoder, full_precision
from ifrvis.models.seqformer.encoder import FINEST_STRIDE

GEOMETRY = 4  # channels


def num_parameters(channels: int) -> int:
    """Parameters of the three layers, E + 2 to E to E to 1: 169 for 8 channels."""
    return sum(_sizes(channels))


def _sizes(channels: int) -> list[int]:
    return [channels * (channels + 2), channels * channels, channels, channels, channels, 1]


def geometry(size: Sequence[int], shape: Sequence[int], *, like: Tensor) -> Tensor:
    """The channels in front of mask features of a `shape` (h, w): (4, h, w) of the device and dtype of `like`.

    `size` is height and width of the frame in pixels, before padding.
    """
    y, x = (like.new_tensor(FINEST_STRIDE) * (torch.arange(side).to(like) + 0.5) for side in shape)
    height, width = (like.new_full(tuple(shape), float(side)) for side in size[:2])
    return torch.stack([width, height, x.expand(*shape), y[:, None].expand(*shape)])


def dynamic_masks(embeds: Tensor, features: Tensor) -> Tensor:
    """Mask logits at stride 8: embeds (*, N, 2 + parameters) and features (*, 4 + E, h, w) to (*, N, h, w) float."""
    channels = features.shape[-3] - GEOMETRY
    references, parameters = embeds[..., :2], embeds[..., 2:]
    weights_1, weights_2, weights_3, bias_1, bias_2, bias_3 = parameters.split(_sizes(channels), -1)
    of_place, of_features = weights_1.unflatten(-1, (channels, channels + 2)).split([2, channels], -1)
    # What a reference adds is the same in every cell: one product serves all instances of a frame.
    frame_size = features[..., None, :2, 0, 0]
    bias_1 = bias_1 + (of_place * (references * frame_size)[..., None, :]).sum(-1)
    weights_1 = torch.cat([-of_place, of_features], -1).flatten(-3, -2)
    hidden = weights_1 @ features[..., 2:, :, :].flatten(-2) + bias_1.flatten(-2)[..., None]
    hidden = hidden.unflatten(-2, (-1, channels)).relu()
    hidden = (weights_2.unflatten(-1, (channels, channels)) @ hidden + bias_2[..., None]).relu()
    logits = weights_3[..., None, :] @ hidden + bias_3[..., None]
    return logits.flatten(-2).unflatten(-1, features.shape[-2:])


def upsampled(logits: Tensor) -> Tensor:
    """Twice the size, (N, h, w) to (N, H, W): bilinear with aligned corners, and a cell of border replicated."""
    return aligned_bilinear(logits[:, None], 2)[:, 0]


class DynamicMasks(MaskDecoder):
    """Masks of those three layers."""

    linear = False

    def logits(self, embeds: Tensor, features: Tensor) -> Tensor:
        """See `MaskDecoder`; at stride 8."""
        with torch.autocast(features.device.type, enabled=False):
            return dynamic_masks(full_precision(embeds), full_precision(features))

    def output(
        self, logits: Tensor, padded_size: Sequence[int], image_size: Sequence[int], output_size: Sequence[int]
    ) -> Tensor:
        """See `MaskDecoder`: from stride 4 to the output in one step, as the official code does.

        Without padding what is left beyond the frame is less than a cell, and it stays as there.
        """
        logits = upsampled(logits)
        height, width = (-(-side // 4) if side < padded else None for side, padded in zip(image_size, padded_size))
        logits = logits[:, None, :height, :width]
        return F.interpolate(logits, tuple(output_size), mode="bilinear", align_corners=False)[:, 0]


class MaskBranch(nn.Module):
    """Mask features, E channels, from the encoder's output at strides 32, 16 and 8."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        widths = [width, width, width, width, max(width // 4, channels), channels]
        self.convs = nn.ModuleList(nn.Conv2d(*pair, 3, padding=1) for pair in pairwise(widths))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """(F, C, h, w) of strides 8, 16 and 32 to (F, E, h, w) float, none negative."""
        first, *others = self.convs
        x = first(maps[-1]).relu()
        for conv, finer in zip(others, maps[-2::-1]):
            x = conv(F.interpolate(x, finer.shape[-2:], mode="nearest") + finer).relu()
        for conv in others[len(maps) - 1 :]:
            x = conv(x).relu()
        return x
