"""Names of other programs' weights to the host's, and the entries whose order differs.

Sources: Detectron2's Mask2Former (the original repository), MMDetection 2 and 3, SeqFormer, torchvision, timm and the
original Swin. The host names a video model's head `track_head`, an image model's `panoptic_head`.

A Swin that merges patches by slicing orders the channels of four neighbours as (column, row, channel); the host unfolds
them as (channel, row, column). The linear layer and the norm between stages are reordered, nothing else.
"""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor

from ifrvis.errors import UserError

Rules = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]

_HEAD_OF_MMDETECTION_2: Rules = (
    (r"^panoptic_head\.", "track_head."),
    (r"(transformer_decoder\.layers\.\d+)\.attentions\.0\.", r"\1.cross_attn."),
    (r"(transformer_decoder\.layers\.\d+)\.attentions\.1\.", r"\1.self_attn."),
    (r"(pixel_decoder\.encoder\.layers\.\d+)\.attentions\.0\.", r"\1.self_attn."),
    (r"(layers\.\d+)\.ffns\.0\.", r"\1.ffn."),
)
_FFN: Rules = (
    (r"\.linear1(_box|)\.", r".ffn\1.layers.0.0."),
    (r"\.linear2(_box|)\.", r".ffn\1.layers.1."),
)
# An encoder's norms lie by themselves, in the order of the layer.
_ENCODER_NORMS = (r"(encoder\.layers\.\d+)\.norm(\d)\.", lambda found: f"{found[1]}.norms.{int(found[2]) - 1}.")
_ENCODER, _DECODER = "track_head.pixel_decoder", "track_head.transformer_decoder"
_HEAD_OF_ORIGINAL: Rules = (
    (r"^sem_seg_head\.(?!predictor\.)(?:pixel_decoder\.)*", "pixels."),  # old files leave it out, or have it twice
    (r"^pixels\.input_proj\.(\d)\.0\.", rf"{_ENCODER}.input_convs.\1.conv."),
    (r"^pixels\.input_proj\.(\d)\.1\.", rf"{_ENCODER}.input_convs.\1.gn."),
    (r"^pixels\.adapter_1\.norm\.", rf"{_ENCODER}.lateral_convs.0.gn."),
    (r"^pixels\.adapter_1\.", rf"{_ENCODER}.lateral_convs.0.conv."),
    (r"^pixels\.layer_1\.norm\.", rf"{_ENCODER}.output_convs.0.gn."),
    (r"^pixels\.layer_1\.", rf"{_ENCODER}.output_convs.0.conv."),
    (r"^pixels\.mask_features\.", rf"{_ENCODER}.mask_feature."),
    (r"^pixels\.transformer\.level_embed$", rf"{_ENCODER}.level_encoding.weight"),
    (r"^pixels\.transformer\.encoder\.", rf"{_ENCODER}.encoder."),
    _ENCODER_NORMS,
    (r"^sem_seg_head\.predictor\.", "predictor."),
    (r"^predictor\.transformer_cross_attention_layers\.", "cross."),
    (r"^predictor\.transformer_self_attention_layers\.", "self."),
    (r"^predictor\.transformer_ffn_layers\.", "ffn."),
    (r"^cross\.(\d+)\.norm\.", rf"{_DECODER}.layers.\1.norms.0."),
    (r"^self\.(\d+)\.norm\.", rf"{_DECODER}.layers.\1.norms.1."),
    (r"^ffn\.(\d+)\.norm\.", rf"{_DECODER}.layers.\1.norms.2."),
    (r"^(cross|self)\.(\d+)\.(?:multihead|self)_attn\.", rf"{_DECODER}.layers.\2.\1_attn.attn."),
    (r"^ffn\.", rf"{_DECODER}.layers."),
    *_FFN,
    (r"^predictor\.decoder_norm\.", rf"{_DECODER}.post_norm."),
    (r"^predictor\.(static_query|query_feat)\.", "track_head.query_feat."),
    (r"^predictor\.(query_embed|level_embed)\.", r"track_head.\1."),
    (r"^predictor\.class_embed\.", "track_head.cls_embed."),
    (r"^predictor\.mask_embed\.layers\.(\d)\.", lambda found: f"track_head.mask_embed.{2 * int(found[1])}."),
)
_TRANSFORMER = r"^detr\.transformer\."
_SEQFORMER: Rules = (
    (r"^detr\.backbone\.0\.(body\.)?", "backbone."),
    (rf"{_TRANSFORMER}level_embed$", "track_head.pixel_encoder.level_embed"),
    (rf"{_TRANSFORMER}reference_points\.", "track_head.decoder.reference_points."),
    (rf"{_TRANSFORMER}encoder\.layers\.", "track_head.pixel_encoder.encoder.layers."),
    (rf"{_TRANSFORMER}decoder\.layers\.", "track_head.decoder.layers."),
    _ENCODER_NORMS,
    (  # the cross-attention's norm lies after the other's
        r"(decoder\.layers\.\d+)\.norm(\d)(_box)?\.",
        lambda found: f"{found[1]}.norms{found[3] or ''}.{(1, 0, 2)[int(found[2]) - 1]}.",
    ),
    *_FFN,
    (r"\.time_attention_weights\.", ".time_weight."),
    (r"^detr\.bbox_embed\.", "track_head.decoder.box_mlps."),
    (r"^detr\.class_embed\.", "track_head.cls_embed."),
    (r"^detr\.query_embed\.", "track_head.query_embed."),
    (r"^detr\.input_proj\.(\d)\.0\.", r"track_head.pixel_encoder.input_convs.\1."),
    (r"^detr\.input_proj\.(\d)\.1\.", r"track_head.pixel_encoder.input_norms.\1."),
    (r"^controller\.", "track_head.controller."),
    (r"^mask_head\.dcn\.", "track_head.mask_branch.convs.2."),
    (r"^mask_head\.lay(\d)\.", lambda found: f"track_head.mask_branch.convs.{(3, 4, 0, 1)[int(found[1]) - 1]}."),
)
_RESNET_OF_DETECTRON2: Rules = (
    (r"^stem\.", ""),
    (r"^res([2-5])\.", lambda found: f"layer{int(found[1]) - 1}."),
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
    (r"^features\.([1357])\.", lambda found: f"stages.{int(found[1]) // 2}.blocks."),
    (r"^features\.([246])\.", lambda found: f"stages.{int(found[1]) // 2 - 1}.downsample."),
    (r"\.attn\.", ".attn.w_msa."),
    (r"\.mlp\.0\.", ".ffn.layers.0.0."),
    (r"\.mlp\.3\.", ".ffn.layers.1."),
)


VIDEO_MODEL = "a video model of MMDetection, or of a run"


class Renamed(NamedTuple):
    """Weights under the host's names, and what was behind them."""

    source: str  # which program's names these were
    tensors: dict[str, Tensor]
    changed: set[str]  # host names of entries that had another name or order


def to_host_names(given: Mapping[str, Tensor]) -> Renamed:
    """Bring a checkpoint to the host's names and orders, the head under `track_head`; UserError if nobody knows its
    names.
    """
    if all(name.startswith("module.") for name in given):  # of several GPUs
        given = {name.removeprefix("module."): tensor for name, tensor in given.items()}
    originals = {_apply(name, _SEQFORMER): name for name in given} if "detr.query_embed.weight" in given else {}
    given = {new: given[old] for new, old in originals.items()} or given
    inside = {name.removeprefix("backbone.") for name in given}
    source, rules, shift = _backbone_rules(inside, given)
    if any(name.startswith("sem_seg_head.") for name in given):
        source = "the original Mask2Former"
    elif any(name.startswith("panoptic_head.") for name in given):
        source = "MMDetection"
    elif originals:
        source = "SeqFormer"
    elif any(name.startswith("track_head.") for name in given):
        source = VIDEO_MODEL
    tensors, changed = {}, set()
    for old, tensor in given.items():
        new = _renamed(old, rules, shift)
        if new in tensors:
            raise UserError(f"Leave one of two weights in the checkpoint: {old} and another are both {new}.")
        slices = ".downsample." in new and rules in (_SWIN, _SWIN_OF_TORCHVISION)
        tensors[new] = _unfolded(tensor) if slices else tensor
        before = originals.get(old, old)
        if slices or new.removeprefix("backbone.") != before.removeprefix("backbone.").replace(
            "panoptic_head", "track_head"
        ):
            changed.add(new)
    return Renamed(source, tensors, changed)


def _backbone_rules(inside: set[str], given: Mapping[str, Tensor]) -> tuple[str, Rules, int]:
    """Whose backbone it is, how its names change, and where it merges patches: timm at the beginning of a stage."""
    if "features.0.0.weight" in inside:
        return "torchvision's Swin", _SWIN_OF_TORCHVISION, 0
    if "patch_embed.proj.weight" in inside:
        of_timm = "layers.0.downsample.norm.weight" not in inside
        return ("timm's Swin", _SWIN, -1) if of_timm else ("the original Swin", _SWIN, 0)
    if "stem.conv1.weight" in inside:
        return "Detectron2's ResNet", _RESNET_OF_DETECTRON2, 0
    if "patch_embed.projection.weight" in inside:
        return "MMDetection's Swin", (), 0
    if {"conv1.weight", "layer1.0.conv1.weight"} <= inside:
        return "a ResNet of torchvision, timm or MMDetection", (), 0
    raise UserError(
        f"Choose a COCO Mask2Former of MMDetection or of the original repository, or a Swin or ResNet of timm or "
        f"torchvision: the names of this checkpoint are of none of them, as {next(iter(given))!r}."
    )


def of_image_model(name: str) -> str:
    """The name in a video model of a weight of an image model's head, of MMDetection 2 or 3; any other as it is."""
    return _apply(name, _HEAD_OF_MMDETECTION_2) if name.startswith("panoptic_head.") else name


def _renamed(name: str, rules: Rules, shift: int) -> str:
    if (name := of_image_model(name)).startswith("track_head."):  # or SeqFormer's, renamed before
        return name
    if name.startswith("sem_seg_head."):
        return _apply(name, _HEAD_OF_ORIGINAL)
    name = name.removeprefix("backbone.")
    name = re.sub(r"^layers\.(\d)\.downsample", lambda found: f"layers.{int(found[1]) + shift}.downsample", name)
    return f"backbone.{_apply(name, rules)}"


def _apply(name: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def _unfolded(tensor: Tensor) -> Tensor:
    """(..., 2 columns x 2 rows x C) to (..., C x 2 rows x 2 columns)."""
    if not tensor.ndim or tensor.shape[-1] % 4:
        raise UserError(f"Download the weights again: a layer that merges patches is of shape {tuple(tensor.shape)}.")
    return tensor.unflatten(-1, (2, 2, -1)).transpose(-1, -3).flatten(-3)
