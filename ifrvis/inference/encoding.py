"""A video through backbone and pixel decoder, few frames at a time, and what of it has to stay in memory.

Of every frame stay the tokens and the mask features at the three sizes of attention, which is what a decoder reads.
Mask features at stride 4, which only the last step reads, stay in the CPU's memory as far as there is room for them;
those of the later frames are computed again, to the same bits.

Shape letters:
    T  frames of the video    C  channels    H, W  padded size of a frame, in pixels
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from mmdet.models.mot import BaseMOTModel
from mmdet.structures import DetDataSample, TrackDataSample
from numpy.typing import NDArray
from torch import Tensor

from ifrvis.datasets.placement import Resize, resize_frame, resized_size
from ifrvis.errors import UserError
from ifrvis.inference.background import in_background
from ifrvis.inference.sources import FrameSource
from ifrvis.models.attention import Level
from ifrvis.models.decoding import FrameFeatures

# Through backbone and pixel decoder, in as many frames as that makes: large frames are fastest alone on a CPU.
PIXELS_AT_ONCE = {"cpu": 1 << 18, "cuda": 1 << 20}
MAX_FRAMES_AT_ONCE = 16  # the pixel decoder's deformable attention breaks above 128 on CUDA
BYTES_PER_PIXEL = 2500  # of those while they compute, measured with a ResNet-50 of width 256
ROOM_GIB = 1.75  # for mask features where no budget is given: 119 frames of 360x640, more than YouTube-VIS has
GIB = 1 << 30


@dataclass(frozen=True)
class View:
    """One look at a video."""

    size: tuple[int, int]  # height and width in pixels
    flip: bool = False  # mirrored left to right
    resize: Resize = "pillow"
    divisor: int = 32  # what padded sides are multiples of, in pixels

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width of the network's input."""
        height, width = (-(-side // self.divisor) * self.divisor for side in self.size)
        return height, width

    @property
    def pixels(self) -> int:
        """Of the network's input."""
        return self.padded[0] * self.padded[1]


def views_of(model: BaseMOTModel, source: FrameSource, inference: Mapping[str, Any]) -> list[View]:
    """The views that are asked for: one size, or those of `tta`, each mirrored too under `flip`.

    Under `truncate` the longer side is rounded down, as in `resized_size`.
    """
    divisor = model.data_preprocessor.pad_size_divisor
    sides = inference.get("tta") or [inference["side"]]
    flips = (False, True) if inference.get("tta") and inference.get("flip") else (False,)
    how = {"max_side": inference["max_side"], "truncate": inference.get("truncate", False)}
    sizes = [resized_size(source.height, source.width, side=side, **how) for side in sides]
    return [View(size, flip, inference["resize"], divisor) for size in sizes for flip in flips]


def check_memory(
    model: BaseMOTModel, source: FrameSource, inference: Mapping[str, Any], memory_gib: float | None
) -> float:
    """Bytes that mask features of all views may take: levels come one after the other, these stay together.

    UserError if a budget (`memory_gib`; None for what the rest takes, and ROOM_GIB) is too small for them.
    """
    if memory_gib is None:
        return ROOM_GIB * GIB
    head, views, num_frames = model.track_head, views_of(model, source, inference), source.length
    kept = num_frames * max(head.bytes_per_frame(view.pixels) for view in views)
    at_once = max(_frames_at_once(model, view) * view.pixels for view in views)
    floor = kept + at_once * BYTES_PER_PIXEL * head.width / 256
    if floor > memory_gib * GIB:
        raise UserError(
            f"Raise --memory-gib to {np.ceil(floor / GIB * 10) / 10:.1f}, or make inference.side smaller: {num_frames} "
            f"frames of {views[0].size[1]} x {views[0].size[0]} pixels need {floor / GIB:.1f} GiB, {kept / GIB:.1f} of "
            f"them for features of every frame; the budget is {memory_gib:g}."
        )
    return memory_gib * GIB - floor


def encode(
    model: BaseMOTModel, source: FrameSource, view: View, *, room: float, on_frames: Callable[[int], None]
) -> tuple[list[Level], Callable[[], Iterator[Tensor]]]:
    """Encode a view of a video: its levels, low resolution first, and what gives its mask features.

    Mask features come frame by frame, (C, H / 4, W / 4) each, as often as they are asked for; those beyond `room`, in
    bytes, are computed again each time. `on_frames` is called with the number of frames after each chunk.
    """
    levels: list[Level] = []
    kept = torch.empty(0)
    for start, frames in _chunks(model, source, view):
        stop = start + len(frames.mask_features)
        new = model.track_head.levels(frames)
        if not levels:
            levels = [Level(_room(e.tokens, source.length), _room(e.mask_features, source.length)) for e in new]
            # Whole chunks: in another batch a frame's features have other last bits.
            num_kept = int(room // frames.mask_features[0].nbytes) // stop * stop
            kept = _room(frames.mask_features, min(num_kept, source.length), device="cpu")
        for level, part in zip(levels, new):
            level.tokens[start:stop], level.mask_features[start:stop] = part.tokens, part.mask_features
        if start < len(kept):
            kept[start:stop] = frames.mask_features
        on_frames(stop - start)

    def mask_features() -> Iterator[Tensor]:
        yield from kept
        for _, again in _chunks(model, source, view, first=len(kept)):
            yield from again.mask_features

    return levels, mask_features


def _room(part: Tensor, num_frames: int, device: str | None = None) -> Tensor:
    """Room for so many frames: chunks that are joined at the end would take it twice."""
    return torch.empty(num_frames, *part.shape[1:], dtype=part.dtype, device=device or part.device)


def _frames_at_once(model: BaseMOTModel, view: View) -> int:
    pixels = PIXELS_AT_ONCE.get(next(model.parameters()).device.type, 1 << 18)
    return min(max(pixels // view.pixels, 1), MAX_FRAMES_AT_ONCE)


def _chunks(
    model: BaseMOTModel, source: FrameSource, view: View, first: int = 0
) -> Iterator[tuple[int, FrameFeatures]]:
    """The number of the first frame and the features of each chunk, from frame `first` on."""
    frames, step = islice(source, first, None), _frames_at_once(model, view)
    starts = range(first, source.length, step)

    def load(start: int) -> NDArray[np.uint8]:
        stop = min(start + step, source.length)
        resized = [resize_frame(next(frames), view.size, view.resize) for _ in range(start, stop)]
        return np.stack([each[..., ::-1] if view.flip else each for each in resized])

    for start, images in zip(starts, in_background(load, starts)):
        sample = TrackDataSample()
        sample.video_data_samples = [DetDataSample() for _ in images]  # the host wants one a frame
        given = {"inputs": [torch.from_numpy(images)], "data_samples": [sample]}
        features = model.backbone(model.data_preprocessor(given, training=False)["inputs"][0])
        yield start, model.track_head.encode_frames(features, [view.size])
