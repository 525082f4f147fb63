"""Training clips: which frames of which video are drawn, and how they are loaded.

A draw is a pure function of (seed, iteration, position in the global batch), so that restarts, workers and the
number of processes change nothing. Videos come in one permutation per epoch; a clip is a key frame and others
near it; its shortest side and its flip are drawn once for the whole clip, as in the official recipe.

Shape letters:
    T  frames per clip    N  instances of a clip
    H, W  padded height and width, in pixels
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ifrvis.datasets.rle import decode_columns, runs_of
from ifrvis.datasets.ytvis import Annotations, Id, Track, Video
from ifrvis.errors import DataMissingError, UserError
from ifrvis.streams import Stream, generator

PAD_TO = 32  # pixels
MAX_REDRAWS = 10  # for a clip without any visible instance


@dataclass(frozen=True)
class ClipDraw:
    """One clip of a global batch, before anything is loaded.

    Attributes:
        iteration: The training iteration, from 0.
        position: Position in the global batch.
        video: The video.
        frames: T frame numbers, ascending; a frame may come twice in a video that is too short.
        side: Shortest side that was drawn, in pixels.
        flip: Whether the clip is mirrored left to right.
        size: (height, width) of the resized frames, in pixels, before padding.
    """

    iteration: int
    position: int
    video: Video
    frames: tuple[int, ...]
    side: int
    flip: bool
    size: tuple[int, int]


@dataclass(frozen=True)
class Clip:
    """A loaded clip, padded right and bottom with zeros.

    Attributes:
        draw: What was drawn; `draw.size` is the part of the images that is not padding.
        images: (T, H, W, 3) uint8, BGR.
        masks: (N, T, H, W) bool, of the instances that are visible in at least one frame.
        visible: (N, T) bool, where a mask has any pixel.
        labels: (N,) int64, positions in the list of categories.
        track_ids: Ids of the N tracks.
    """

    draw: ClipDraw
    images: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    visible: NDArray[np.bool_]
    labels: NDArray[np.int64]
    track_ids: tuple[Id, ...]


class ClipSampler:
    """Draws the clips of every global batch.

    Args:
        annotations: The training split; videos without a track that is not a crowd are left out.
        seed: The run's seed.
        global_batch: Clips of one iteration, over all processes.
        num_frames: Frames of a clip.
        frame_range: How far from the key frame the others may be, in frames.
        sides: Shortest sides to draw from, in pixels.
        max_side: Bound on the longest side, in pixels.
        flip: Probability of mirroring a clip.

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
    ) -> None:
        self.seed, self.global_batch = seed, global_batch
        self.num_frames, self.frame_range = num_frames, frame_range
        self.sides, self.max_side, self.flip = tuple(sides), max_side, float(flip)
        visible = {video.id: _visible_frames(annotations, video) for video in annotations.videos}
        self._videos = [(video, visible[video.id]) for video in annotations.videos if visible[video.id].any()]
        if not self._videos:
            raise UserError(f"Give {annotations.path} at least one object that is not a crowd: none can be trained on.")

    def __len__(self) -> int:
        """Clips of an epoch."""
        return len(self._videos)

    def batch(self, iteration: int) -> list[ClipDraw]:
        """All draws of one global batch, by position."""
        return [self.draw(iteration, position) for position in range(self.global_batch)]

    def draw(self, iteration: int, position: int, turn: int | None = None) -> ClipDraw:
        """The clip at one position of one iteration; it is the `turn`-th of the training, by default of all clips."""
        rng = generator(Stream.CLIP, self.seed, iteration, position)
        turn = iteration * self.global_batch + position if turn is None else turn
        epoch, index = divmod(turn, len(self._videos))
        video, visible = self._videos[permutation(Stream.CLIP_EPOCH, self.seed, epoch, len(self._videos))[index]]
        frames = self._draw_frames(rng, visible)
        side = self.sides[int(rng.integers(len(self.sides)))]
        flip = bool(rng.random() < self.flip)
        size = resized_size(video.height, video.width, side=side, max_side=self.max_side)
        return ClipDraw(iteration, position, video, frames, side, flip, size)

    def _draw_frames(self, rng: np.random.Generator, visible: NDArray[np.bool_]) -> tuple[int, ...]:
        """Frames with something to learn from, if a few tries find any."""
        frames: tuple[int, ...] = ()
        for _ in range(1 + MAX_REDRAWS):
            frames = self._draw_window(rng, len(visible))
            if visible[list(frames)].any():
                break
        return frames

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


def trained_tracks(annotations: Annotations, video: Video) -> list[Track]:
    """A crowd has no outline of its own: nothing to learn from."""
    return [track for track in annotations.tracks_of(video.id) if not track.is_crowd]


def _visible_frames(annotations: Annotations, video: Video) -> NDArray[np.bool_]:
    """(number of frames,) bool: whether any instance has a mask there."""
    visible = np.zeros(len(video.file_names), bool)
    for track in trained_tracks(annotations, video):
        visible |= [mask is not None for mask in track.masks]
    return visible


def resized_size(height: int, width: int, *, side: int, max_side: int) -> tuple[int, int]:
    """Height and width, in pixels, with the shortest side `side` unless the longest would exceed `max_side`."""
    scale = min(side / min(height, width), max_side / max(height, width))
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def padded_size(draws: Sequence[ClipDraw]) -> tuple[int, int]:
    """Height and width, in pixels, that hold every clip of a global batch and are multiples of PAD_TO."""
    height = max(draw.size[0] for draw in draws)
    width = max(draw.size[1] for draw in draws)
    return -(-height // PAD_TO) * PAD_TO, -(-width // PAD_TO) * PAD_TO


def read_frame(frames_root: Path, video: Video, frame: int) -> NDArray[np.uint8]:
    """A frame as (height, width, 3) uint8, BGR.

    Raises:
        DataMissingError: If its file is missing.
        UserError: If its file is no image or does not have the size that the annotations state.
    """
    path = frames_root / video.file_names[frame]
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except FileNotFoundError as error:
        raise DataMissingError(f"Restore {path}: this frame of video {video.id!r} does not exist.") from error
    except OSError as error:
        raise UserError(f"Make {path} readable: {error.strerror}.") from error
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        raise UserError(f"Copy {path} again: this frame of video {video.id!r} is cut short or is no image.")
    if image.shape[:2] != (video.height, video.width):
        raise UserError(
            f"Replace {path}, or correct width and height of video {video.id!r}: the frame is "
            f"{image.shape[1]} x {image.shape[0]} pixels, the annotations say {video.width} x {video.height}."
        )
    return np.asarray(image, np.uint8)


def load_clip(annotations: Annotations, frames_root: Path, draw: ClipDraw, padded: tuple[int, int]) -> Clip:
    """Read, resize, flip and pad the frames and masks of a draw.

    Args:
        annotations: The split that was drawn from.
        frames_root: Folder that the file names of frames are relative to.
        draw: The clip.
        padded: (H, W), in pixels.

    Raises:
        UserError: If a frame cannot be used.
    """
    tracks = [
        track for track in trained_tracks(annotations, draw.video) if any(track.masks[frame] for frame in draw.frames)
    ]
    height, width = draw.size
    images = np.zeros((len(draw.frames), *padded, 3), np.uint8)
    masks = np.zeros((len(tracks), len(draw.frames), *padded), bool)
    visible = np.zeros(masks.shape[:2], bool)
    for t, frame in enumerate(draw.frames):
        resized = cv2.resize(read_frame(frames_root, draw.video, frame), (width, height))
        images[t, :height, :width] = cv2.flip(resized, 1) if draw.flip else resized
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


@functools.lru_cache(maxsize=64)
def _nearest(count: int, source_count: int) -> NDArray[np.int64]:
    """The source of each of `count` pixels along one side, (count,), as OpenCV resizes masks.

    Its exact variant shares the image's pixel centres; the plain one is half a pixel off.
    """
    line = np.arange(source_count, dtype=np.float32)[None]
    return np.asarray(cv2.resize(line, (count, 1), interpolation=cv2.INTER_NEAREST_EXACT)[0], np.int64)


def _place_mask(target: NDArray[np.bool_], runs: NDArray[np.int32], draw: ClipDraw) -> bool:
    """Draw a mask, resized, into a frame without any; tells whether a pixel of it is left.

    Only the box around the mask is decoded, resized and mirrored: most masks are small.
    """
    columns, inside = decode_columns(runs, draw.video.height)
    rows = np.flatnonzero(inside.any(0))
    if not rows.size:
        return False
    across, down = _nearest(target.shape[1], draw.video.width), _nearest(target.shape[0], draw.video.height)
    left, right = np.searchsorted(across, (columns, columns + len(inside)))
    top, bottom = np.searchsorted(down, (rows[0], rows[-1] + 1))
    box = inside[across[left:right] - columns][:, down[top:bottom]].T
    if draw.flip:
        left, right, box = target.shape[1] - right, target.shape[1] - left, box[:, ::-1]
    target[top:bottom, left:right] = box
    return bool(box.any())
