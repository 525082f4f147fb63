"""What every way of decoding a video gives: instances with class probabilities, and masks frame by frame.

Shape letters:
    T  frames of the video    N  queries or tracks    I  some of them    K  classes    C  channels
    h, w  size of a frame's mask features
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ifrvis.models.decoding import MaskDecoder


class Tracks(Protocol):
    """Instances of a video."""

    @property
    def class_probs(self) -> Tensor:
        """(N, K) float in [0, 1]."""

    def mask_logits(self, frame: int, features: Tensor, instances: Tensor) -> Tensor:
        """Mask logits of (I,) instances in a frame with features (C, h, w): (I, h, w) float; zero is an empty mask."""


@dataclass(frozen=True)
class WholeTracks:
    """Queries that were decoded with the whole video: `mask_embeds` is (T, N, C)."""

    class_probs: Tensor
    mask_embeds: Tensor
    masks: MaskDecoder

    def mask_logits(self, frame: int, features: Tensor, instances: Tensor) -> Tensor:
        """See `Tracks`."""
        return self.masks.logits(self.mask_embeds[frame, instances], features)
