"""The decoder with query decomposition (SeqFormer, Sec. 3.2).

An instance has one query for the clip and a box query in every frame. The box query says where to look in its frame;
what is seen there goes to both, and the instance query takes the frames' mean under weights that the box queries give.
Boxes are refined from layer to layer, in each frame.

Shape letters:
    B  clips    T  frames of a clip    F  frames of all clips, each once    Q  instance queries    C  channels
    A  attention heads    V  levels    P  points of a head in a level    L  tokens of a frame, all levels
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from mmcv.cnn.bricks.transformer import FFN
from mmcv.ops import MultiScaleDeformableAttention
from mmdet.models.layers import MLP, inverse_sigmoid
from torch import Tensor, nn
from torch.nn import functional as F

from ifrvis.models.attention import FRAMES_AT_ONCE, Attention
from ifrvis.models.deformable import sample
from ifrvis.models.host_configs import ffn_cfg
from ifrvis.models.seqformer.encoder import Layout, flat


@dataclass(frozen=True)
class ClipMemory:
    """Tokens of F = (B - 1) stride + T frames, as a decoder of B clips of T frames reads them."""

    tokens: Sequence[Tensor]  # of the frames: (F, L, C) float, in one part or in some that lie side by side along L
    layout: Layout  # where the levels lie; of B clips, or of one if all clips have its size
    num_frames: int  # T
    stride: int  # how many frames after one clip the next begins; T where clips share none

    @property
    def num_clips(self) -> int:
        """B."""
        return (len(self.tokens[0]) - self.num_frames) // self.stride + 1

    def parts(self) -> Iterator[tuple[slice, list[int]]]:
        """Groups of frames, and which rows of (B T, ...) belong to them, equally many to each frame, in its order."""
        num_all, num_clips, num_frames = len(self.tokens[0]), self.num_clips, self.num_frames
        if num_clips > 1 and self.stride < num_frames:
            for frame in range(num_all):
                times = [(clip, frame - clip * self.stride) for clip in range(num_clips)]
                yield slice(frame, frame + 1), [clip * num_frames + t for clip, t in times if 0 <= t < num_frames]
            return
        step = num_all if torch.is_grad_enabled() else FRAMES_AT_ONCE
        for start in range(0, num_all, step):
            stop = min(start + step, num_all)
            yield slice(start, stop), list(range(start, stop))


class FrameAttention(MultiScaleDeformableAttention):
    """Deformable attention to single frames, steered by box queries, whose values two kinds of queries share."""

    def __init__(self, width: int, num_heads: int, num_levels: int, num_points: int) -> None:
        super().__init__(width, num_heads, num_levels, num_points, dropout=0.0, batch_first=True)
        self.output_proj_box = nn.Linear(width, width)

    def forward(self, queries: Tensor, references: Tensor, memory: ClipMemory) -> Tensor:
        """What is sampled in each frame, before either output projection: (B, T, Q, C).

        Box queries with their position are (B, T or 1, Q, C), `references` (B, T, Q, 2 or 4) in [0, 1], centre or box
        in the frame without padding.
        """
        places = self._places(queries, references, memory.layout)
        shape = (self.num_heads, self.num_levels * self.num_points)
        weights = self.attention_weights(queries).unflatten(-1, shape).softmax(-1).unflatten(-1, places.shape[4:6])
        places, weights = places.flatten(0, 1), weights.expand(places.shape[:-1]).flatten(0, 1)
        seen, order = [], []
        for frames, rows in memory.parts():
            values = self._values(memory, frames)
            of_rows = (x if len(rows) == len(x) else x[rows] for x in (places, weights))
            of_frames = [x.reshape(len(values), -1, *x.shape[2:]) for x in of_rows]
            seen.append(sample(values, memory.layout.shapes, *of_frames).reshape(len(rows), *queries.shape[2:]))
            order += rows
        found = torch.cat(seen) if len(seen) > 1 else seen[0]
        if order != sorted(order):
            found = found[torch.tensor(order).argsort().to(found.device)]
        return found.unflatten(0, references.shape[:2])

    def _places(self, queries: Tensor, references: Tensor, layout: Layout) -> Tensor:
        """Sampling points relative to the padded frame: (B, T, Q, A, V, P, 2)."""
        shape = (self.num_heads, self.num_levels, self.num_points, 2)
        offsets = self.sampling_offsets(queries).unflatten(-1, shape)
        ratios = layout.ratios(references)[:, None, None, None, :, None]  # (B, 1, 1, 1, V, 1, 2)
        placed = references[..., None, None, None, :]
        if references.shape[-1] == 2:
            return placed * ratios + offsets / offsets.new_tensor(layout.shapes).flip(-1)[:, None]
        return placed[..., :2] * ratios + offsets / self.num_points * (placed[..., 2:] * ratios) * 0.5

    def _values(self, memory: ClipMemory, frames: slice) -> Tensor:
        """Projected tokens of some frames, zero in padding: (frames, L, A, D)."""
        parts = [part[frames] for part in memory.tokens]
        values = self.value_proj(torch.cat(parts, 1) if len(parts) > 1 else parts[0])
        padding = memory.layout.padding(values.device)
        if padding is not None:
            of_clips = flat(padding)
            of_frames = of_clips.repeat_interleave(len(memory.tokens[0]) // len(of_clips), 0)[frames]
            values = values.masked_fill(of_frames[..., None], 0.0)
        return values.unflatten(-1, (self.num_heads, -1))


class SelfAttention(nn.MultiheadAttention):
    """Self-attention among the queries of a clip or a frame, whose weights are dropped at random in training."""

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__(width, num_heads)
        self.weight_dropout = nn.Dropout(dropout)  # a module, so that clips can draw each for itself

    def forward(self, queries: Tensor, positions: Tensor) -> Tensor:  # type: ignore[override]
        """(*, Q, C) and (Q, C) to (*, Q, C)."""
        steps, placed = Attention(self), queries + positions
        query, key, value = steps.query(placed), steps.key(placed), steps.value(queries)
        if not (self.training and self.weight_dropout.p):
            return steps.attend(query, key, value)
        weights = (query @ key.transpose(-2, -1) / self.head_dim**0.5).softmax(-1)
        return self.out_proj((self.weight_dropout(weights) @ value).transpose(-3, -2).flatten(-2))


class DecoderLayer(nn.Module):
    """One layer; `dropout` is the probability of all its dropouts."""

    def __init__(
        self, width: int, num_levels: int, *, num_heads: int, num_points: int, feedforward_channels: int, dropout: float
    ) -> None:
        super().__init__()
        self.cross_attn = FrameAttention(width, num_heads, num_levels, num_points)
        self.time_weight = nn.Linear(width, 1)
        self.self_attn = SelfAttention(width, num_heads, dropout)
        self.self_attn_box = SelfAttention(width, num_heads, dropout)
        ffn = ffn_cfg(width, feedforward_channels, dropout)
        self.ffn, self.ffn_box = FFN(**ffn), FFN(**ffn)
        self.norms, self.norms_box = (nn.ModuleList(nn.LayerNorm(width) for _ in range(3)) for _ in range(2))
        self.dropouts, self.dropouts_box = (nn.ModuleList(nn.Dropout(dropout) for _ in range(2)) for _ in range(2))

    def forward(
        self, queries: Tensor, box_queries: Tensor, positions: Tensor, references: Tensor, memory: ClipMemory
    ) -> tuple[Tensor, Tensor]:
        """Instance queries (B, Q, C) and box queries (B, T, Q, C), of their like.

        Box queries enter as (B, 1, Q, C) where all frames have the same; `positions` (Q, C) are of both, `references`
        (B, T, Q, 2 or 4) in [0, 1].
        """
        queries = self.norms[0](queries + self.dropouts[0](self.self_attn(queries, positions)))
        own = self.self_attn_box(box_queries, positions)
        box_queries = self.norms_box[0](box_queries + self.dropouts_box[0](own))
        seen = self.cross_attn(box_queries + positions, references, memory)
        of_boxes = self.dropouts_box[1](self.cross_attn.output_proj_box(seen))
        box_queries = self.norms_box[2](self.ffn_box(self.norms_box[1](box_queries + of_boxes)))
        times = self.time_weight(box_queries).softmax(1)
        # The weights add up to one, so the projection may come after the mean.
        summed = self.cross_attn.output_proj((seen * times).sum(1))
        queries = self.norms[1](queries + self.dropouts[1](summed))
        return self.norms[2](self.ffn(queries)), box_queries


class LayerState(NamedTuple):
    """What a layer leaves."""

    queries: Tensor  # (B, Q, C) float
    boxes: Tensor  # (B, T, Q, 4) float in [0, 1], as centre and size
    references: Tensor  # (B, T, Q, 2) float in [0, 1], the centres that entered the layer


class Decoder(nn.Module):
    """The stack of layers with the refinement of boxes; arguments as `DecoderLayer`, and `num_layers`."""

    def __init__(self, width: int, num_levels: int, *, num_layers: int, **layer: Any) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(width, num_levels, **layer) for _ in range(num_layers))
        self.reference_points = nn.Linear(width, 2)
        self.box_mlps = nn.ModuleList(MLP(width, width, 4, 3) for _ in range(num_layers))

    def forward(self, embeds: Tensor, memory: ClipMemory) -> Iterator[LayerState]:
        """What each layer leaves, of (Q, 2 C) positions and start of the queries."""
        positions, start = embeds.chunk(2, 1)
        queries = start.expand(memory.num_clips, -1, -1)
        box_queries = queries[:, None]
        references = self.reference_points(positions).sigmoid()
        references = references.expand(memory.num_clips, memory.num_frames, -1, -1)
        for layer, mlp in zip(self.layers, self.box_mlps):
            queries, box_queries = layer(queries, box_queries, positions, references, memory)
            base = F.pad(inverse_sigmoid(references, eps=1e-5), (0, 4 - references.shape[-1]))  # the first has no size
            boxes = (mlp(box_queries) + base).sigmoid()
            yield LayerState(queries, boxes, references[..., :2])
            references = boxes.detach()
