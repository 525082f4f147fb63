"""Random start of SeqFormer's head, as the official code has it.

Matrices of the transformer are Xavier uniform; its biases, where nothing else is said, torch's own. The second output
projection of the deformable attention of the decoder is no exception, though the first one's bias is zero.
"""

import math
from collections.abc import Callable
from typing import Any

from mmcv.ops import MultiScaleDeformableAttention
from torch import Tensor, nn

BOX_SIZE_LOGIT = -2.0  # of the boxes that the first layer predicts


def start_transformer(*parts: nn.Module) -> None:
    """Encoder and decoder."""
    for part in parts:
        for parameter in part.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        for module in part.modules():
            if isinstance(module, MultiScaleDeformableAttention):
                module.init_weights()


def start_linear(*layers: Any, like: Callable[[Tensor], Tensor] = nn.init.xavier_uniform_) -> None:
    """Layers whose weights start so, and without bias."""
    for layer in layers:
        like(layer.weight)
        nn.init.zeros_(layer.bias)


def start_predictors(classes: Any, boxes: Any, prior: float) -> None:
    """Classes at their prior, boxes at their references: one start for all layers but for the first one's sizes."""
    for layer in (*boxes[0].layers, *classes[:1]):
        layer.reset_parameters()
    nn.init.zeros_(boxes[0].layers[-1].weight)
    nn.init.zeros_(boxes[0].layers[-1].bias)
    nn.init.constant_(classes[0].bias, -math.log(1 / prior - 1))
    for predictors in (classes, boxes):
        for other in predictors[1:]:
            other.load_state_dict(predictors[0].state_dict())
    nn.init.constant_(boxes[0].layers[-1].bias[2:], BOX_SIZE_LOGIT)
