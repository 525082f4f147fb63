"""What a decoder reads and what it gives: features of frames, predictions of a layer, masks.

Shape letters:
    F  frames, of one or several clips    B  clips    T  frames of a clip
    N  instance queries    K  classes (a layer's logits may have one more, no-object)    C  channels
    H, W  height and width of the mask features (stride 4)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F


def full_precision(x: Tensor) -> Tensor:
    """Half precision to float32; float32 and float64 unchanged."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


@dataclass(frozen=True)
class FrameFeatures:
    """The pixel decoder's output; each frame's is independent of the other frames.

    Attributes:
        mask_features: (F, C, H, W) float.
        memories: The pyramid from low to high resolution (strides 32, 16, 8), each (F, C, H_l, W_l) float.
    """

    mask_features: Tensor
    memories: Sequence[Tensor]

    @staticmethod
    def cat(parts: Sequence["FrameFeatures"]) -> "FrameFeatures":
        """Features of consecutive groups of frames as one."""
        if len(parts) == 1:
            return parts[0]
        memories = [torch.cat(level) for level in zip(*(part.memories for part in parts))]
        return FrameFeatures(torch.cat([part.mask_features for part in parts]), memories)

    def __getitem__(self, frames: slice | Tensor) -> "FrameFeatures":
        return FrameFeatures(self.mask_features[frames], [level[frames] for level in self.memories])


class LayerOutput(NamedTuple):
    """Predictions after one decoder layer, masks still as embeddings: ten layers of full masks would not fit.

    cls_logits is (B, N, K or K + 1) float; mask_embeds is (B, T, N, C) float, whose product with the mask features
    of a frame is the mask logits there.
    """

    cls_logits: Tensor
    mask_embeds: Tensor


class MaskDecoder(Protocol):
    """How a head's mask embeddings become masks; an embedding of zeros gives logits of zero, an empty mask."""

    @property
    def linear(self) -> bool:
        """Whether the mean of embeddings gives the mean of their mask logits."""

    def logits(self, embeds: Tensor, features: Tensor) -> Tensor:
        """(..., N, C) embeddings and (..., C', h, w) mask features of their frames to (..., N, h, w) float."""

    def output(
        self, logits: Tensor, padded_size: Sequence[int], image_size: Sequence[int], output_size: Sequence[int]
    ) -> Tensor:
        """Mask logits at the output size; arguments as those of `output_logits`."""


class LinearMasks:
    """Masks that are products of embeddings and features at stride 4, as Mask2Former's."""

    linear = True

    def logits(self, embeds: Tensor, features: Tensor) -> Tensor:
        """See `MaskDecoder`."""
        return full_precision(torch.einsum("...nc,...chw->...nhw", embeds, features))

    def output(
        self, logits: Tensor, padded_size: Sequence[int], image_size: Sequence[int], output_size: Sequence[int]
    ) -> Tensor:
        """See `MaskDecoder`."""
        return output_logits(logits, padded_size, image_size, output_size)


def output_logits(
    mask_logits: Tensor, padded_size: Sequence[int], image_size: Sequence[int], output_size: Sequence[int]
) -> Tensor:
    """Mask logits at the output size, resized in two steps as in the official inference.

    Args:
        mask_logits: (N, H, W) float at stride 4 of the padded frame.
        padded_size: Height and width of the network's input.
        image_size: Height and width of the frame in it, top left.
        output_size: Height and width of the result.

    Returns:
        (N, *output_size) float; a mask is where they are above zero.
    """
    logits = F.interpolate(mask_logits[:, None], tuple(padded_size), mode="bilinear", align_corners=False)
    logits = logits[..., : image_size[0], : image_size[1]]
    return F.interpolate(logits, tuple(output_size), mode="bilinear", align_corners=False)[:, 0]
