"""Drop path and dropout that a clip draws alike in whatever batch it comes.

The host draws once for all samples of a forward pass, from torch's global generator: micro-batches and processes would
change what is dropped. Here a clip draws from its own (seed, iteration, position), whatever else is in the batch.

Shape letters:
    B  clips    F  frames or other rows of all clips, B times as many as a clip has, clip after clip
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from mmcv.cnn.bricks.drop import DropPath
from torch import Tensor, nn

from ifrvis.streams import Stream, generator

DrawKey = Sequence[int]  # seed, iteration, position


class ClipDropPath(DropPath):
    """The host's drop path, the `number`-th of its model, whose draws come from those of the clips."""

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
        factors = torch.from_numpy((np.concatenate(draws) >= self.drop_prob) / (1.0 - self.drop_prob))
        return x * factors.to(x, non_blocking=True).view(-1, *[1] * (x.ndim - 1))  # else a GPU's queue would run dry


class ClipDropout(nn.Dropout):
    """Dropout, the `number`-th of its model, whose draws come from those of the clips, on the device of its input.

    Each is called once in a forward pass.
    """

    def __init__(self, p: float, number: int) -> None:
        super().__init__(p)
        self.number = number
        self.draw_keys: tuple[DrawKey, ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        """Scale or drop each number of (F, ...) float; without keys (the host's Runner) as torch draws."""
        if not self.draw_keys or not self.training:
            return super().forward(x)
        noise = torch.empty(len(self.draw_keys), x.numel() // len(self.draw_keys), device=x.device)
        for key, of_clip in zip(self.draw_keys, noise):
            seed = int(generator(Stream.DROPOUT, *key, self.number).integers(1 << 63))
            of_clip.uniform_(generator=torch.Generator(x.device).manual_seed(seed))
        return (x * (1.0 / (1.0 - self.p))).masked_fill((noise < self.p).view(x.shape), 0.0)


def replace_drop_path(model: nn.Module) -> None:
    """Put `ClipDropPath` and `ClipDropout` in the place of the host's; no parameter of the model changes its name."""
    num_paths, num_dropouts = itertools.count(), itertools.count()
    for parent in list(model.modules()):
        children: list[tuple[str, Any]] = list(parent.named_children())
        for name, child in children:
            if type(child) is DropPath:
                setattr(parent, name, ClipDropPath(child.drop_prob, next(num_paths)))
            elif type(child) is nn.Dropout and child.p:
                setattr(parent, name, ClipDropout(child.p, next(num_dropouts)))


def draw_drop_path_for(model: nn.Module, keys: Iterable[DrawKey]) -> None:
    """Say whose clips the next forward pass is given; it holds until the next call, so recomputation draws alike."""
    draw_keys = tuple(tuple(key) for key in keys)
    for module in model.modules():
        if isinstance(module, ClipDropPath | ClipDropout):
            module.draw_keys = draw_keys
