"""Training clips around every frame of every video, as SeqFormer draws them (its published code).

An epoch has one clip for each frame, the key frame; others lie next to it, the rest anywhere. Size and window are
drawn once for a clip, colours for each of its frames. Like the draw of `clips` it is a pure function of (seed,
iteration, position).

Shape letters:
    T  frames per clip
"""

from typing import Any

import numpy as np

from ifrvis.datasets.clips import ClipDraw, VideoSampler
from ifrvis.datasets.sampling.colours import draw_colour
from ifrvis.datasets.ytvis import Annotations, Video
from ifrvis.streams import Stream

MAX_REDRAWS = 100  # for a clip that shows no instance


class FrameSampler(VideoSampler):
    """An epoch has a clip around every frame of every video ("frames", as published), or one of each video around any
    frame ("videos"); see `VideoSampler`. Here `frame_range` is of the frame before the key frame and of the one behind
    it.
    """

    streams = (Stream.FRAME_CLIP, Stream.FRAME_CLIP_EPOCH)

    def __init__(self, annotations: Annotations, *, around: str, colour: bool, **settings: Any) -> None:
        super().__init__(annotations, redraw_empty=True, **settings)
        self.colour = colour
        self._entries: list[tuple[Video, int | None]] = [(video, None) for video in self.videos]
        if around == "frames":
            self._entries = [(video, frame) for video in self.videos for frame in range(video.length)]
        self.num_entries = len(self._entries)

    def draw_entry(self, rng: np.random.Generator, iteration: int, position: int, entry: int) -> ClipDraw:
        """A clip whose window shows no instance is drawn again from a random other entry."""
        for _ in range(MAX_REDRAWS):
            drawn = self._draw(rng, iteration, position, *self._entries[entry])
            if drawn.placement.num_shown(masks[t] for masks in self.masks[drawn.video.id] for t in drawn.frames):
                break
            entry = int(rng.integers(len(self._entries)))
        return drawn

    def _draw(self, rng: np.random.Generator, iteration: int, position: int, video: Video, key: int | None) -> ClipDraw:
        key = int(rng.integers(video.length)) if key is None else key
        frames = draw_frames(rng, key, video.length, num_frames=self.num_frames, near=self.frame_range)
        flip = bool(rng.random() < self.flip)
        colours = tuple(draw_colour(rng) for _ in frames) if self.colour else ()
        placement = self.placing.draw(rng, (video.height, video.width))
        return ClipDraw(iteration, position, video, frames, flip, placement, colours)


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
