"""The weights of a pretraining as they are published and shipped: half precision, half the bytes.

Every run that starts from them starts from these rounded values, whether they were made here or shipped, so both
have one identity.
"""

import io

import torch
from torch import nn

__all__ = ["packed_weights"]


def packed_weights(model: nn.Module) -> bytes:
    """A model's parameters and buffers as a file of tensors, floating-point ones in half precision."""
    state = {name: _halved(value.detach().cpu()) for name, value in model.state_dict().items()}
    stream = io.BytesIO()
    torch.save({"state_dict": state}, stream)
    return stream.getvalue()


def _halved(value: torch.Tensor) -> torch.Tensor:
    return value.half() if value.is_floating_point() else value
