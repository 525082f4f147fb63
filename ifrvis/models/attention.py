"""Masked multi-head attention (Eq. 1), in steps, on the weights of `torch.nn.MultiheadAttention`.

The module's own forward pass materialises the attention weights and projects keys again for every call; here keys
and values of all frames are projected once, and the fused kernel does the rest. Checkpoints keep their names.

Shape letters:
    *  any leading axes, one attention each    N  queries    L  keys, of one frame where there is T    C  channels
    A  attention heads    D  channels of a head    B  clips    T  frames of a clip    F  frames of all clips, each once
    H_l, W_l  size of a level of the pyramid, L = H_l W_l
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from mmdet.models.layers import Mask2FormerTransformerDecoderLayer
from torch import Tensor, nn
from torch.nn import functional as F

from ifrvis.models.decoding import full_precision

FRAMES_AT_ONCE = 16  # keys and values of a long video do not fit


@dataclass(frozen=True)
class Level:
    """What frames bring to one level of the pyramid; each frame's part is independent of the other frames."""

    tokens: Tensor  # (F, L, C) float, projected features
    mask_features: Tensor  # (F, C, H_l, W_l) float32, resized to the level, for attention masks

    def __getitem__(self, frames: slice) -> "Level":
        return Level(self.tokens[frames], self.mask_features[frames])


@dataclass(frozen=True)
class Memory:
    """One level of the pyramid as a decoder reads it: B clips of T frames, which may share frames."""

    frames: Level  # of all clips, each once: F = (B - 1) stride + T
    level: Tensor  # (C,) float, the level's embedding
    positions: Tensor  # (L, C) float
    times: Tensor | None  # (T, C) float, the part of the positions that depends on the frame; None if there is none
    num_frames: int  # T
    stride: int  # how many frames after one clip the next begins; T where clips share none

    def part(self, start: int, stop: int) -> "Memory":
        """Some of the frames of every clip."""
        rest = len(self.frames.tokens) - self.num_frames
        times = None if self.times is None else self.times[start:stop]
        frames = self.frames[start : rest + stop]
        return Memory(frames, self.level, self.positions, times, stop - start, self.stride)

    def of_clips(self, x: Tensor) -> Tensor:
        """What was computed once a frame, (F, ...), by clip: (B, T, ...); a view."""
        if self.stride == self.num_frames:
            return x.unflatten(0, (-1, self.num_frames))
        return x.unfold(0, self.num_frames, self.stride).movedim(-1, 1)


class Attention:
    """The steps of an `nn.MultiheadAttention`, whose weights are taken apart once.

    The gradient of every slice of a weight is as large as the whole, so slicing at each use would cost more than some
    of the products.
    """

    def __init__(self, attn: nn.MultiheadAttention) -> None:
        self._attn = attn
        sizes = [attn.embed_dim, 2 * attn.embed_dim]
        (self._query_weight, self._memory_weight), (self._query_bias, self._memory_bias) = (
            x.split(sizes) for x in (attn.in_proj_weight, attn.in_proj_bias)
        )
        self._key_weight, self._value_weight = self._memory_weight.chunk(2)
        self._key_bias, self._value_bias = self._memory_bias.chunk(2)

    def query(self, x: Tensor) -> Tensor:
        """Projected queries: (*, N, C) to (*, A, N, D)."""
        return self._heads(F.linear(x, self._query_weight, self._query_bias))

    def key(self, x: Tensor) -> Tensor:
        """Projected keys: (*, L, C) to (*, A, L, D)."""
        return self._heads(F.linear(x, self._key_weight, self._key_bias))

    def value(self, x: Tensor) -> Tensor:
        """Projected values: (*, L, C) to (*, A, L, D)."""
        return self._heads(F.linear(x, self._value_weight, self._value_bias))

    def memory(self, memory: Memory) -> tuple[Tensor, Tensor]:
        """Projected keys and values of all frames in one product, two (B, T, A, L, D); keys lack `times`.

        By linearity level and positions are projected once, not for every frame.
        """
        bias = self._memory_bias + self._memory_weight @ memory.level
        key, value = F.linear(memory.frames.tokens, self._memory_weight, bias).chunk(2, -1)
        key = key + F.linear(memory.positions, self._key_weight)
        return memory.of_clips(self._heads(key)), memory.of_clips(self._heads(value))

    def joined_memory(self, memory: Memory) -> tuple[Tensor, Tensor]:
        """Projected keys and values, all frames of a clip as one: two (B, A, T L, D)."""
        tokens = memory.of_clips(memory.frames.tokens).flatten(1, 2)
        places = memory.positions if memory.times is None else memory.positions + memory.times[:, None]
        places = places.expand(memory.num_frames, -1, -1).flatten(0, 1)
        bias = self._memory_bias + self._memory_weight @ memory.level
        key, value = F.linear(tokens, self._memory_weight, bias).chunk(2, -1)
        return self._heads(key + F.linear(places, self._key_weight)), self._heads(value)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None = None) -> Tensor:
        """Scaled dot-product attention, (*, A, N or L, D) float, and the output projection (Eq. 1): (*, N, C) float.

        `allowed` is (*, 1, N, L) bool, at least one True a row, or an additive mask; None allows all. The product
        printed in Eq. (1) would leave masked keys a share of the attention.
        """
        axes = query.shape[:-3]  # the fused kernels take exactly one leading axis
        if len(axes) == 2 and allowed is not None and _share_frames(key):
            frames = zip(query.unbind(1), key.unbind(1), value.unbind(1), allowed.unbind(1))
            return torch.stack([self.attend(*frame) for frame in frames], 1)
        if len(axes) != 1:
            query, key, value = (x.flatten(0, -4) for x in (query, key, value))
            allowed = None if allowed is None else allowed.flatten(0, -4)
        y = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        return self._attn.out_proj(y.transpose(1, 2).flatten(2)).unflatten(0, axes)

    def attend_joined(self, query: Tensor, memory: Memory, allowed: Tensor) -> Tensor:
        """`attend` over all frames of a clip together, with keys and values of few heads at a time: (B, N, C) float.

        A frame is projected once, however many clips have it; all heads of a long video would not fit. `query` is
        (B, A, N, D), projected, `allowed` (B, 1, N, T L) bool, at least one True a row.
        """
        bias, num_heads = additive_mask(allowed, query.dtype), self._attn.num_heads
        at_once = max(1, num_heads * FRAMES_AT_ONCE // max(len(memory.frames.tokens), FRAMES_AT_ONCE))
        results = []
        for first in range(0, num_heads, at_once):
            heads = slice(first, min(first + at_once, num_heads))
            key, value = self._joined_heads(memory, heads)
            results.append(F.scaled_dot_product_attention(query[:, heads], key, value, attn_mask=bias))
        return self._attn.out_proj(torch.cat(results, 1).transpose(1, 2).flatten(2))

    def _joined_heads(self, memory: Memory, heads: slice) -> tuple[Tensor, Tensor]:
        """Projected keys and values of some heads, all frames of a clip as one: two (B, heads, T L, D)."""
        width = self._attn.head_dim
        rows = slice(heads.start * width, heads.stop * width)
        of_key, of_value = self._key_weight[rows], self._value_weight[rows]
        key = F.linear(memory.frames.tokens, of_key, self._key_bias[rows] + of_key @ memory.level)
        value = F.linear(memory.frames.tokens, of_value, self._value_bias[rows] + of_value @ memory.level)
        key = memory.of_clips(key + F.linear(memory.positions, of_key))
        if memory.times is not None:
            key = key + F.linear(memory.times, of_key)[:, None]
        split = (x.unflatten(-1, (-1, width)).permute(0, 3, 1, 2, 4) for x in (key, memory.of_clips(value)))
        key, value = (x.flatten(2, 3) for x in split)
        return key, value

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Projection and attention, all keys allowed: (*, N, C), (*, L, C), (*, L, C) to (*, N, C)."""
        return self.attend(self.query(query), self.key(key), self.value(value))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self._attn.num_heads, self._attn.head_dim)).transpose(-2, -3)


def time_positions(num_frames: int, *, like: Tensor) -> Tensor:
    """The sine code of time of the host's `SinePositionalEncoding3D`, which it adds to that of place: (T, C).

    T normalises the times; C, device and dtype are those of `like`.
    """
    width = like.shape[-1]
    times = torch.arange(1, num_frames + 1, device=like.device) / (num_frames + 1e-6) * (2 * math.pi)
    periods = 10000 ** (2 * (torch.arange(width, device=like.device) // 2) / width)
    angles = times[:, None] / periods
    return torch.stack([angles[:, 0::2].sin(), angles[:, 1::2].cos()], 2).flatten(1).to(like)


def resize_mask_features(features: Tensor, size: Sequence[int]) -> Tensor:
    """Mask features at the size of a level, (F, C, *size) float32, for attention masks.

    Resizing is linear, so a product with these is the resized product, at a fraction of the cost.
    """
    features = full_precision(features.detach())
    maps = features.flatten(0, 1)[:, None]  # single channels: the kernel for many would copy its whole input first
    resized = F.interpolate(maps, tuple(size), mode="bilinear", align_corners=False)
    return resized.view(*features.shape[:2], *size)


def additive_mask(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where a query may attend, the lowest number elsewhere: kernels would make it of bools at every call.

    Arithmetic, since a fill under a mask takes three times as long.
    """
    return allowed.to(dtype).sub_(1.0).mul_(torch.finfo(dtype).max)


def _share_frames(of_clips: Tensor) -> bool:
    """Whether clips of a (B, T, ...) view overlap in memory, so that to flatten it would copy every shared frame."""
    return len(of_clips) > 1 and of_clips.stride(0) < of_clips.shape[1] * of_clips.stride(1)


@torch.no_grad()
def allowed_keys(mask_embeds: Tensor, memory: Memory) -> Tensor:
    """Where queries may attend, (B, G, N, T L / G) bool: inside their predicted mask, everywhere if that is empty.

    Mask embeddings are (B, G, N, C) float, one for each frame, G = T, or one for all, G = 1; mask features have the
    size of the keys.
    """
    resized = memory.of_clips(memory.frames.mask_features)
    grouped = resized.flatten(3).unflatten(1, (mask_embeds.shape[1], -1))
    embeds = full_precision(mask_embeds)
    with torch.autocast(resized.device.type, enabled=False):
        if _share_frames(grouped):
            logits = torch.stack([e @ m for e, m in zip(embeds.unbind(1), grouped[:, :, 0].unbind(1))], 1)
        else:
            logits = torch.einsum("bgnc,bgtcl->bgntl", embeds, grouped).flatten(3)
    empty = logits.amax(-1, keepdim=True) <= 0
    return logits > torch.zeros_like(logits[..., :1]).masked_fill(empty, -torch.inf)


@torch.no_grad()
def allowed_frame_by_frame(mask_embeds: Tensor, memory: Memory) -> Tensor:
    """`allowed_keys` for one embedding a query, (B, 1, N, C), without logits of all frames at once: (B, 1, N, T L)."""
    resized = memory.of_clips(memory.frames.mask_features)
    with torch.autocast(resized.device.type, enabled=False):
        embeds = full_precision(mask_embeds[:, 0])
        allowed = torch.cat([embeds @ frame.flatten(2) > 0 for frame in resized.unbind(1)], -1)
    allowed |= ~allowed.any(-1, keepdim=True)
    return allowed[:, None]


def decoder_layer(
    layer: Mask2FormerTransformerDecoderLayer, queries: Tensor, query_pos: Tensor, memory: Memory, embeds: Tensor
) -> Tensor:
    """The host's decoder layer, without dropout: by the fused attention in training, in bounded memory otherwise.

    (B, N, C) queries, (N, C) positions and (B, 1, N, C) embeddings of the last masks to (B, N, C) float.
    """
    cross = Attention(layer.cross_attn.attn)
    query = cross.query(queries + query_pos)
    if torch.is_grad_enabled():
        seen = cross.attend(query, *cross.joined_memory(memory), allowed_keys(embeds, memory))
    else:
        seen = cross.attend_joined(query, memory, allowed_frame_by_frame(embeds, memory))
    queries = layer.norms[0](queries + seen)
    placed = queries + query_pos
    queries = layer.norms[1](queries + Attention(layer.self_attn.attn)(placed, placed, queries))
    return layer.norms[2](layer.ffn(queries))
