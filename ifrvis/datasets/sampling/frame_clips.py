"""Training clips around every frame of every video, as SeqFormer draws them (its published code).

An epoch has one clip for each frame, the key frame; others lie next to it, the rest anywhere. Size and window are
drawn once for a clip, colours for each of its frames. Like the draw of `clips` it is a pure function of (seed,
iteration, position).

Shape letters:
    T  frames per clip
"""

from typing import Any

import numpy as np

from ifrvis.datasets.clips import ClipDraw, permutation, trained_tracks
from ifrvis.datasets.placement import Placing
from ifrvis.datasets.rle import box
from ifrvis.datasets.sampling.colours import draw_colour
from ifrvis.datasets.ytvis import Annotations, Video
from ifrvis.errors import UserError
from ifrvis.streams import Stream, generator

MAX_REDRAWS = 100  # for a clip that shows no instance


class FrameSampler:
    """Draws the clips of every global batch; one epoch has every frame of every video once as key frame.

    Args:
        annotations: The training split; videos without a track that is not a crowd are left out.
        seed: The run's seed.
        global_batch: Clips of one iteration, over all processes.
        num_frames: Frames of a clip.
        frame_range: How far from the key frame the one before it and the one behind it may be, in frames.
        flip: Probability of mirroring a clip.
        colour: Distort colours.
        **placing: Of `Placing`.

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
        flip: float,
        colour: bool,
        **placing: Any,
    ) -> None:
        self.seed, self.global_batch = seed, global_batch
        self.num_frames, self.frame_range = num_frames, frame_range
        self.flip, self.colour, self.placing = float(flip), colour, Placing(**placing)
        self._masks = {video.id: [t.masks for t in trained_tracks(annotations, video)] for video in annotations.videos}
        trained = [video for video in annotations.videos if any(map(any, self._masks[video.id]))]
        self._entries = [(video, frame) for video in trained for frame in range(video.length)]
        if not self._entries:
            raise UserError(f"Give {annotations.path} at least one object that is not a crowd: none can be trained on.")

    @property
    def num_frames_in_all(self) -> int:
        """Frames of all videos that are drawn from: clips of an epoch."""
        return len(self._entries)

    def batch(self, iteration: int) -> list[ClipDraw]:
        """All draws of one global batch, by position."""
        return [self.draw(iteration, position) for position in range(self.global_batch)]

    def draw(self, iteration: int, position: int, turn: int | None = None) -> ClipDraw:
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

    def _draw(self, rng: np.random.Generator, iteration: int, position: int, video: Video, key: int) -> ClipDraw:
        frames = draw_frames(rng, key, video.length, num_frames=self.num_frames, near=self.frame_range)
        flip = bool(rng.random() < self.flip)
        colours = tuple(draw_colour(rng) for _ in frames) if self.colour else ()
        placement = self.placing.draw(rng, (video.height, video.width))
        return ClipDraw(iteration, position, video, frames, flip, placement, colours)

    def _shows_any(self, draw: ClipDraw) -> bool:
        shown = (masks[frame] for masks in self._masks[draw.video.id] for frame in draw.frames)
        boxes = (found for mask in shown if mask is not None and (found := box(mask)) is not None)
        return any(map(draw.placement.shows, boxes))


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
    back, on = rng.integers(1, near + 1, 2) if near else (0, 0)
    frames = [key, max(0, key - int(back)), min(length - 1, key + int(on))][:num_frames]
    rest = num_frames - len(frames)
    elsewhere = [*range(min(frames)), *range(max(frames), length)]
    pool = elsewhere if len(elsewhere) > rest else list(range(length))
    chosen = rng.choice(len(pool), rest, replace=len(pool) < rest)
    return tuple(sorted([*frames, *(pool[int(i)] for i in chosen)]))
