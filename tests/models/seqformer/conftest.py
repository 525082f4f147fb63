"""Thin SeqFormer heads in double precision with every weight random, and what their decoder reads."""

import pytest
import torch
from mmdet.registry import MODELS

from ifrvis.models.seqformer.decoder import ClipMemory
from ifrvis.models.seqformer.encoder import Layout

SHAPES = [(4, 6), (2, 3), (1, 2), (1, 1)]
SIZE = (32, 48)


@pytest.fixture
def draws():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def make_head(thin, draws):
    def make(**head):
        built = MODELS.build(thin("seqformer", **{"dropout": 0.0, **head})["track_head"]).double()
        with torch.no_grad():
            for parameter in built.parameters():
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=draws).to(parameter))
        return built

    return make


@pytest.fixture
def make_memory(draws):
    """B clips of T frames with random tokens; `sizes` are those of the clips, or of all."""

    def make(num_clips, num_frames, sizes=(SIZE,), stride=None, width=16):
        stride = stride or num_frames
        count = (num_clips - 1) * stride + num_frames
        length = sum(rows * columns for rows, columns in SHAPES)
        tokens = torch.randn(count, length, width, generator=draws, dtype=torch.float64)
        return ClipMemory([tokens], Layout.of(SHAPES, sizes), num_frames, stride)

    return make
