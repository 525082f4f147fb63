"""Pseudo-videos from stills: images of COCO's format move, and their masks and ids with them.

Rows "Y + COCO" mix them with the videos, as SeqFormer trains: one frame shows the still itself, the others show it
under a perspective and an affine motion of their own, in any order; some are blurred. A motion is one homography from
the still to the resized, mirrored frame, the same for image and masks. Like the draw of a clip it is a pure function
of (seed, iteration, position).

Shape letters:
    T  frames per clip    N  instances of a clip
    H, W  padded height and width, in pixels
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ifrvis.datasets.clips import Clip, ClipDraw, clip_of, permutation, read_frame, resized_size
from ifrvis.datasets.coco import Stills
from ifrvis.datasets.rle import decode
from ifrvis.streams import Stream, generator

ROTATION = 20.0  # degrees to either side
TRANSLATION = 0.1  # of the side, to either side
PERSPECTIVE = 0.08  # standard deviation of how far a corner moves in, as a part of the side
BLUR_PROBABILITY, BLUR_PIXELS = 0.25, (9, 11)
CROP_PROBABILITY, SMALLEST_CROP = 0.5, 0.6  # of each side, the same window for all frames
Matrix = tuple[float, ...]  # 3 x 3, row by row


@dataclass(frozen=True)
class StillDraw(ClipDraw):
    """A pseudo-video before anything is loaded; `video` is the still.

    Attributes:
        motions: T homographies from pixels of the still to pixels of the frame before padding.
        blurs: T pairs of length (0 is none) in pixels and direction in degrees.
    """

    motions: tuple[Matrix, ...]
    blurs: tuple[tuple[int, float], ...]


class StillSampler:
    """Draws pseudo-videos; each epoch shows every still once. Arguments as `ClipSampler`."""

    def __init__(
        self, stills: Stills, *, seed: int, num_frames: int, sides: Sequence[int], max_side: int, flip: float
    ) -> None:
        self._stills, self.seed, self.num_frames = stills.annotations.videos, seed, num_frames
        self.sides, self.max_side, self.flip = tuple(sides), max_side, float(flip)

    def __len__(self) -> int:
        """Clips of an epoch."""
        return len(self._stills)

    def draw(self, iteration: int, position: int, turn: int) -> StillDraw:
        """The pseudo-video at one position of one iteration, the `turn`-th of the training."""
        rng = generator(Stream.STILL, self.seed, iteration, position)
        epoch, index = divmod(turn, len(self._stills))
        still = self._stills[permutation(Stream.STILL_EPOCH, self.seed, epoch, len(self._stills))[index]]
        side, flip = self.sides[int(rng.integers(len(self.sides)))], bool(rng.random() < self.flip)
        crop = _draw_crop(rng, still.width, still.height)
        size = resized_size(crop[3], crop[2], side=side, max_side=self.max_side)
        placed = _placement(crop, size, flip)
        unmoved = int(rng.integers(self.num_frames))
        moved = [t != unmoved for t in range(self.num_frames)]
        motions = [draw_motion(rng, still.width, still.height) if each else np.eye(3) for each in moved]
        blurs = [draw_blur(rng) if each else (0, 0.0) for each in moved]
        return StillDraw(
            *(iteration, position, still, (0,) * self.num_frames, side, flip, size),
            motions=tuple(of_pixels(placed @ motion) for motion in motions),
            blurs=tuple(blurs),
        )


class Drawing(Protocol):
    """Draws clips of one kind."""

    def draw(self, iteration: int, position: int, turn: int) -> ClipDraw:
        """The clip at one position of one iteration, the `turn`-th of its kind."""


class BatchDrawing(Drawing, Protocol):
    """One that knows how many clips an iteration has."""

    global_batch: int


class MixedSampler:
    """Clips of videos and pseudo-videos, in turns that a ratio fixes: of n clips in a row, n x ratio are stills'.

    Args:
        clips: Draws from the videos.
        stills: Draws pseudo-videos.
        ratio: Their share, between 0 and 1.
    """

    def __init__(self, clips: BatchDrawing, stills: Drawing, ratio: float) -> None:
        self.clips, self.stills, self.ratio = clips, stills, ratio
        self.global_batch = clips.global_batch

    def batch(self, iteration: int) -> list[ClipDraw]:
        """All draws of one global batch, by position."""
        return [self.draw(iteration, position) for position in range(self.global_batch)]

    def draw(self, iteration: int, position: int) -> ClipDraw:
        """The clip at one position of one iteration."""
        turn = iteration * self.global_batch + position
        before = math.floor(turn * self.ratio)  # stills so far
        if math.floor((turn + 1) * self.ratio) > before:
            return self.stills.draw(iteration, position, before)
        return self.clips.draw(iteration, position, turn - before)


def _draw_crop(rng: np.random.Generator, width: int, height: int) -> tuple[int, int, int, int]:
    """x, y, width, height in pixels."""
    if rng.random() >= CROP_PROBABILITY:
        return 0, 0, width, height
    sides = [max(1, round(side * rng.uniform(SMALLEST_CROP, 1))) for side in (width, height)]
    x, y = (int(rng.integers(full - side + 1)) for full, side in zip((width, height), sides))
    return x, y, sides[0], sides[1]


def _placement(crop: tuple[int, int, int, int], size: tuple[int, int], flip: bool) -> NDArray[np.float64]:
    """From the still to the frame: the crop's corner to the origin, the frame's size, mirrored."""
    x, y, width, height = crop
    across, down = size[1] / width, size[0] / height
    if flip:
        return np.array([[-across, 0, (x + width) * across], [0, down, -y * down], [0, 0, 1]])
    return np.array([[across, 0, -x * across], [0, down, -y * down], [0, 0, 1]])


def draw_motion(rng: np.random.Generator, width: int, height: int) -> NDArray[np.float64]:
    """A homography of the still's plane: corners move in and are drawn out again, then it turns and shifts."""
    extent = np.array([width, height])
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    inwards = np.minimum(np.abs(rng.normal(0, PERSPECTIVE, (4, 2))), 0.4)
    moved = (corners + np.where(corners, -inwards, inwards)) * extent
    perspective = cv2.getPerspectiveTransform(moved.astype(np.float32), (corners * extent).astype(np.float32))
    centre = (width / 2, height / 2)
    affine = np.eye(3)
    affine[:2] = cv2.getRotationMatrix2D(centre, rng.uniform(-ROTATION, ROTATION), 1.0)
    affine[:2, 2] += rng.uniform(-TRANSLATION, TRANSLATION, 2) * extent
    return np.asarray(affine @ perspective, np.float64)


def draw_blur(rng: np.random.Generator) -> tuple[int, float]:
    """Length (0 is none) in pixels and direction in degrees."""
    length, direction = BLUR_PIXELS[int(rng.integers(len(BLUR_PIXELS)))], float(rng.uniform(0, 180))
    return (length, direction) if rng.random() < BLUR_PROBABILITY else (0, 0.0)


def of_pixels(matrix: NDArray[np.float64]) -> Matrix:
    """The same for OpenCV, whose pixel 0 has its centre at 0 and not at a half."""
    shift = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    return tuple((np.linalg.inv(shift) @ matrix @ shift).ravel().tolist())


def load_still(stills: Stills, draw: StillDraw, padded: tuple[int, int]) -> Clip:
    """Read a still and move it and its masks through the frames of a draw; see `load_clip`.

    Args:
        stills: What was drawn from.
        draw: The pseudo-video.
        padded: (H, W), in pixels.

    Raises:
        UserError: If the image cannot be used.
    """
    height, width = draw.size
    source = read_frame(stills.root, draw.video, 0)
    tracks = [track for track in stills.annotations.tracks_of(draw.video.id) if track.masks[0] is not None]
    own = [decode(mask).astype(np.uint8) for track in tracks for mask in track.masks if mask is not None]
    images = np.zeros((len(draw.frames), *padded, 3), np.uint8)
    masks = np.zeros((len(tracks), len(draw.frames), *padded), bool)
    for t, (motion, (length, direction)) in enumerate(zip(draw.motions, draw.blurs)):
        matrix = np.array(motion).reshape(3, 3)
        moved = cv2.warpPerspective(source, matrix, (width, height), flags=cv2.INTER_LINEAR)
        images[t, :height, :width] = cv2.filter2D(moved, -1, streak(length, direction)) if length else moved
        for n, mask in enumerate(own):
            masks[n, t, :height, :width] = cv2.warpPerspective(mask, matrix, (width, height), flags=cv2.INTER_NEAREST)
    visible = np.asarray(masks.any(axis=(2, 3)))
    return clip_of(draw, images, masks, visible, stills.annotations, tracks)


def streak(length: int, direction: float) -> NDArray[np.float32]:
    """The kernel of a camera that moves by `length` pixels along `direction`; it sums to 1."""
    line = np.zeros((length, length), np.float32)
    line[length // 2] = 1
    centre = ((length - 1) / 2, (length - 1) / 2)
    turned = cv2.warpAffine(line, cv2.getRotationMatrix2D(centre, direction, 1.0), (length, length))
    return np.asarray(turned / turned.sum(), np.float32)
