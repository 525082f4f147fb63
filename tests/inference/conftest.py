"""Thin models of both methods with every weight random, and videos made of arrays."""

import functools
import weakref
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from ifrvis.datasets.rle import decode
from ifrvis.harness.spec.compose import compose
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.training.build import build_model

INFERENCE = {"mode": "whole", "side": 64, "max_side": 200, "resize": "pillow", "topk": 4, "tta": None}
CLIPS = {**INFERENCE, "mode": "clips", "clip_frames": 3, "stride": 1, "min_class_score": 0.0, "min_overlap": 0.05}


class LiveTensors(TorchDispatchMode):
    """Counts the bytes of all tensors that operations inside make: `peak` is the most that lived at once."""

    def __init__(self):
        super().__init__()
        self._sizes, self._now, self.peak = {}, 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for storage in [x.untyped_storage() for x in tree_iter(made) if isinstance(x, torch.Tensor)]:
            if storage._cdata not in self._sizes:
                self._sizes[storage._cdata] = storage.nbytes()
                self._now += storage.nbytes()
                self.peak = max(self.peak, self._now)
                weakref.finalize(storage, self._freed, storage._cdata)
        return made

    def _freed(self, key):
        self._now -= self._sizes.pop(key)


@dataclass
class ArrayVideo:
    """A source of the frames of an array, (T, height, width, 3)."""

    frames: np.ndarray
    video_id: int | str = 7
    frame_rate: float = 10.0

    length = property(lambda self: len(self.frames))
    height = property(lambda self: self.frames.shape[1])
    width = property(lambda self: self.frames.shape[2])

    def __iter__(self):
        return iter(self.frames)


@pytest.fixture
def make_video(rng):
    """Noise of low frequency, which random weights see something in."""

    def make(length, size=(40, 60)):
        coarse = (
            rng.integers(0, 256, (length, 4, 5, 3), np.uint8).repeat(-(-size[0] // 4), 1).repeat(-(-size[1] // 5), 2)
        )
        return ArrayVideo(coarse[:, : size[0], : size[1]])

    return make


@functools.cache
def thin_model(method):
    """A model of profile smoke whose predictions depend on its input: every parameter is shaken."""
    model = build_model(compose(method, "r50", "ytvis19", load_profile("smoke"), num_classes=3).model, seed=0)
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.track_head.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=draws))
    return model.eval()


@pytest.fixture(params=["mask2former", "ours", "seqformer"])
def model(request):
    return thin_model(request.param)


def assert_nearly_equal(found, expected):
    """The same instances, with masks that agree but for rounding."""
    assert [each[:2] for each in found.by_class] == [each[:2] for each in expected.by_class]
    np.testing.assert_allclose(
        [each.score for each in found.by_class], [each.score for each in expected.by_class], rtol=1e-3, atol=1e-5
    )
    for query, of_query in expected.masks.items():
        for one, other in zip(found.masks[query], of_query):
            one, other = (np.zeros((1, 1), bool) if mask is None else decode(mask) for mask in (one, other))
            assert (one & other).sum() >= 0.999 * (one | other).sum()
