"""Multi-scale deformable attention (Deformable DETR, Eq. 3) in the way that suits the device, on the host's weights.

Shape letters:
    B  frames    S  cells of all levels    A  attention heads    D  channels of a head
    Q  queries    L  levels    P  points of a head in a level
"""

import functools
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmcv.ops import MultiScaleDeformableAttention
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction
from torch import Tensor, nn
from torch.nn import functional as F

Shapes = Sequence[Sequence[int]] | Tensor  # height and width of each level
FRAMES_OF_OPERATOR = 64  # the most it takes at once on CUDA; it insists on a multiple of what it is told


class DeformableAttention(MultiScaleDeformableAttention):
    """The host's module, sampled by `sample`."""

    def forward(
        self,
        query: Tensor,
        *,
        value: Tensor,
        reference_points: Tensor,
        spatial_shapes: Tensor,
        identity: Tensor | None = None,
        query_pos: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        **unused: Any,
    ) -> Tensor:
        """As the host's, with batch first: (B, Q, C) to (B, Q, C)."""
        placed = query if query_pos is None else query + query_pos
        values = self.value_proj(value)
        if key_padding_mask is not None and (values.is_cuda or key_padding_mask.any()):  # a GPU would wait for the look
            values = values.masked_fill(key_padding_mask[..., None], 0.0)
        points = (self.num_levels, self.num_points)
        # Levels, points and (x, y) lie in one axis: broadcasting over the last two takes several times as long.
        offsets = self.sampling_offsets(placed).unflatten(-1, (self.num_heads, -1))
        sizes, references = (
            x.repeat_interleave(self.num_points, -2).flatten(-2) for x in (spatial_shapes.flip(-1), reference_points)
        )
        locations = references[:, :, None] + offsets / sizes.to(offsets)
        weights = self.attention_weights(placed).unflatten(-1, (self.num_heads, -1)).softmax(-1)
        values = values.unflatten(-1, (self.num_heads, -1))
        seen = sample(values, spatial_shapes, locations.unflatten(-1, (*points, 2)), weights.unflatten(-1, points))
        return self.dropout(self.output_proj(seen)) + (query if identity is None else identity)


@functools.cache
def operator_runs(device: torch.device) -> bool:
    """Whether mmcv's operator computes on a GPU; absent, it raises; made for other GPUs, it gives zeros."""
    shapes, start = torch.tensor([[4, 4]], device=device), torch.zeros(1, dtype=torch.long, device=device)
    points = torch.full((1, 16, 1, 1, 1, 2), 0.5, device=device)
    try:
        ones = torch.ones(1, 16, 1, 8, device=device)
        seen = MultiScaleDeformableAttnFunction.apply(ones, shapes, start, points, torch.ones_like(points[..., 0]), 1)
        runs = bool((seen == 1).all())
    except RuntimeError as error:  # NotImplementedError, too
        logging.getLogger("ifrvis").warning("attention runs without its compiled operator, slowly: %s", error)
        return False
    return runs


def adopt(model: nn.Module) -> None:
    """Make every deformable attention inside a host's model one of ours: the host's layers name its class in code."""
    for module in model.modules():
        if type(module) is MultiScaleDeformableAttention:
            assert module.batch_first
            module.__class__ = DeformableAttention


def sample(values: Tensor, spatial_shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted bilinear samples of all levels; arguments and result as of `sample_levels`.

    On CUDA by the host's operator. On a CPU by `sample_levels` without gradients, in a tenth of the time of the host's
    form; by `sample_maps` in training, where the gradient of `sample_levels` takes longer. On a GPU without operator by
    `sample_maps`, too.
    """
    if values.is_cuda and operator_runs(values.device):
        shapes = torch.as_tensor(spatial_shapes, device=values.device)
        starts = torch.cat([shapes.new_zeros(1), shapes.prod(1).cumsum(0)[:-1]])
        parts = zip(*(x.contiguous().split(FRAMES_OF_OPERATOR) for x in (values, locations, weights)))
        seen = [
            MultiScaleDeformableAttnFunction.apply(some, shapes, starts, *of_some, FRAMES_OF_OPERATOR)
            for some, *of_some in parts
        ]
        return torch.cat(seen) if len(seen) > 1 else seen[0]
    if values.is_cuda or torch.is_grad_enabled():
        return sample_maps(values, spatial_shapes, locations, weights)
    return sample_levels(values, spatial_shapes, locations, weights)


def sample_maps(values: Tensor, spatial_shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted bilinear samples by torch's own sampling, level by level; arguments and result as of `sample_levels`.

    A head's queries lie side by side, so that no operation has a short last axis.
    """
    sizes = [(int(height), int(width)) for height, width in spatial_shapes]
    grids = (2.0 * locations - 1.0).permute(3, 0, 2, 4, 1, 5).flatten(1, 2)  # (L, B A, P, Q, 2)
    shares = weights.permute(3, 0, 2, 4, 1).flatten(1, 2)[:, :, None]  # (L, B A, 1, P, Q)
    maps = values.permute(0, 2, 3, 1).flatten(0, 1).split([height * width for height, width in sizes], 2)
    seen = [
        (F.grid_sample(of_level.unflatten(2, size), grid, align_corners=False) * share).sum(2)
        for of_level, size, grid, share in zip(maps, sizes, grids, shares)
    ]
    return sum(seen[1:], seen[0]).unflatten(0, (len(values), -1)).permute(0, 3, 1, 2).flatten(2)


def sample_levels(values: Tensor, spatial_shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted bilinear samples of all levels, as one sum over weighted cells for each query and head.

    Args:
        values: (B, S, A, D) float, level after level.
        spatial_shapes: Height and width of L levels; S cells in all.
        locations: (B, Q, A, L, P, 2) float, (x, y) in [0, 1]; a level is zero beyond its borders.
        weights: (B, Q, A, L, P) float.

    Returns:
        (B, Q, A D) float.
    """
    num_heads, num_queries, num_points = values.shape[2], *locations.shape[1:5:3]
    sizes = [(int(height), int(width)) for height, width in spatial_shapes]
    padded = _with_borders(values, sizes)
    # In cells of the padded map, where the first cell's centre lies at 1; what is beyond falls on the border.
    scale = locations.new_tensor([side[::-1] for side in sizes]).repeat_interleave(num_points, 0).flatten()
    places = (locations.flatten(-3) * scale).add_(0.5).clamp_(min=0)
    places = torch.minimum(places, scale + 1, out=places)
    corner = places.floor()
    x, y = places.sub_(corner).unflatten(-1, (-1, 2)).unbind(-1)
    left, top = corner.unflatten(-1, (-1, 2)).unbind(-1)
    rows = torch.tensor([width + 2 for _, width in sizes], dtype=torch.int32).repeat_interleave(num_points)
    before = np.cumsum([0, *((height + 2) * (width + 2) for height, width in sizes[:-1])])
    first = torch.from_numpy(before).repeat_interleave(num_points).int()
    first = first + (torch.arange(len(values), dtype=torch.int32) * padded.shape[1])[:, None, None, None]
    cell = (top * rows).add_(left).int().add_(first).mul_(num_heads)
    cell.add_(torch.arange(num_heads, dtype=torch.int32)[:, None])
    cells = torch.empty(*cell.shape, 4, dtype=torch.int32)
    for c, step in enumerate((torch.zeros_like(rows), torch.ones_like(rows), rows, rows + 1)):
        torch.add(cell, step * num_heads, out=cells[..., c])
    shares = _shared_out(weights.flatten(-2), x, y)
    bags = len(values) * num_queries * num_heads
    seen = F.embedding_bag(
        cells.view(bags, -1), padded.view(-1, values.shape[3]), mode="sum", per_sample_weights=shares.view(bags, -1)
    )
    return seen.view(len(values), num_queries, -1)


def _with_borders(values: Tensor, sizes: Sequence[Sequence[int]]) -> Tensor:
    """Every level with a border of zeros, (B, cells, A, D), and room for the corners that lie below the last one."""
    num_cells = [(height + 2) * (width + 2) for height, width in sizes]
    padded = values.new_zeros(len(values), sum(num_cells) + sizes[-1][1] + 3, *values.shape[2:])
    levels = values.split([height * width for height, width in sizes], 1)
    rooms = padded[:, : sum(num_cells)].split(num_cells, 1)
    for room, level, (height, width) in zip(rooms, levels, sizes):
        inner = room.unflatten(1, (height + 2, width + 2))[:, 1:-1, 1:-1]
        inner.copy_(level.unflatten(1, (height, width)))
    return padded


def _shared_out(weights: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Bilinear shares (..., 4) of weights for four corners, row by row; `x` and `y` are what lies beyond the first."""
    shares = weights.new_empty(*weights.shape, 4)
    lower = weights * y
    upper = weights - lower
    torch.mul(upper, x, out=shares[..., 1])
    torch.sub(upper, shares[..., 1], out=shares[..., 0])
    torch.mul(lower, x, out=shares[..., 3])
    torch.sub(lower, shares[..., 3], out=shares[..., 2])
    return shares
