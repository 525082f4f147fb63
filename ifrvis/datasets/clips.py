"""Training clips: which frames of which video are drawn, and how they are loaded.

A draw is a pure function of (seed, iteration, position in the global batch), so that restarts, workers and the
number of processes change nothing. Videos come in one permutation per epoch; a clip is a key frame and others
near it; its shortest side and its flip are drawn once for the whole clip, as in the official recipe.

Shape letters:
    T  frames per clip    N  instances of a clip
    H, W  padded height and width, in pixels
"""

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ifrvis.datasets.frames import read_frame
from ifrvis.datasets.placement import Placement, Placing, Size
from ifrvis.datasets.rle import decode_columns, runs_of
from ifrvis.datasets.sampling.colours import Colour, coloured
from ifrvis.datasets.ytvis import Annotations, Id, Track, Video
from ifrvis.errors import UserError
from ifrvis.streams import Stream, generator

PAD_TO = 32  # pixels
MAX_REDRAWS = 10  # for a clip without any visible instance


@dataclass(frozen=True)
class ClipDraw:
    """One clip of a global batch, before anything is loaded."""

    iteration: int  # the training iteration, from 0
    position: int
    video: Video
    frames: tuple[int, ...]  # T frame numbers, ascending; a frame may come twice in a video that is too short
    flip: bool  # whether the clip is mirrored left to right
    placement: Placement  # what of the frames is shown, and at what size
    colours: tuple[Colour, ...] = ()  # of each frame; none for those of the file

    @property
    def size(self) -> Size:
        """Height and width of the resized frames, in pixels, before padding."""
        return self.placement.size


@dataclass(frozen=True)
class Clip:
    """A loaded clip, padded right and bottom with zeros."""

    draw: ClipDraw  # what was drawn; `draw.size` is the part of the images that is not padding
    images: NDArray[np.uint8]  # (T, 3, H, W) uint8, BGR
    masks: NDArray[np.bool_]  # (N, T, H, W) bool, of the instances that are visible in at least one frame
    visible: NDArray[np.bool_]  # (N, T) bool, where a mask has any pixel
    labels: NDArray[np.int64]  # (N,) int64, positions in the list of categories
    track_ids: tuple[Id, ...]  # ids of the N tracks


class VideoSampler(ABC):
    """Draws the clips of every global batch; what an epoch has one clip of each is up to its kinds. UserError if no
    video can be trained on.
    """

    streams: ClassVar[tuple[Stream, Stream]]  # of a clip, and of the order of an epoch
    num_entries: int  # clips of an epoch

    def __init__(
        self,
        annotations: Annotations,  # the training split
        *,
        seed: int,  # the run's seed
        global_batch: int,  # clips of one iteration, over all processes
        num_frames: int,  # frames of a clip
        frame_range: int,  # how far from the key frame others may be, in frames
        # Leave out videos without a track that is not a crowd, and draw again, a few times, clips that show none; else
        # they are trained on, as in the official code of Mask2Former.
        redraw_empty: bool,
        flip: float,  # probability of mirroring a clip
        **placing: Any,  # of `Placing`
    ) -> None:
        self.seed, self.global_batch, self.redraw_empty = seed, global_batch, redraw_empty
        self.num_frames, self.frame_range = num_frames, frame_range
        self.flip, self.placing = float(flip), Placing(**placing)
        self.masks = {video.id: [t.masks for t in annotations.objects_of(video.id)] for video in annotations.videos}
        shown = [video for video in annotations.videos if any(map(any, self.masks[video.id]))]
        self.videos = shown if redraw_empty else list(annotations.videos)
        if not shown:
            raise UserError(f"Give {annotations.path} at least one object that is not a crowd: none can be trained on.")

    def batch(self, iteration: int) -> list[ClipDraw]:
        """All draws of one global batch, by position."""
        return [self.draw(iteration, position) for position in range(self.global_batch)]

    def draw(self, iteration: int, position: int, turn: int | None = None) -> ClipDraw:
        """The clip at one position of one iteration; it is the `turn`-th of the training, by default of all clips."""
        of_clip, of_epoch = self.streams
        turn = iteration * self.global_batch + position if turn is None else turn
        epoch, index = divmod(turn, self.num_entries)
        entry = int(permutation(of_epoch, self.seed, epoch, self.num_entries)[index])
        return self.draw_entry(generator(of_clip, self.seed, iteration, position), iteration, position, entry)

    @abstractmethod
    def draw_entry(self, rng: np.random.Generator, iteration: int, position: int, entry: int) -> ClipDraw:
        """A clip of one entry of an epoch."""


class ClipSampler(VideoSampler):
    """An epoch has a clip of every video: a key frame, and others near it; see `VideoSampler`."""

    streams = (Stream.CLIP, Stream.CLIP_EPOCH)

    def __init__(self, annotations: Annotations, **settings: Any) -> None:
        super().__init__(annotations, **settings)
        self.num_entries = len(self.videos)

    def draw_entry(self, rng: np.random.Generator, iteration: int, position: int, entry: int) -> ClipDraw:
        """Frames of one window; where empty ones are drawn again, the first that show something."""
        video = self.videos[entry]
        for _ in range(1 + MAX_REDRAWS):
            frames = self._draw_window(rng, video.length)
            if not self.redraw_empty or any(masks[frame] for masks in self.masks[video.id] for frame in frames):
                break
        placement = self.placing.draw(rng, (video.height, video.width))
        flip = bool(rng.random() < self.flip)
        return ClipDraw(iteration, position, video, frames, flip, placement)

    def _draw_window(self, rng: np.random.Generator, length: int) -> tuple[int, ...]:
        key = int(rng.integers(length))
        window = range(max(0, key - self.frame_range), min(length, key + self.frame_range + 1))
        others = [frame for frame in window if frame != key] or [key]
        # With replacement, as the official code draws them; this matters from three frames on.
        drawn = [others[int(index)] for index in rng.integers(len(others), size=self.num_frames - 1)]
        return tuple(sorted([key, *drawn]))


@functools.lru_cache(maxsize=8)
def permutation(stream: Stream, seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The order of one epoch."""
    return generator(stream, seed, epoch).permutation(count)


def padded_size(draws: Sequence[ClipDraw]) -> tuple[int, int]:
    """Height and width, in pixels, that hold every clip of a global batch and are multiples of PAD_TO."""
    height = max(draw.size[0] for draw in draws)
    width = max(draw.size[1] for draw in draws)
    return -(-height // PAD_TO) * PAD_TO, -(-width // PAD_TO) * PAD_TO


def load_clip(annotations: Annotations, frames_root: Path, draw: ClipDraw, padded: tuple[int, int]) -> Clip:
    """Read, resize, flip and pad, to (H, W), frames and masks of a draw; UserError if a frame cannot be used."""
    tracks = [each for each in annotations.objects_of(draw.video.id) if any(each.masks[t] for t in draw.frames)]
    height, width = draw.size
    images = np.zeros((len(draw.frames), 3, *padded), np.uint8)
    masks = np.zeros((len(tracks), len(draw.frames), *padded), bool)
    visible = np.zeros(masks.shape[:2], bool)
    for t, frame in enumerate(draw.frames):
        image = read_frame(frames_root, draw.video, frame)
        resized = draw.placement.frame(coloured(image, draw.colours[t]) if draw.colours else image)
        images[t, :, :height, :width] = resized[..., ::-1] if draw.flip else resized
    shown = [(n, t) for n, track in enumerate(tracks) for t, frame in enumerate(draw.frames) if track.masks[frame]]
    if shown:
        runs = runs_of([tracks[n].masks[draw.frames[t]] for n, t in shown])  # type: ignore[misc]  # none is None
        for (n, t), of_mask in zip(shown, np.split(runs.lengths, runs.starts[1:])):
            visible[n, t] = _place_mask(masks[n, t, :height, :width], of_mask, draw)
    return clip_of(draw, images, masks, visible, annotations, tracks)


def clip_of(
    draw: ClipDraw,
    images: NDArray[np.uint8],
    masks: NDArray[np.bool_],
    visible: NDArray[np.bool_],
    annotations: Annotations,
    tracks: Sequence[Track],
) -> Clip:
    """A clip of those tracks that are visible in at least one frame: a small mask can vanish when it is resized."""
    kept = np.flatnonzero(visible.any(1))
    labels = np.array([annotations.labels[tracks[n].category_id] for n in kept], np.int64)
    masks = masks if len(kept) == len(masks) else masks[kept]
    return Clip(draw, images, masks, visible[kept], labels, tuple(tracks[n].id for n in kept))


def _place_mask(target: NDArray[np.bool_], runs: NDArray[np.int32], draw: ClipDraw) -> bool:
    """Draw a mask, resized, into a frame without any; tells whether a pixel of it is left.

    Only the box around the mask is decoded, resized and mirrored: most masks are small.
    """
    columns, inside = decode_columns(runs, draw.video.height)
    rows = np.flatnonzero(inside.any(0))
    if not rows.size:
        return False
    down, across = draw.placement.sources(0), draw.placement.sources(1)
    left, right = np.searchsorted(across, (columns, columns + len(inside)))
    top, bottom = np.searchsorted(down, (rows[0], rows[-1] + 1))
    box = inside[across[left:right] - columns][:, down[top:bottom]].T
    if draw.flip:
        left, right, box = target.shape[1] - right, target.shape[1] - left, box[:, ::-1]
    target[top:bottom, left:right] = box
    return bool(box.any())
