"""Drop path that a clip draws alike in whatever batch it comes.

The host draws once for all samples of a forward pass, from torch's global generator: micro-batches and processes would
change what is dropped. Here the frames of a clip draw from its own (seed, iteration, position).

Shape letters:
    B  clips    F  frames of all clips, B times as many as a clip has
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from mmcv.cnn.bricks.drop import DropPath
from torch import Tensor, nn

from ifrvis.streams import Stream, generator

DrawKey = Sequence[int]  # seed, iteration, position


class ClipDropPath(DropPath):
    """The host's drop path, whose draws come from those of the clips.

    Args:
        drop_prob: Probability of dropping a frame's residual branch.
        number: Which drop path of its model this is.
    """

    def __init__(self, drop_prob: float, number: int) -> None:
        super().__init__(drop_prob)
        self.number = number
        self.draw_keys: tuple[DrawKey, ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        """Scale or drop the frames of (F, ...) float; without keys (the host's Runner) as the host draws."""
        if not self.draw_keys or not self.training or not self.drop_prob:
            return super().forward(x)
        num_frames = len(x) // len(self.draw_keys)
        draws = [generator(Stream.DROP_PATH, *key, self.number).random(num_frames) for key in self.draw_keys]
        factors = (np.concatenate(draws) >= self.drop_prob) / (1.0 - self.drop_prob)
        return x * torch.from_numpy(factors).to(x).view(-1, *[1] * (x.ndim - 1))


def replace_drop_path(model: nn.Module) -> None:
    """Put `ClipDropPath` in the place of the host's modules; no parameter of the model changes its name."""
    children = [(parent, *child) for parent in model.modules() for child in parent.named_children()]
    found: list[tuple[nn.Module, str, DropPath]] = [each for each in children if type(each[2]) is DropPath]
    for number, (parent, name, child) in enumerate(found):
        setattr(parent, name, ClipDropPath(child.drop_prob, number))


def draw_drop_path_for(model: nn.Module, keys: Iterable[DrawKey]) -> None:
    """Say whose clips the next forward pass is given; it holds until the next call, so recomputation draws alike."""
    draw_keys = tuple(tuple(key) for key in keys)
    for module in model.modules():
        if isinstance(module, ClipDropPath):
            module.draw_keys = draw_keys
