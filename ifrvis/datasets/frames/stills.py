"""Pseudo-videos beside the clips of `clips`, as SeqFormer's published code makes them of COCO's images.

One frame shows the still as it is, the others under a motion and colours of their own, in any order; then all are
mirrored, cropped and resized as a clip of a video is. In a copy that moves, an instance hides those before it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from ifrvis.datasets.clips import Clip, permutation, read_frame
from ifrvis.datasets.coco import Stills
from ifrvis.datasets.frames.augment import Colour, Windows, coloured, draw_still_colour
from ifrvis.datasets.frames.clips import MAX_REDRAWS, Frame, FrameDraw, is_seen, shown_clip
from ifrvis.datasets.rle import decode
from ifrvis.datasets.stills import Matrix, draw_blur, draw_motion, of_pixels, streak
from ifrvis.datasets.ytvis import Track, Video
from ifrvis.streams import Stream, generator

MAX_INSTANCES = 25  # a still with more, or without any, is left out


@dataclass(frozen=True)
class FrameStillDraw(FrameDraw):
    """A pseudo-video before anything is loaded; `video` is the still, and `frames` are all its only one.

    Attributes:
        motions: T homographies of the still's pixels; None shows it as it is.
        blurs: T pairs of length (0 is none) in pixels and direction in degrees.
    """

    motions: tuple[Matrix | None, ...]
    blurs: tuple[tuple[int, float], ...]


class FrameStillSampler:
    """Draws pseudo-videos; an epoch has every still once, but for what is drawn again. Arguments as `FrameSampler`."""

    def __init__(
        self,
        stills: Stills,
        *,
        seed: int,
        num_frames: int,
        sides: Sequence[int],
        max_side: int,
        flip: float,
        crop: Mapping[str, Any] | None,
    ) -> None:
        annotations = stills.annotations
        self.seed, self.num_frames, self.flip = seed, num_frames, float(flip)
        self.windows = Windows(tuple(sides), max_side, crop)
        masks = ((still, [t.masks[0] for t in annotations.tracks_of(still.id)]) for still in annotations.videos)
        self._entries = [(still, of_still) for still, of_still in masks if 0 < len(of_still) <= MAX_INSTANCES]

    def __len__(self) -> int:
        """Pseudo-videos of an epoch."""
        return len(self._entries)

    def draw(self, iteration: int, position: int, turn: int) -> FrameStillDraw:
        """The pseudo-video at one position of one iteration, the `turn`-th of the training.

        One whose window shows no instance is drawn again of a random other still.
        """
        rng = generator(Stream.FRAME_STILL, self.seed, iteration, position)
        epoch, index = divmod(turn, len(self))
        entry = int(permutation(Stream.FRAME_STILL_EPOCH, self.seed, epoch, len(self))[index])
        for _ in range(MAX_REDRAWS):
            still, masks = self._entries[entry]
            drawn = self._draw(rng, iteration, position, still)
            if any(is_seen(mask, drawn) for mask in masks if mask is not None):
                break
            entry = int(rng.integers(len(self)))
        return drawn

    def _draw(self, rng: np.random.Generator, iteration: int, position: int, still: Video) -> FrameStillDraw:
        num_frames, flip = self.num_frames, bool(rng.random() < self.flip)
        window = self.windows.draw(rng, still.height, still.width)
        moves = rng.permutation(num_frames) != 0
        motions = [of_pixels(draw_motion(rng, still.width, still.height)) if each else None for each in moves]
        return FrameStillDraw(
            *(iteration, position, still, (0,) * num_frames, min(window.size), flip, window.size),
            window=window,
            colours=tuple(draw_still_colour(rng) if each else Colour() for each in moves),
            motions=tuple(motions),
            blurs=tuple(draw_blur(rng) if each else (0, 0.0) for each in moves),
        )


def load_frame_still(stills: Stills, draw: FrameStillDraw, padded: tuple[int, int]) -> Clip:
    """Read a still and move it and its masks through the frames of a draw; see `clips.load_frame_clip`.

    Args:
        stills: What was drawn from.
        draw: The pseudo-video.
        padded: Height and width in pixels.

    Raises:
        UserError: If the image cannot be used.
    """
    tracks = [track for track in stills.annotations.tracks_of(draw.video.id) if track.masks[0] is not None]
    return shown_clip(draw, _frames(stills, draw, tracks), tracks, stills.annotations, padded)


def _frames(stills: Stills, draw: FrameStillDraw, tracks: Sequence[Track]) -> Iterator[Frame]:
    source, size = read_frame(stills.root, draw.video, 0), (draw.video.width, draw.video.height)
    own = [decode(mask) for track in tracks for mask in track.masks if mask is not None]
    numbers = np.zeros(size[::-1], np.uint8)  # of the last instance at each pixel, from 1
    for number, mask in enumerate(own, start=1):
        numbers[mask] = number
    for motion, colour, (length, direction) in zip(draw.motions, draw.colours, draw.blurs):
        if motion is None:
            yield source, own
            continue
        matrix = np.array(motion).reshape(3, 3)
        image = cv2.warpPerspective(coloured(source, colour), matrix, size, flags=cv2.INTER_LINEAR)
        image = cv2.filter2D(image, -1, streak(length, direction)) if length else image
        moved = cv2.warpPerspective(numbers, matrix, size, flags=cv2.INTER_NEAREST)
        yield np.asarray(image, np.uint8), [moved == number for number in range(1, len(own) + 1)]
