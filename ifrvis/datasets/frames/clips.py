"""Training clips around every frame of every video, as SeqFormer draws them (its published code).

An epoch has one clip for each frame, the key frame; others lie next to it, the rest anywhere. Sizes and the crop are
drawn once for a clip, colours for each of its frames. Like the draw of `clips` it is a pure function of (seed,
iteration, position).

Shape letters:
    T  frames per clip    N  instances of a clip
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ifrvis.datasets.clips import Clip, ClipDraw, clip_of, permutation, read_frame, trained_tracks
from ifrvis.datasets.frames.augment import (
    Colour,
    Window,
    Windows,
    coloured,
    draw_colour,
    resized_image,
    resized_mask,
    shown_pixels,
)
from ifrvis.datasets.rle import Rle, box, decode
from ifrvis.datasets.ytvis import Annotations, Track, Video
from ifrvis.errors import UserError
from ifrvis.streams import Stream, generator

MAX_REDRAWS = 100  # for a clip that shows no instance


@dataclass(frozen=True)
class FrameDraw(ClipDraw):
    """One clip before anything is loaded.

    Attributes:
        window: What is shown of all frames, after mirroring.
        colours: T distortions.
    """

    window: Window
    colours: tuple[Colour, ...]


class FrameSampler:
    """Draws the clips of every global batch; one epoch has every frame of every video once as key frame.

    Args:
        annotations: The training split; videos without a track that is not a crowd are left out.
        seed: The run's seed.
        global_batch: Clips of one iteration, over all processes.
        num_frames: Frames of a clip.
        frame_range: How far from the key frame the one before it and the one behind it may be, in frames.
        sides: Shortest sides to draw from, in pixels.
        max_side: Bound on the longest side, in pixels.
        flip: Probability of mirroring a clip.
        crop: See `Windows`.
        colour: Distort colours.

    Raises:
        UserError: If no video can be trained on.
    """

    def __init__(
        self,
        annotations: Annotations,
        *,
        seed: int,
        global_batch: int,
        num_frames: int,
        frame_range: int,
        sides: Sequence[int],
        max_side: int,
        flip: float,
        crop: Mapping[str, Any] | None,
        colour: bool,
    ) -> None:
        self.seed, self.global_batch = seed, global_batch
        self.num_frames, self.frame_range = num_frames, frame_range
        self.flip, self.colour = float(flip), colour
        self.windows = Windows(tuple(sides), max_side, crop)
        self._masks = {video.id: [t.masks for t in trained_tracks(annotations, video)] for video in annotations.videos}
        trained = [video for video in annotations.videos if any(map(any, self._masks[video.id]))]
        self._entries = [(video, frame) for video in trained for frame in range(video.length)]
        if not self._entries:
            raise UserError(f"Give {annotations.path} at least one object that is not a crowd: none can be trained on.")

    def __len__(self) -> int:
        """Clips of an epoch."""
        return len(self._entries)

    def batch(self, iteration: int) -> list[ClipDraw]:
        """All draws of one global batch, by position."""
        return [self.draw(iteration, position) for position in range(self.global_batch)]

    def draw(self, iteration: int, position: int, turn: int | None = None) -> FrameDraw:
        """The clip at one position of one iteration; it is the `turn`-th of the training, by default of all clips.

        A clip whose window shows no instance is drawn again around a random other frame.
        """
        rng = generator(Stream.FRAME_CLIP, self.seed, iteration, position)
        turn = iteration * self.global_batch + position if turn is None else turn
        epoch, index = divmod(turn, len(self._entries))
        entry = int(permutation(Stream.FRAME_CLIP_EPOCH, self.seed, epoch, len(self._entries))[index])
        for _ in range(MAX_REDRAWS):
            drawn = self._draw(rng, iteration, position, *self._entries[entry])
            if self._shows_any(drawn):
                break
            entry = int(rng.integers(len(self._entries)))
        return drawn

    def _draw(self, rng: np.random.Generator, iteration: int, position: int, video: Video, key: int) -> FrameDraw:
        frames = draw_frames(rng, key, video.length, num_frames=self.num_frames, near=self.frame_range)
        flip = bool(rng.random() < self.flip)
        colours = tuple(draw_colour(rng) if self.colour else Colour() for _ in frames)
        window = self.windows.draw(rng, video.height, video.width)
        side = min(window.size)
        return FrameDraw(iteration, position, video, frames, side, flip, window.size, window=window, colours=colours)

    def _shows_any(self, draw: FrameDraw) -> bool:
        shown = (masks[frame] for masks in self._masks[draw.video.id] for frame in draw.frames)
        return any(is_seen(mask, draw) for mask in shown if mask is not None)


def draw_frames(rng: np.random.Generator, key: int, length: int, *, num_frames: int, near: int) -> tuple[int, ...]:
    """Frames of a clip, ascending: the key frame, one before and one behind it, and the rest from elsewhere.

    Near the ends of the video the key frame comes again; the latest frame may come twice, too.

    Args:
        rng: Source of the draws.
        key: The key frame.
        length: Of the video, in frames.
        num_frames: T.
        near: How far the one before and the one behind may be, in frames.
    """
    before, behind = max(0, key - int(rng.integers(1, near + 1))), min(length - 1, key + int(rng.integers(1, near + 1)))
    frames = [key, before, behind][:num_frames]
    rest = num_frames - len(frames)
    elsewhere = [*range(min(frames)), *range(max(frames), length)]
    pool = elsewhere if len(elsewhere) > rest else list(range(length))
    chosen = rng.choice(len(pool), rest, replace=len(pool) < rest)
    return tuple(sorted([*frames, *(pool[int(i)] for i in chosen)]))


def is_seen(mask: Rle, draw: FrameDraw) -> bool:
    """Whether the box of a mask reaches into the window."""
    found = box(mask)
    if found is None:
        return False
    left, top, width, height = found
    down, across = shown_pixels(draw.window, (draw.video.height, draw.video.width))
    if draw.flip:
        left = draw.video.width - left - width
    return bool(down[0] < top + height and down[-1] >= top and across[0] < left + width and across[-1] >= left)


def load_frame_clip(annotations: Annotations, frames_root: Path, draw: FrameDraw, padded: tuple[int, int]) -> Clip:
    """Read, mirror, colour, resize and pad the frames and masks of a draw; see `load_clip`.

    Args:
        annotations: The split that was drawn from.
        frames_root: Folder that the file names of frames are relative to.
        draw: The clip.
        padded: Height and width in pixels.

    Raises:
        UserError: If a frame cannot be used.
    """
    tracks = [t for t in trained_tracks(annotations, draw.video) if any(t.masks[frame] for frame in draw.frames)]
    frames = (
        (
            coloured(read_frame(frames_root, draw.video, frame), colour),
            [decode(mask) if (mask := track.masks[frame]) else None for track in tracks],
        )
        for frame, colour in zip(draw.frames, draw.colours)
    )
    return shown_clip(draw, frames, tracks, annotations, padded)


Frame = tuple[NDArray[np.uint8], Sequence[NDArray[np.bool_] | None]]  # an image and the masks of N instances


def shown_clip(
    draw: FrameDraw, frames: Iterable[Frame], tracks: Sequence[Track], annotations: Annotations, padded: tuple[int, int]
) -> Clip:
    """The clip that a draw shows of T frames as they are, whose instances are `tracks`."""
    height, width = draw.size
    images = np.zeros((len(draw.frames), *padded, 3), np.uint8)
    masks = np.zeros((len(tracks), len(draw.frames), *padded), bool)
    for t, (image, of_frame) in enumerate(frames):
        mirrored = np.ascontiguousarray(image[:, ::-1]) if draw.flip else image
        images[t, :height, :width] = resized_image(mirrored, draw.window)
        for n, mask in enumerate(of_frame):
            if mask is not None:
                masks[n, t, :height, :width] = resized_mask(mask, draw.window, flip=draw.flip)
    return clip_of(draw, images, masks, np.asarray(masks.any(axis=(2, 3))), annotations, tracks)
