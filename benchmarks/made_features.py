"""Modules in the place of backbone and pixel decoder, which make a frame's features from its number alone."""

import time

import torch
from torch import Tensor, nn


class Numbers(nn.Module):
    """A backbone whose features are the numbers of the frames, counted from one call to the next."""

    def __init__(self, num_frames: int) -> None:
        super().__init__()
        self.num_frames, self.next = num_frames, 0

    def forward(self, images: Tensor) -> list[Tensor]:
        numbers = (torch.arange(len(images)) + self.next) % self.num_frames
        self.next += len(images)
        return [numbers.view(-1, 1, 1, 1).float()] * 4


class Features(nn.Module):
    """A pixel decoder of width 256 that fills its output with noise; `seconds` is what that has taken."""

    seconds = 0.0

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.sizes = [(size[0] // stride, size[1] // stride) for stride in (4, 32, 16, 8)]

    def forward(self, x: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        started = time.process_time()
        (height, width), *sizes = self.sizes
        mask_features = torch.empty(len(x[0]), 256, height, width)
        memory = torch.empty(len(x[0]), sum(h * w for h, w in sizes), 256)
        for t, number in enumerate(x[0].flatten().tolist()):
            draws = torch.Generator().manual_seed(int(number))
            mask_features[t].normal_(generator=draws).mul_(0.1)
            memory[t].normal_(generator=draws)
        levels = memory.transpose(1, 2).split([h * w for h, w in sizes], 2)  # the layout of the host's pixel decoder
        Features.seconds += time.process_time() - started
        return mask_features, [level.unflatten(2, size) for level, size in zip(levels, sizes)]
