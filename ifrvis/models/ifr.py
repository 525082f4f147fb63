"""Inter-Frame Recurrent attention: the paper's method as a head of MMDetection, and its decoder layer (Sec. 3).

Each instance has a clip-level query, which carries its class, and a frame-level query in every frame, which carries
its mask there. A frame-level query grows out of the one of the frame before; what does not depend on that frame is
computed for many frames at once.

Shape letters:
    B  clips    T  frames of a clip    N  instance queries    C  channels    L  keys of a frame
    A  attention heads    D  channels of a head
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from mmcv.cnn.bricks.transformer import FFN
from mmdet.registry import MODELS
from torch import Tensor, nn

from ifrvis.models.attention import FRAMES_AT_ONCE, Attention, Memory, additive_mask, allowed_keys
from ifrvis.models.host_configs import ffn_cfg, one_of
from ifrvis.models.mask2former import Mask2FormerVISHead


@MODELS.register_module()
class IFRHead(Mask2FormerVISHead):
    """Masks from frame-level queries, classes from clip-level queries, and losses across frames."""

    def __init__(
        self,
        *args: Any,  # as of `Mask2FormerVISHead`
        lambda_e: float,  # weight of the cross-frame mask losses (Eq. 6 and 7)
        cross_frame_sum: str,  # "sum" over the other frames as printed, or their "mean"; they differ for T > 2
        # Let the frame-level queries of a frame grow out of those of the frame before (Q^{t-1} in Eq. 2); else out of
        # the clip-level queries in every frame.
        recurrence: bool,
        cross_residual: bool,  # add to what cross-attention saw of a frame the queries that asked; Eq. 2 prints no sum
        # "all" frame-level queries of a clip are keys of a clip-level query, or its "own", one a frame.
        temporal_keys: str,
        **kwargs: Any,  # as of `Mask2FormerVISHead`
    ) -> None:
        super().__init__(*args, **kwargs)
        # A code that all keys of a frame share would shift all their scores alike: the softmax removes it.
        if kwargs["key_positions"] != "2d":
            came = kwargs["key_positions"]
            raise ValueError(f"key_positions must be '2d', got {came!r}; set it in model.track_head.")
        own_keys = one_of("temporal_keys", temporal_keys) == "own"
        layer = {**kwargs["decoder"], "recurrence": recurrence, "residual": cross_residual, "own_keys": own_keys}
        num_layers = layer.pop("num_layers")
        layers = nn.ModuleList(IFRDecoderLayer(self.width, **layer) for _ in range(num_layers))
        # Of the host's names, as far as the host has them.
        self.transformer_decoder = nn.ModuleDict({"layers": layers, "post_norm": nn.LayerNorm(self.width)})
        self._name_layers()
        is_mean = one_of("cross_frame_sum", cross_frame_sum) == "mean"
        self.supervision = replace(self.supervision, lambda_e=lambda_e, cross_frame_mean=is_mean)

    @contextmanager
    def without_recurrence(self) -> Iterator[None]:
        """Let the clip-level query take the place of Q^{t-1} while the block lasts, however the head was trained."""
        layers: list[Any] = list(self._layers())
        trained = layers[0].recurrence
        try:
            for layer in layers:
                layer.recurrence = False
            yield
        finally:
            for layer in layers:
                layer.recurrence = trained

    def _decode_layer(self, layer: nn.Module, queries: Tensor, memory: Memory, embeds: Tensor) -> tuple[Tensor, Tensor]:
        return layer(queries, self.query_embed.weight, memory, embeds)


class IFRDecoderLayer(nn.Module):
    """One layer (Sec. 3.1, Eq. 1 to 3): recurrence over frames, then aggregation over all; options as of `IFRHead`."""

    def __init__(
        self, width: int, num_heads: int, feedforward_channels: int, recurrence: bool, residual: bool, own_keys: bool
    ) -> None:
        super().__init__()
        self.recurrence, self.residual, self.own_keys = recurrence, residual, own_keys
        attention = partial(nn.MultiheadAttention, width, num_heads)
        self.cross_attn: Any = nn.ModuleDict({"attn": attention()})  # under the host's names
        self.self_attn: Any = nn.ModuleDict({"attn": attention()})
        self.ffn = FFN(**ffn_cfg(width, feedforward_channels))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.temporal_attn, self.clip_attn = attention(), attention()
        self.clip_ffn = FFN(**ffn_cfg(width, feedforward_channels))
        self.clip_norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))

    def forward(self, queries: Tensor, query_pos: Tensor, memory: Memory, embeds: Tensor) -> tuple[Tensor, Tensor]:
        """Clip-level queries (B, N, C) (Q_i+1) and frame-level queries (B, T, N, C) (Q_i^t).

        Of clip-level queries (B, N, C) (Q_i), `query_pos` (N, C), one embedding for both groups, the frames of the
        layer's level (F_t), and embeddings (B, T, N, C) of the last masks, inside which a query attends (M).
        """
        frame_queries = self.recur(queries, query_pos, memory, embeds)
        return self.aggregate(queries, query_pos, frame_queries), frame_queries

    def recur(self, queries: Tensor, query_pos: Tensor, memory: Memory, embeds: Tensor) -> Tensor:
        """Frame-level queries of every frame (Eq. 2 and 3); arguments as in `forward`."""
        results: list[Tensor] = []
        cross, own = Attention(self.cross_attn.attn), Attention(self.self_attn.attn)
        for start in range(0, memory.num_frames, FRAMES_AT_ONCE):
            stop = min(start + FRAMES_AT_ONCE, memory.num_frames)
            part = memory.part(start, stop)
            key, value = cross.memory(part)
            bias = additive_mask(allowed_keys(embeds[:, start:stop], part)[:, :, None], key.dtype)
            query = cross.query(queries + query_pos)[:, None].expand(-1, stop - start, -1, -1, -1)
            attended = self._seen(queries[:, None], cross.attend(query, key, value, bias))
            of_frames = zip(*(x.unbind(1) for x in (attended, own.key(attended + query_pos), own.value(attended))))
            for t, (clip_half, clip_key, clip_value) in enumerate(of_frames):
                if results and self.recurrence:
                    previous = results[-1]
                    seen = cross.attend(cross.query(previous + query_pos), key[:, t], value[:, t], bias[:, t])
                    half = self._seen(previous, seen)
                else:  # from a copy of the clip-level query, as Q^0 is: both halves of Eq. 2 are the same
                    half = clip_half
                results.append(self._mix(own, half, query_pos, clip_key, clip_value))
        return torch.stack(results, 1)

    def _seen(self, queries: Tensor, seen: Tensor) -> Tensor:
        return self.norms[0](queries + seen if self.residual else seen)

    def _mix(self, own: Attention, half: Tensor, query_pos: Tensor, clip_key: Tensor, clip_value: Tensor) -> Tensor:
        """Self-attention over both groups of a frame, computed for the half that is kept (Eq. 3), and the FFN."""
        placed = half + query_pos
        key = torch.cat([own.key(placed), clip_key], -2)
        value = torch.cat([own.value(half), clip_value], -2)
        half = self.norms[1](half + own.attend(own.query(placed), key, value))
        return self.norms[2](self.ffn(half))

    def aggregate(self, queries: Tensor, query_pos: Tensor, frame_queries: Tensor) -> Tensor:
        """Clip-level queries from frame-level queries, then among themselves: (B, N, C)."""
        keys, values, asking = frame_queries + query_pos, frame_queries, queries + query_pos
        if self.own_keys:
            keys, values = keys.transpose(1, 2), values.transpose(1, 2)
            seen = Attention(self.temporal_attn)(asking[:, :, None], keys, values)[:, :, 0]
        else:
            seen = Attention(self.temporal_attn)(asking, keys.flatten(1, 2), values.flatten(1, 2))
        queries = self.clip_norms[0](queries + seen)
        placed = queries + query_pos
        queries = self.clip_norms[1](queries + Attention(self.clip_attn)(placed, placed, queries))
        return self.clip_norms[2](self.clip_ffn(queries))
