"""What every way of decoding a video gives: instances with class probabilities, and mask embeddings frame by frame.

Shape letters:
    T  frames of the video    N  queries or tracks    K  classes    C  channels
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class Tracks(Protocol):
    """Instances of a video. Masks are linear in embeddings, so a mean of embeddings gives the mean of mask logits."""

    @property
    def class_probs(self) -> Tensor:
        """(N, K) float in [0, 1]."""

    def embeds(self, frame: int) -> Tensor:
        """Mask embeddings in one frame, (N, C) float; zero, whose mask is empty, where an instance has none."""


@dataclass(frozen=True)
class WholeTracks:
    """Queries that were decoded with the whole video: `mask_embeds` is (T, N, C)."""

    class_probs: Tensor
    mask_embeds: Tensor

    def embeds(self, frame: int) -> Tensor:
        """See `Tracks`."""
        return self.mask_embeds[frame]
