"""What the options of packaged models may be, for the models and for specifications, which know no torch."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ifrvis.errors import UserError
from ifrvis.schema import Model, Share, validated

CrossFrameSum = Literal["sum", "mean"]
Count = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0)]
Four = tuple[Count, Count, Count, Count]  # one for each level


class _Transformer(Model):
    num_layers: Count
    num_heads: Count
    feedforward_channels: Count


class _Encoder(_Transformer):
    num_points: Count


class _Losses(Model):
    cls: Weight
    mask: Weight
    dice: Weight


class HeadOptions(Model):
    """Of `Mask2FormerVISHead`."""

    type: str
    in_channels: Four
    num_classes: Count
    feat_channels: Count
    num_queries: Count
    encoder: _Encoder
    decoder: _Transformer
    loss_weights: _Losses
    no_object_weight: Weight
    num_points: Count
    oversample_ratio: float = Field(ge=1)
    importance_ratio: Share
    host_mask_loss: bool
    class_target_from_last_frame: bool

    @model_validator(mode="after")
    def _check(self) -> Self:
        for divisor, why in (
            (4, "its codes of place are sines and cosines of two directions"),
            (self.encoder.num_heads, "the encoder has so many heads"),
            (self.decoder.num_heads, "the decoder has so many heads"),
        ):
            if self.feat_channels % divisor:
                raise ValueError(f"Make 'feat_channels' a multiple of {divisor}, {why}: it is {self.feat_channels}.")
        return self


class _Focal(Model):
    alpha: Share
    gamma: Weight
    prior: float = Field(gt=0, lt=1)


class IFRHeadOptions(HeadOptions):
    """Of `IFRHead`."""

    lambda_e: Weight
    cross_frame_sum: CrossFrameSum
    focal: _Focal | None
    copy_image_decoder: bool


class _Norm(Model):
    type: Literal["BN", "SyncBN", "GN"]
    requires_grad: bool = True
    num_groups: Count | None = None
    eps: float = Field(default=1e-5, gt=0)
    momentum: Share = 0.1

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.type == "GN") != (self.num_groups is not None):
            raise ValueError("Give norms of type GN their 'num_groups', and no others.")
        return self


class ResNetOptions(Model):
    """Of the host's `ResNet`."""

    type: str
    depth: Literal[18, 34, 50, 101, 152]
    base_channels: Count
    stem_channels: Count
    num_stages: Literal[4]
    out_indices: tuple[Literal[0], Literal[1], Literal[2], Literal[3]]
    frozen_stages: int = Field(ge=-1, le=4)
    norm_cfg: _Norm
    norm_eval: bool
    style: Literal["pytorch", "caffe"]

    @model_validator(mode="after")
    def _check(self) -> Self:
        groups = self.norm_cfg.num_groups or 1
        if self.base_channels % groups or self.stem_channels % groups:
            raise ValueError(f"Make 'base_channels' and 'stem_channels' multiples of the {groups} groups of the norm.")
        return self

    @property
    def widths(self) -> list[int]:
        """Channels of its four levels."""
        return [self.base_channels * (4 if self.depth >= 50 else 1) * 2**level for level in range(4)]


class SwinOptions(Model):
    """Of the host's `SwinTransformer`."""

    type: str
    pretrain_img_size: Count
    embed_dims: Count
    depths: Four
    num_heads: Four
    window_size: Count
    mlp_ratio: float = Field(gt=0)
    qkv_bias: bool
    drop_path_rate: float = Field(ge=0, lt=1)
    patch_norm: bool
    out_indices: tuple[Literal[0], Literal[1], Literal[2], Literal[3]]
    convert_weights: bool
    frozen_stages: int = Field(ge=-1, le=4)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for width, heads in zip(self.widths, self.num_heads):
            if width % heads:
                raise ValueError(f"Let 'num_heads' divide the channels of each level: {width} has {heads} heads.")
        return self

    @property
    def widths(self) -> list[int]:
        """Channels of its four levels."""
        return [self.embed_dims * 2**level for level in range(4)]


class PreprocessorOptions(Model):
    """Of the host's `TrackDataPreprocessor`."""

    type: str
    mean: tuple[float, float, float]
    std: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
    bgr_to_rgb: bool
    pad_mask: bool
    pad_size_divisor: Count


OPTIONS: dict[str, type[Model]] = {
    "Mask2FormerVISHead": HeadOptions,
    "IFRHead": IFRHeadOptions,
    "ResNet": ResNetOptions,
    "SwinTransformer": SwinOptions,
    "TrackDataPreprocessor": PreprocessorOptions,
}


def check_model(model: dict[str, Any], where: str) -> None:
    """Refuse a model that cannot be built, as far as the options of its parts are known here.

    Raises:
        UserError: If an option is wrong, or two do not fit.
    """
    parts = {key: part for key, part in model.items() if isinstance(part, dict)}
    known = {
        key: validated(OPTIONS[part["type"]], part, f"{key!r} in 'model' in {where}")
        for key, part in parts.items()
        if part.get("type") in OPTIONS
    }
    backbone, head = known.get("backbone"), known.get("track_head")
    if not (isinstance(backbone, ResNetOptions | SwinOptions) and isinstance(head, HeadOptions)):
        return
    if list(head.in_channels) != backbone.widths:
        raise UserError(
            f"Set 'in_channels' in 'track_head' in 'model' in {where} to {backbone.widths}, the channels of the "
            f"backbone: it is {list(head.in_channels)}."
        )
