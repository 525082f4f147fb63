"""Masked multi-head attention (Eq. 1), in steps, on the weights of `torch.nn.MultiheadAttention`.

The module's own forward pass materialises the attention weights and projects keys again for every call; here keys
and values of all frames are projected once, and the fused kernel does the rest. Checkpoints keep their names.

Shape letters:
    *  any leading axes, one attention each    N  queries    L  keys, of one frame where there is T    C  channels
    A  attention heads    D  channels of a head    B  clips    T  frames of a clip
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ifrvis.models.decoding import FrameFeatures, full_precision

__all__ = ["Attention", "Memory", "allowed_keys", "decoder_layer", "resize_mask_features"]


@dataclass(frozen=True)
class Memory:
    """One level of the pyramid, as keys and values: (features + level) with and without positions.

    Attributes:
        features: (B, T, L, C) float.
        level: (C,) float, the level's embedding.
        positions: (T, L, C) float, or (1, L, C) where they know no time.
    """

    features: Tensor
    level: Tensor
    positions: Tensor

    def joined(self) -> "Memory":
        """All frames of a clip as one, (B, 1, T L, C)."""
        positions = self.positions.expand(self.features.shape[1], -1, -1)
        return Memory(self.features.flatten(1, 2)[:, None], self.level, positions.flatten(0, 1)[None])

    def frames(self, start: int, stop: int) -> "Memory":
        """Some of the frames."""
        positions = self.positions if len(self.positions) == 1 else self.positions[start:stop]
        return Memory(self.features[:, start:stop], self.level, positions)


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
        """Projected keys and values of all frames in one product, two (B, T, A, L, D).

        By linearity level and positions are projected once, not for every frame.
        """
        bias = self._memory_bias + self._memory_weight @ memory.level
        key, value = F.linear(memory.features, self._memory_weight, bias).chunk(2, -1)
        return self._heads(key + F.linear(memory.positions, self._key_weight)), self._heads(value)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None = None) -> Tensor:
        """Scaled dot-product attention and the output projection (Eq. 1).

        Args:
            query: (*, A, N, D) float, projected.
            key: (*, A, L, D) float, projected.
            value: (*, A, L, D) float, projected.
            allowed: (*, 1, N, L) bool, at least one True a row, or 0 and minus infinity to add; None allows all. The
                product printed in Eq. (1) would leave masked keys a share of the attention.

        Returns:
            (*, N, C) float.
        """
        axes = query.shape[:-3]  # the fused kernels take exactly one leading axis
        if len(axes) != 1:
            query, key, value = (x.flatten(0, -4) for x in (query, key, value))
            allowed = None if allowed is None else allowed.flatten(0, -4)
        y = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        return self._attn.out_proj(y.transpose(1, 2).flatten(2)).unflatten(0, axes)

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Projection and attention, all keys allowed: (*, N, C), (*, L, C), (*, L, C) to (*, N, C)."""
        return self.attend(self.query(query), self.key(key), self.value(value))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self._attn.num_heads, self._attn.head_dim)).transpose(-2, -3)


def resize_mask_features(frames: FrameFeatures, num_clips: int) -> list[Tensor]:
    """Mask features at the size of every level, (B, T, C, H_l, W_l), for attention masks.

    Resizing is linear, so a product with these is the resized product, at a fraction of the cost.
    """
    features = full_precision(frames.mask_features.detach())
    maps = features.flatten(0, 1)[:, None]  # single channels: the kernel for many would copy its whole input first
    sizes = [memory.shape[-2:] for memory in frames.memories]
    resized = [F.interpolate(maps, size, mode="bilinear", align_corners=False) for size in sizes]
    return [level.view(num_clips, -1, features.shape[1], *level.shape[-2:]) for level in resized]


@torch.no_grad()
def allowed_keys(mask_embeds: Tensor, resized: Tensor) -> Tensor:
    """Where queries may attend: inside their predicted mask, everywhere if that is empty.

    Args:
        mask_embeds: (B, G, N, C) float; one for each frame, G = T, or one for all, G = 1.
        resized: (B, T, C, H_l, W_l) float32 mask features at the size of the keys.

    Returns:
        (B, G, N, T L / G) bool, at least one True a row.
    """
    grouped = resized.flatten(3).unflatten(1, (mask_embeds.shape[1], -1))
    with torch.autocast(resized.device.type, enabled=False):
        logits = torch.einsum("bgnc,bgtcl->bgntl", full_precision(mask_embeds), grouped)
    logits = logits.flatten(3)
    empty = logits.amax(-1, keepdim=True) <= 0
    return logits > torch.zeros_like(logits[..., :1]).masked_fill(empty, -torch.inf)


def decoder_layer(layer: nn.Module, queries: Tensor, query_pos: Tensor, memory: Memory, allowed: Tensor) -> Tensor:
    """The host's decoder layer through the fused attention.

    Args:
        layer: The host's, without dropout.
        queries: (B, N, C) float.
        query_pos: (N, C) float.
        memory: Keys of all frames joined.
        allowed: (B, 1, N, T L) bool.

    Returns:
        (B, N, C) float.
    """
    cross = Attention(layer.cross_attn.attn)
    key, value = (x[:, 0] for x in cross.memory(memory))
    queries = layer.norms[0](queries + cross.attend(cross.query(queries + query_pos), key, value, allowed))
    placed = queries + query_pos
    queries = layer.norms[1](queries + Attention(layer.self_attn.attn)(placed, placed, queries))
    return layer.norms[2](layer.ffn(queries))
