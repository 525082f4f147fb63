"""Inter-Frame Recurrent attention: the paper's method as a head of MMDetection (Sec. 3).

Shape letters:
    B  clips    T  frames of a clip    N  instance queries    M  matched queries of a clip    K  classes    C  channels
    H, W  height and width of the mask features (stride 4)
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from mmdet.registry import MODELS
from torch import Tensor, nn

from ifrvis.models.attention import Memory
from ifrvis.models.ifr_layers import IFRDecoder
from ifrvis.models.losses import FocalClasses, SoftmaxClasses
from ifrvis.models.mask2former import Mask2FormerVISHead
from ifrvis.options import CROSS_FRAME_SUMS


@MODELS.register_module()
class IFRHead(Mask2FormerVISHead):
    """Masks from frame-level queries, classes from clip-level queries, and losses across frames.

    Args:
        *args: As `Mask2FormerVISHead`.
        lambda_e: Weight of the cross-frame mask losses (Eq. 6 and 7).
        cross_frame_sum: "sum" over the other frames as printed, or their "mean"; they differ for T > 2.
        focal: alpha, gamma and the prior probability that starts the bias; None for the baseline's softmax.
        copy_image_decoder: Let an image checkpoint fill what fits of the decoder layers; else they start at random.
        **kwargs: As `Mask2FormerVISHead`.
    """

    time_positions = False  # a code that all keys of a frame share would shift all scores alike: softmax removes it

    def __init__(
        self,
        *args: Any,
        lambda_e: float,
        cross_frame_sum: str,
        focal: dict[str, float] | None,
        copy_image_decoder: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if cross_frame_sum not in CROSS_FRAME_SUMS:
            raise ValueError(
                f"cross_frame_sum must be 'sum' or 'mean', got {cross_frame_sum!r}; set it in model.track_head."
            )
        width = self.query_feat.embedding_dim
        self.transformer_decoder = IFRDecoder(width, **kwargs["decoder"], image_names=copy_image_decoder)
        classes: SoftmaxClasses | FocalClasses = self.supervision.classes
        if focal is not None:
            self.cls_embed = nn.Linear(width, self.num_classes)
            nn.init.constant_(self.cls_embed.bias, -math.log(1 / focal["prior"] - 1))
            classes = FocalClasses(focal["alpha"], focal["gamma"])
        self.supervision = replace(
            self.supervision, classes=classes, lambda_e=lambda_e, cross_frame_mean=cross_frame_sum == "mean"
        )

    def _layers(self) -> Iterable[nn.Module]:
        return self.transformer_decoder

    def _decode_layer(self, layer: nn.Module, queries: Tensor, memory: Memory, embeds: Tensor) -> tuple[Tensor, Tensor]:
        return layer(queries, self.query_embed.weight, memory, embeds)
