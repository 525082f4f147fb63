"""The host's nested configs, from the few numbers that vary between our models."""

import math
from typing import Any

from mmengine.config import ConfigDict

from ifrvis.options import WORDS


def _attention_cfg(width: int, num_heads: int, dropout: float = 0.0) -> dict[str, Any]:
    return {"embed_dims": width, "num_heads": num_heads, "dropout": dropout, "batch_first": True}


def ffn_cfg(width: int, feedforward_channels: int, dropout: float = 0.0) -> dict[str, Any]:
    """Config of a transformer layer's feed-forward network."""
    return {"embed_dims": width, "feedforward_channels": feedforward_channels, "ffn_drop": dropout}


def encoder_layer_cfg(
    width: int, num_levels: int, *, num_heads: int, num_points: int, feedforward_channels: int, dropout: float = 0.0
) -> dict[str, Any]:
    """Config of a layer of `DeformableDetrTransformerEncoder`."""
    attn = {**_attention_cfg(width, num_heads, dropout), "num_levels": num_levels, "num_points": num_points}
    return {"self_attn_cfg": attn, "ffn_cfg": ffn_cfg(width, feedforward_channels, dropout)}


def pixel_decoder_cfg(width: int, *, num_layers: int, **layer: int) -> ConfigDict:
    """Config of `MSDeformAttnPixelDecoder`; its group norm has fewer groups in thin models."""
    return ConfigDict(
        type="MSDeformAttnPixelDecoder",
        num_outs=3,
        norm_cfg={"type": "GN", "num_groups": math.gcd(32, width)},
        act_cfg={"type": "ReLU"},
        encoder={"num_layers": num_layers, "layer_cfg": encoder_layer_cfg(width, 3, **layer)},
        positional_encoding={"num_feats": width // 2, "normalize": True},
    )


def decoder_cfg(width: int, *, num_layers: int, num_heads: int, feedforward_channels: int) -> ConfigDict:
    """Config of `Mask2FormerTransformerDecoder`."""
    attn = _attention_cfg(width, num_heads)
    layer = {"self_attn_cfg": attn, "cross_attn_cfg": attn, "ffn_cfg": ffn_cfg(width, feedforward_channels)}
    return ConfigDict(num_layers=num_layers, layer_cfg=layer, return_intermediate=True)


def one_of(key: str, value: str) -> str:
    """The value of an option of a head; ValueError if it is none of those known."""
    known = WORDS[f"model.track_head.{key}"]
    if value not in known:
        raise ValueError(f"{key} must be {' or '.join(map(repr, known))}, got {value!r}; set it in model.track_head.")
    return value
