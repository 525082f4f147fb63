"""Pseudo-videos from stills: images of COCO's format move, and their masks and ids with them.

Rows "Y + COCO" mix them with the videos, as SeqFormer trains: one frame shows the still itself, the others, in any
order, copies whose colours are changed and that a perspective and an affine motion of their own move; some are
blurred. Then all are placed as the frames of a clip are. Like the draw of a clip it is a pure function of (seed,
iteration, position).

Shape letters:
    T  frames per clip    N  instances of a clip
    H, W  padded height and width, in pixels
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ifrvis.datasets.clips import MAX_REDRAWS, Clip, ClipDraw, VideoSampler, clip_of, permutation
from ifrvis.datasets.coco import Stills
from ifrvis.datasets.frames import read_frame
from ifrvis.datasets.placement import Placing
from ifrvis.datasets.rle import decode
from ifrvis.datasets.ytvis import Video
from ifrvis.streams import Stream, generator

ROTATION = 20.0  # degrees to either side
TRANSLATION = 0.1  # of the side, to either side, the same for both axes
PERSPECTIVE = 0.08  # standard deviation of how far a corner moves in, as a part of the side
BRIGHTNESS, HUE_AND_SATURATION = 40, 5  # of 255, to either side
BLUR_PROBABILITY, BLUR_PIXELS = 0.25, (9, 11)
MOST_INSTANCES = 25  # that a pseudo-video shows
Matrix = tuple[float, ...]  # 3 x 3, row by row


class Change(NamedTuple):
    """What makes another frame of a still; this one leaves it as it is."""

    brightness: int = 0  # is added to all channels, of 255
    hue: int = 0  # is added to hue and saturation, of 255
    motion: Matrix | None = None  # a homography from pixels of the still to pixels of the frame
    # Length in pixels (0 is none), direction in degrees, and how much more one end weighs, from -1 to 1.
    blur: tuple[int, float, float] = (0, 0.0, 0.0)


@dataclass(frozen=True)
class StillDraw(ClipDraw):
    """A pseudo-video before anything is loaded; `video` is the still, `changes` are of its T frames."""

    changes: tuple[Change, ...] = ()


class StillSampler:
    """Draws pseudo-videos; each epoch shows every still once, but for those that are drawn again. See `ClipSampler`."""

    def __init__(self, stills: Stills, *, seed: int, num_frames: int, flip: float, **placing: Any) -> None:
        self.annotations, self.seed, self.num_frames = stills.annotations, seed, num_frames
        self.flip, self.placing = float(flip), Placing(**placing)

    def draw(self, iteration: int, position: int, turn: int) -> StillDraw:
        """The pseudo-video at one position of one iteration, the `turn`-th of the training.

        Another still takes the place of one that shows no instance or more than MOST_INSTANCES.
        """
        rng, stills = generator(Stream.STILL, self.seed, iteration, position), self.annotations.videos
        epoch, index = divmod(turn, len(stills))
        still = stills[permutation(Stream.STILL_EPOCH, self.seed, epoch, len(stills))[index]]
        placement = self.placing.draw(rng, (still.height, still.width))
        for _ in range(MAX_REDRAWS):
            masks = [track.masks[0] for track in self.annotations.tracks_of(still.id)]
            if 0 < placement.num_shown(masks) <= MOST_INSTANCES:  # before the still is changed
                break
            still = stills[int(rng.integers(len(stills)))]
            placement = self.placing.draw(rng, (still.height, still.width))
        flip, unmoved = bool(rng.random() < self.flip), int(rng.integers(self.num_frames))
        changes = [Change() if t == unmoved else _draw_change(rng, still) for t in range(self.num_frames)]
        return StillDraw(iteration, position, still, (0,) * self.num_frames, flip, placement, changes=tuple(changes))


class MixedSampler:
    """Clips of videos and pseudo-videos, in turns that a ratio fixes: of n clips in a row, n x ratio are stills'.

    Without one it is the share of the stills in all stills and frames of videos, as where SeqFormer joins the two sets.
    """

    def __init__(self, clips: VideoSampler, stills: StillSampler, ratio: float | None) -> None:
        self.clips, self.stills = clips, stills
        num_stills, num_frames = len(stills.annotations.videos), sum(video.length for video in clips.videos)
        self.ratio = num_stills / (num_stills + num_frames) if ratio is None else ratio
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


def _draw_change(rng: np.random.Generator, still: Video) -> Change:
    both, brighter = rng.random() < 0.5, rng.random() < 0.5  # both colours change, or one of them
    brightness, hue = (int(rng.integers(-most, most + 1)) for most in (BRIGHTNESS, HUE_AND_SATURATION))
    motion = _of_pixels(_draw_motion(rng, still.width, still.height))
    length, angle, lean = BLUR_PIXELS[int(rng.integers(len(BLUR_PIXELS)))], rng.uniform(0, 360), rng.uniform(-1, 1)
    blur = (length, float(angle), float(lean)) if rng.random() < BLUR_PROBABILITY else (0, 0.0, 0.0)
    return Change(brightness if both or brighter else 0, 0 if brighter and not both else hue, motion, blur)


def _draw_motion(rng: np.random.Generator, width: int, height: int) -> NDArray[np.float64]:
    """A homography of the still's plane: corners move in and are drawn out again, then it turns and shifts."""
    extent = np.array([width, height])
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    inwards = np.minimum(np.abs(rng.normal(0, PERSPECTIVE, (4, 2))), 0.4)
    moved = (corners + np.where(corners, -inwards, inwards)) * extent
    perspective = cv2.getPerspectiveTransform(moved.astype(np.float32), (corners * extent).astype(np.float32))
    centre = (width / 2, height / 2)
    affine = np.eye(3)
    affine[:2] = cv2.getRotationMatrix2D(centre, rng.uniform(-ROTATION, ROTATION), 1.0)
    affine[:2, 2] += rng.uniform(-TRANSLATION, TRANSLATION) * extent
    return np.asarray(affine @ perspective, np.float64)


def _of_pixels(matrix: NDArray[np.float64]) -> Matrix:
    """The same for OpenCV, whose pixel 0 has its centre at 0 and not at a half."""
    shift = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    return tuple((np.linalg.inv(shift) @ matrix @ shift).ravel().tolist())


def load_still(stills: Stills, draw: StillDraw, padded: tuple[int, int]) -> Clip:
    """Read a still and move it and its masks through the frames of a draw; see `load_clip`. UserError if the image
    cannot be used.

    Where instances overlap, the last one has the pixels in changed frames, as in the official code.
    """
    height, width = draw.size
    source = read_frame(stills.root, draw.video, 0)
    tracks = [track for track in stills.annotations.tracks_of(draw.video.id) if track.masks[0] is not None]
    own = [decode(mask) for track in tracks for mask in track.masks if mask is not None]
    numbers = np.zeros(source.shape[:2], np.uint16)
    for number, mask in enumerate(own, start=1):
        numbers[mask] = number
    images = np.zeros((len(draw.frames), 3, *padded), np.uint8)
    masks = np.zeros((len(tracks), len(draw.frames), *padded), bool)
    mirror = slice(None, None, -1 if draw.flip else 1)
    rows, columns = draw.placement.sources(0)[:, None], draw.placement.sources(1)[mirror]
    for t, change in enumerate(draw.changes):
        images[t, :, :height, :width] = draw.placement.frame(_changed(source, change))[..., mirror]
        moved = numbers if change.motion is None else _warped(numbers, change.motion, cv2.INTER_NEAREST)
        for n, mask in enumerate(own):
            masks[n, t, :height, :width] = (mask if change.motion is None else moved == n + 1)[rows, columns]
    visible = np.asarray(masks.any(axis=(2, 3)))
    return clip_of(draw, images, masks, visible, stills.annotations, tracks)


def _changed(image: NDArray[np.uint8], change: Change) -> NDArray[np.uint8]:
    values = np.arange(256)
    if change.brightness:
        image = np.asarray(cv2.LUT(image, np.clip(values + change.brightness, 0, 255).astype(np.uint8)), np.uint8)
    if change.hue:
        hues = np.mod(values + int(change.hue / 255 * 180), 180)  # OpenCV's are half degrees
        tables = [hues, np.clip(values + change.hue, 0, 255), values]
        hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_BGR2HSV), np.stack(tables, 1)[None].astype(np.uint8))
        image = np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR), np.uint8)
    if change.motion is not None:
        image = np.asarray(_warped(image, change.motion, cv2.INTER_LINEAR), np.uint8)
    return np.asarray(cv2.filter2D(image, -1, _streak(*change.blur)), np.uint8) if change.blur[0] else image


def _warped(image: NDArray[Any], motion: Matrix, interpolation: int) -> NDArray[Any]:
    """A picture of the same size, black where nothing comes to lie."""
    matrix, size = np.array(motion).reshape(3, 3), (image.shape[1], image.shape[0])
    return np.asarray(cv2.warpPerspective(image, matrix, size, flags=interpolation))


def _streak(length: int, direction: float, lean: float) -> NDArray[np.float32]:
    """The kernel of a camera that moves by `length` pixels along `direction`; it sums to 1."""
    line = np.zeros((length, length), np.float32)
    line[length // 2] = np.linspace((1 + lean) / 2, (1 - lean) / 2, length)
    centre = ((length - 1) / 2, (length - 1) / 2)
    turned = cv2.warpAffine(line, cv2.getRotationMatrix2D(centre, direction, 1.0), (length, length))
    return np.asarray(turned / turned.sum(), np.float32)
