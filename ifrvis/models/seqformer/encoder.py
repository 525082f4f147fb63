"""From the backbone's features to tokens of four levels, each frame on its own (SeqFormer, Sec. 3.2).

Shape letters:
    B  clips    F  frames of all clips, clip after clip    V  levels    C  channels    L  tokens of a frame, all levels
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.models.layers import DeformableDetrTransformerEncoder, SinePositionalEncoding
from mmengine.config import ConfigDict
from torch import Tensor, nn

from ifrvis.models.deformable import adopt
from ifrvis.models.host_configs import encoder_layer_cfg

FINEST_STRIDE = 8
Shape = tuple[int, int]  # height and width


@dataclass(frozen=True)
class Layout:
    """Where the levels lie in a row of tokens, and what of them is no padding."""

    shapes: Sequence[Shape]  # of V levels, the finest first, in cells
    valid: Sequence[Sequence[Shape]]  # B clips' V pairs of rows and columns that are no padding, in cells

    @staticmethod
    def of(shapes: Sequence[Shape], sizes: Sequence[Sequence[int]]) -> "Layout":
        """The layout of clips whose frames have these sizes, in pixels, before padding."""
        padded = [FINEST_STRIDE * side for side in shapes[0]]
        return Layout(shapes, [[_valid_cells(shape, size[:2], padded) for shape in shapes] for size in sizes])

    def ratios(self, like: Tensor) -> Tensor:
        """The parts of width and height that are no padding: (B, V, 2)."""
        return (like.new_tensor(self.valid) / like.new_tensor(self.shapes)).flip(-1)

    def padding(self, device: torch.device) -> list[Tensor] | None:
        """V of (B, h, w) bool, True in padding; None without any."""
        if all(tuple(clip) == tuple(self.shapes) for clip in self.valid):
            return None
        levels = []
        for shape, of_clips in zip(self.shapes, zip(*self.valid)):
            rows, columns = (torch.arange(side, device=device) for side in shape)
            valid = torch.tensor(of_clips, device=device)
            levels.append((rows >= valid[:, :1])[:, :, None] | (columns >= valid[:, 1:])[:, None])
        return levels


def _valid_cells(shape: Shape, size: Sequence[int], padded: Sequence[int]) -> Shape:
    """Rows and columns whose first pixel is no padding, as nearest resizing of a padding mask finds them."""
    axes = zip(shape, size, padded)
    rows, columns = (sum(i * whole // cells < side for i in range(cells)) for cells, side, whole in axes)
    return rows, columns


class PixelEncoder(nn.Module):
    """Projections of the backbone's levels of strides 8, 16 and 32, positions and deformable self-attention."""

    def __init__(self, in_channels: Sequence[int], width: int, *, num_layers: int, **layer: Any) -> None:
        super().__init__()
        last = in_channels[-1]
        convs = [nn.Conv2d(channels, width, 1) for channels in in_channels]
        convs.append(nn.Conv2d(last, width, 3, stride=2, padding=1))  # of the backbone's map, not of its projection
        groups = math.gcd(32, width // 2)  # of two channels at least: a thin model's last level may be one cell
        self.input_convs = nn.ModuleList(convs)
        self.input_norms = nn.ModuleList(nn.GroupNorm(groups, width) for _ in convs)
        self.level_embed = nn.Parameter(torch.zeros(len(convs), width))
        self.positions = SinePositionalEncoding(width // 2, normalize=True, offset=-0.5)
        layer_cfg = ConfigDict(encoder_layer_cfg(width, len(convs), **layer))
        self.encoder = DeformableDetrTransformerEncoder(num_layers, layer_cfg)
        adopt(self.encoder)

    def forward(self, feats: Sequence[Tensor], sizes: Sequence[Sequence[int]]) -> tuple[Tensor, Layout]:
        """Tokens (F, L, C) and their layout, of levels (F, C_i, H_i, W_i).

        `sizes` are height and width of B clips' frames in pixels, before padding.
        """
        projections = zip(self.input_convs, self.input_norms, [*feats, feats[-1]])
        maps = [norm(conv(level)) for conv, norm, level in projections]
        layout = Layout.of([(level.shape[2], level.shape[3]) for level in maps], sizes)
        tokens = torch.cat([level.flatten(2).transpose(1, 2) for level in maps], 1)
        times = len(tokens) // len(sizes)
        shapes = torch.tensor(layout.shapes, device=tokens.device)
        padding = layout.padding(tokens.device)
        positions = self._positions(layout, padding, tokens)
        encoded = self.encoder(
            query=tokens,
            query_pos=positions.repeat_interleave(times, 0) if len(positions) > 1 else positions,
            key_padding_mask=None if padding is None else flat(padding).repeat_interleave(times, 0),
            spatial_shapes=shapes,
            level_start_index=torch.cat([shapes.new_zeros(1), shapes.prod(1).cumsum(0)[:-1]]),
            valid_ratios=layout.ratios(tokens).repeat_interleave(times, 0),
        )
        return encoded, layout

    def _positions(self, layout: Layout, padding: Sequence[Tensor] | None, like: Tensor) -> Tensor:
        """(B, L, C), or (1, L, C) where no clip has padding."""
        masks = padding or [torch.zeros(1, *shape, dtype=torch.bool, device=like.device) for shape in layout.shapes]
        codes = [self.positions(mask).flatten(2).transpose(1, 2).to(like) for mask in masks]
        return torch.cat([code + level for code, level in zip(codes, self.level_embed)], 1)


def flat(levels: Sequence[Tensor]) -> Tensor:
    """V of (B, h, w) as one (B, L)."""
    return torch.cat([level.flatten(1) for level in levels], 1)
