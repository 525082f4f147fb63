"""Names of other programs' weights to the host's, and the entries whose order differs.

Sources: Detectron2's Mask2Former (the original repository), MMDetection 2 and 3, torchvision, timm and the original
Swin. The host names a video model's head `track_head`, an image model's `panoptic_head`.

A Swin that merges patches by slicing orders the channels of four neighbours as (column, row, channel); the host unfolds
them as (channel, row, column). The linear layer and the norm between stages are reordered, nothing else.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from torch import Tensor

from ifrvis.errors import UserError

__all__ = ["Renamed", "to_host_names"]

Rules = Iterable[tuple[str, str]]

_HEAD_OF_MMDETECTION_2: Rules = (
    (r"^panoptic_head\.", "track_head."),
    (r"(transformer_decoder\.layers\.\d+)\.attentions\.0\.", r"\1.cross_attn."),
    (r"(transformer_decoder\.layers\.\d+)\.attentions\.1\.", r"\1.self_attn."),
    (r"(pixel_decoder\.encoder\.layers\.\d+)\.attentions\.0\.", r"\1.self_attn."),
    (r"(layers\.\d+)\.ffns\.0\.", r"\1.ffn."),
)
_ENCODER, _DECODER = "track_head.pixel_decoder", "track_head.transformer_decoder"
_HEAD_OF_ORIGINAL: Rules = (
    (r"^sem_seg_head\.pixel_decoder\.", "pixels."),
    (r"^pixels\.input_proj\.(\d)\.0\.", rf"{_ENCODER}.input_convs.\1.conv."),
    (r"^pixels\.input_proj\.(\d)\.1\.", rf"{_ENCODER}.input_convs.\1.gn."),
    (r"^pixels\.adapter_1\.norm\.", rf"{_ENCODER}.lateral_convs.0.gn."),
    (r"^pixels\.adapter_1\.", rf"{_ENCODER}.lateral_convs.0.conv."),
    (r"^pixels\.layer_1\.norm\.", rf"{_ENCODER}.output_convs.0.gn."),
    (r"^pixels\.layer_1\.", rf"{_ENCODER}.output_convs.0.conv."),
    (r"^pixels\.mask_features\.", rf"{_ENCODER}.mask_feature."),
    (r"^pixels\.transformer\.level_embed$", rf"{_ENCODER}.level_encoding.weight"),
    (r"^pixels\.transformer\.(encoder\.layers\.\d+)\.linear1\.", rf"{_ENCODER}.\1.ffn.layers.0.0."),
    (r"^pixels\.transformer\.(encoder\.layers\.\d+)\.linear2\.", rf"{_ENCODER}.\1.ffn.layers.1."),
    (r"^pixels\.transformer\.(encoder\.layers\.\d+)\.norm1\.", rf"{_ENCODER}.\1.norms.0."),
    (r"^pixels\.transformer\.(encoder\.layers\.\d+)\.norm2\.", rf"{_ENCODER}.\1.norms.1."),
    (r"^pixels\.transformer\.(encoder\.layers\.\d+\.self_attn)\.", rf"{_ENCODER}.\1."),
    (r"^sem_seg_head\.predictor\.", "predictor."),
    (r"^predictor\.transformer_cross_attention_layers\.", "cross."),
    (r"^predictor\.transformer_self_attention_layers\.", "self."),
    (r"^predictor\.transformer_ffn_layers\.", "ffn."),
    (r"^cross\.(\d+)\.norm\.", rf"{_DECODER}.layers.\1.norms.0."),
    (r"^self\.(\d+)\.norm\.", rf"{_DECODER}.layers.\1.norms.1."),
    (r"^ffn\.(\d+)\.norm\.", rf"{_DECODER}.layers.\1.norms.2."),
    (
        r"^cross\.(\d+)\.multihead_attn\.",
        rf"{_DECODER}.layers.\1.cross_attn.attn.",
    ),
    (r"^self\.(\d+)\.self_attn\.", rf"{_DECODER}.layers.\1.self_attn.attn."),
    (r"^ffn\.(\d+)\.linear1\.", rf"{_DECODER}.layers.\1.ffn.layers.0.0."),
    (r"^ffn\.(\d+)\.linear2\.", rf"{_DECODER}.layers.\1.ffn.layers.1."),
    (r"^predictor\.decoder_norm\.", rf"{_DECODER}.post_norm."),
    (r"^predictor\.(static_query|query_feat)\.", "track_head.query_feat."),
    (r"^predictor\.(query_embed|level_embed)\.", r"track_head.\1."),
    (r"^predictor\.class_embed\.", "track_head.cls_embed."),
    (r"^predictor\.mask_embed\.layers\.0\.", "track_head.mask_embed.0."),
    (r"^predictor\.mask_embed\.layers\.1\.", "track_head.mask_embed.2."),
    (r"^predictor\.mask_embed\.layers\.2\.", "track_head.mask_embed.4."),
)
_RESNET_OF_DETECTRON2: Rules = (
    (r"^stem\.", ""),
    (r"^res([2-5])\.", lambda found: f"layer{int(found[1]) - 1}."),  # type: ignore[list-item]
    (r"(^|\.)conv(\d)\.norm\.", r"\1bn\2."),
    (r"\.shortcut\.norm\.", ".downsample.1."),
    (r"\.shortcut\.", ".downsample.0."),
)
_SWIN: Rules = (
    (r"^patch_embed\.proj\.", "patch_embed.projection."),
    (r"^layers\.", "stages."),
    (r"\.attn\.", ".attn.w_msa."),
    (r"\.mlp\.fc1\.", ".ffn.layers.0.0."),
    (r"\.mlp\.fc2\.", ".ffn.layers.1."),
)
_SWIN_OF_TORCHVISION: Rules = (
    (r"^features\.0\.0\.", "patch_embed.projection."),
    (r"^features\.0\.2\.", "patch_embed.norm."),
    (r"^features\.([1357])\.", lambda found: f"stages.{int(found[1]) // 2}.blocks."),  # type: ignore[list-item]
    (r"^features\.([246])\.", lambda found: f"stages.{int(found[1]) // 2 - 1}.downsample."),  # type: ignore[list-item]
    (r"\.attn\.", ".attn.w_msa."),
    (r"\.mlp\.0\.", ".ffn.layers.0.0."),
    (r"\.mlp\.3\.", ".ffn.layers.1."),
)
_NO_WEIGHTS = re.compile(r"(^|\.)(relative_position_index|attn_mask|num_batches_tracked)$")


class Renamed(NamedTuple):
    """Weights under the host's names, and what was behind them."""

    source: str  # which program's names these were
    tensors: dict[str, Tensor]
    changed: set[str]  # host names of entries that had another name or order


def to_host_names(given: Mapping[str, Tensor]) -> Renamed:
    """Bring a checkpoint to the host's names and orders, the head under `track_head`.

    Raises:
        UserError: If its names are of no program that is known here.
    """
    if any(name.startswith(("panoptic_head.", "track_head.")) for name in given):
        return _renamed("MMDetection", given, lambda name: _apply(name, _HEAD_OF_MMDETECTION_2))
    if any(name.startswith("sem_seg_head.") for name in given):
        inside = {name.removeprefix("backbone."): each for name, each in given.items() if name.startswith("backbone.")}
        backbone = _backbone(inside)
        head = {name: each for name, each in given.items() if name.startswith("sem_seg_head.")}
        renamed = _renamed("the original Mask2Former", head, lambda name: _apply(name, _HEAD_OF_ORIGINAL))
        tensors, changed = renamed.tensors | backbone.tensors, renamed.changed | backbone.changed
        return Renamed(renamed.source, tensors, changed)
    return _backbone({name.removeprefix("backbone."): tensor for name, tensor in given.items()})


def _backbone(given: Mapping[str, Tensor]) -> Renamed:
    if "features.0.0.weight" in given:
        found = _renamed("torchvision's Swin", given, lambda name: _apply(name, _SWIN_OF_TORCHVISION))
        return _placed(_merging_reordered(found))
    if "patch_embed.proj.weight" in given:
        # timm merges patches at the beginning of a stage, the original at the end of the one before.
        shift = -1 if "layers.0.downsample.norm.weight" not in given else 0
        source = "timm's Swin" if shift else "the original Swin"
        return _placed(_merging_reordered(_renamed(source, given, lambda name: _swin_name(name, shift))))
    if "patch_embed.projection.weight" in given:
        return _placed(_renamed("MMDetection's Swin", given, str))
    if "stem.conv1.weight" in given:
        return _placed(_renamed("Detectron2's ResNet", given, lambda name: _apply(name, _RESNET_OF_DETECTRON2)))
    if "conv1.weight" in given and "layer1.0.conv1.weight" in given:
        return _placed(_renamed("a ResNet of torchvision, timm or MMDetection", given, str))
    raise UserError(
        f"Choose a COCO Mask2Former of MMDetection or of the original repository, or a Swin or ResNet of timm or "
        f"torchvision: the names of this checkpoint are of none of them, as {next(iter(given))!r}."
    )


def _renamed(source: str, given: Mapping[str, Tensor], rename: Callable[[str], str]) -> Renamed:
    names = {name: rename(name) for name in given if not _NO_WEIGHTS.search(name)}
    changed = {new for old, new in names.items() if old.replace("panoptic_head.", "track_head.") != new}
    return Renamed(source, {new: given[old] for old, new in names.items()}, changed)


def _apply(name: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def _swin_name(name: str, shift: int) -> str:
    name = re.sub(r"^layers\.(\d)\.downsample", lambda found: f"layers.{int(found[1]) + shift}.downsample", name)
    return _apply(name, _SWIN)


def _merging_reordered(renamed: Renamed) -> Renamed:
    merging = {name for name in renamed.tensors if ".downsample." in name}
    tensors = {name: _unfolded(each) if name in merging else each for name, each in renamed.tensors.items()}
    return renamed._replace(tensors=tensors, changed=renamed.changed | merging)


def _unfolded(tensor: Tensor) -> Tensor:
    """(..., 2 columns x 2 rows x C) to (..., C x 2 rows x 2 columns)."""
    if tensor.shape[-1] % 4:
        raise UserError(f"Download the weights again: a layer that merges patches has {tensor.shape[-1]} inputs.")
    return tensor.unflatten(-1, (2, 2, -1)).transpose(-1, -3).flatten(-3)


def _placed(renamed: Renamed) -> Renamed:
    """The same below `backbone`."""
    tensors = {f"backbone.{name}": tensor for name, tensor in renamed.tensors.items()}
    return Renamed(renamed.source, tensors, {f"backbone.{name}" for name in renamed.changed})
