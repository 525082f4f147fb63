"""Inter-Frame Recurrent attention: the paper's method as a head of MMDetection (Sec. 3).

Shape letters:
    B  clips    T  frames of a clip    N  instance queries    C  channels
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from mmdet.registry import MODELS
from torch import Tensor, nn

from ifrvis.models.attention import Memory
from ifrvis.models.host_configs import one_of
from ifrvis.models.ifr_layers import IFRDecoderLayer
from ifrvis.models.mask2former import Mask2FormerVISHead


@MODELS.register_module()
class IFRHead(Mask2FormerVISHead):
    """Masks from frame-level queries, classes from clip-level queries, and losses across frames.

    Args:
        *args: As `Mask2FormerVISHead`.
        lambda_e: Weight of the cross-frame mask losses (Eq. 6 and 7).
        cross_frame_sum: "sum" over the other frames as printed, or their "mean"; they differ for T > 2.
        recurrence: Let the frame-level queries of a frame grow out of those of the frame before (Q^{t-1} in Eq. 2);
            else out of the clip-level queries in every frame.
        cross_residual: Add to what cross-attention saw of a frame the queries that asked; Eq. 2 prints no sum.
        temporal_keys: "all" frame-level queries of a clip are keys of a clip-level query, or its "own", one a frame.
        **kwargs: As `Mask2FormerVISHead`.
    """

    def __init__(
        self,
        *args: Any,
        lambda_e: float,
        cross_frame_sum: str,
        recurrence: bool,
        cross_residual: bool,
        temporal_keys: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        # A code that all keys of a frame share would shift all their scores alike: the softmax removes it.
        if kwargs["key_positions"] != "2d":
            raise ValueError(
                f"key_positions must be '2d', got {kwargs['key_positions']!r}; set it in model.track_head."
            )
        width = self.query_feat.embedding_dim
        own_keys = one_of("temporal_keys", temporal_keys) == "own"
        layer = {**kwargs["decoder"], "recurrence": recurrence, "residual": cross_residual, "own_keys": own_keys}
        num_layers = layer.pop("num_layers")
        layers = nn.ModuleList(IFRDecoderLayer(width, **layer) for _ in range(num_layers))
        # Of the host's names, as far as the host has them.
        self.transformer_decoder = nn.ModuleDict({"layers": layers, "post_norm": nn.LayerNorm(width)})
        self._name_layers()
        is_mean = one_of("cross_frame_sum", cross_frame_sum) == "mean"
        self.supervision = replace(self.supervision, lambda_e=lambda_e, cross_frame_mean=is_mean)

    @contextmanager
    def without_recurrence(self) -> Iterator[None]:
        """Let the clip-level query take the place of Q^{t-1} while the block lasts, however the head was trained."""
        layers: list[Any] = list(self._layers())
        trained = layers[0].recurrence
        try:
            for layer in layers:
                layer.recurrence = False
            yield
        finally:
            for layer in layers:
                layer.recurrence = trained

    def _decode_layer(self, layer: nn.Module, queries: Tensor, memory: Memory, embeds: Tensor) -> tuple[Tensor, Tensor]:
        return layer(queries, self.query_embed.weight, memory, embeds)
