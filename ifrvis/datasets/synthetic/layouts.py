"""What is in one video of a synthetic set: shapes, textures and paths of its objects.

A class is a shape, an identity a texture. Objects glide on curved paths and turn back at the borders. Two of them may
meet: their paths pass over each other in one frame, one object in front of the other; the others keep clear. Some enter
late or leave early, and the only object of a video may leave and come back.

Shape letters:
    T  frames
    P  corners of a polygon
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ifrvis.datasets.synthetic import textures
from ifrvis.datasets.synthetic.parameters import SyntheticParameters

AppearanceStratum = Literal["distinct", "similar", "twin"]
Box = tuple[NDArray[np.float64], NDArray[np.float64]]  # its low and its high corner, each x and y in pixels

_TURN = (0.02, 0.09)  # radians a frame
SUBPIXEL_BITS = 4  # of the fixed-point numbers that OpenCV draws polygons from


def _arc(radius: float, centre: float, first: float, last: float) -> list[tuple[float, float]]:
    angles = np.radians(np.linspace(first, last, 13))
    return list(zip(centre + radius * np.cos(angles), radius * np.sin(angles), strict=True))


def _star() -> list[tuple[float, float]]:
    radii, angles = np.tile([1.0, 0.58], 5), np.radians(np.arange(10) * 36 - 90)
    return list(zip(radii * np.cos(angles), radii * np.sin(angles), strict=True))


def _cross() -> list[tuple[float, float]]:
    arm = np.array([(0.42, -0.42), (1, -0.42), (1, 0.42)])
    quarter = np.array([(0, 1), (-1, 0)])
    return [tuple(corner) for turns in range(4) for corner in arm @ np.linalg.matrix_power(quarter, turns)]


SHAPES: dict[str, list[tuple[float, float]]] = {
    "star": _star(),
    "cross": _cross(),
    "crescent": _arc(1.0, 0.0, 40, 320) + _arc(0.45, 0.35, 290, 70),
    "arrow": [(0, -1), (0.95, 0.05), (0.45, 0.05), (0.45, 0.9), (-0.45, 0.9), (-0.45, 0.05), (-0.95, 0.05)],
    "ell": [(-0.75, -1), (0.1, -1), (0.1, 0.15), (0.85, 0.15), (0.85, 1), (-0.75, 1)],
    "hourglass": [(-0.9, -1), (0.9, -1), (0.4, 0), (0.9, 1), (-0.9, 1), (-0.4, 0)],
}


@dataclass(frozen=True)
class Wanted:
    """What a video should hold."""

    num_objects: int
    num_frames: int  # its length
    appearance: AppearanceStratum  # of objects of one class
    crossing: bool  # two objects of one class pass each other, one in front of the other
    occlusion: bool  # one object hides another for a while
    reentry: bool  # the only object leaves the frame and comes back


@dataclass(frozen=True)
class SceneObject:
    """One object."""

    label: int  # position of its class in SHAPES
    diameter: float  # of the circle around it, in pixels
    aspect: float  # width over height, before it is turned
    centres: NDArray[np.float64]  # (T, 2) float, x and y in pixels
    angles: NDArray[np.float64]  # (T,) float, in radians
    appearance: textures.Appearance  # colours and texture

    def placements(self) -> NDArray[np.float64]:
        """(T, 2, 3) float affine maps from the unit disk (diameter 1) to the frame."""
        cos, sin = self.diameter * np.cos(self.angles), self.diameter * np.sin(self.angles)
        turn = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)
        return np.concatenate([turn, self.centres[:, :, None]], -1)

    def polygons(self) -> NDArray[np.int32]:
        """(T, P, 2) int32 outlines in fixed-point pixels, as OpenCV draws them."""
        corners = np.array(list(SHAPES.values())[self.label]) * [np.sqrt(self.aspect), 1 / np.sqrt(self.aspect)]
        corners *= 0.5 / np.linalg.norm(corners, axis=1).max()
        placements = self.placements()
        points = corners @ placements[:, :, :2].transpose(0, 2, 1) + placements[:, None, :, 2]
        polygons: NDArray[np.int32] = np.round(points * 2**SUBPIXEL_BITS).astype(np.int32)
        return polygons


class Layout:
    """Draws the objects of one try; the methods share the random generator and what was drawn so far."""

    def __init__(
        self, rng: np.random.Generator, parameters: SyntheticParameters, split_number: int, wanted: Wanted
    ) -> None:
        self.rng, self.parameters, self.split_number, self.wanted = rng, parameters, split_number, wanted
        self.num_objects, self.num_frames = wanted.num_objects, wanted.num_frames
        self.meets = wanted.crossing or wanted.occlusion
        self.labels = self._labels()
        self.appearances = self._appearances()
        self.sizes = self._sizes()

    def _labels(self) -> list[int]:
        """Classes: 0 and 1 are the pair that meets; where they may not cross, 0 and 2 share a class instead."""
        first, other = (int(label) for label in self.rng.permutation(self.parameters.num_classes)[:2])
        alike = self.wanted.crossing or (not self.wanted.occlusion and self.rng.random() < 0.5)
        rest = [int(label) for label in self.rng.integers(self.parameters.num_classes, size=self.num_objects)]
        return [first, *([first, rest[0]] if alike else [other, first]), *rest[1:]][: self.num_objects]

    def _appearances(self) -> list[textures.Appearance]:
        sectors = self.rng.permutation(textures.NUM_SECTORS)
        drawn: list[textures.Appearance] = []
        for index, label in enumerate(self.labels):
            fresh = textures.draw_appearance(self.rng, self.split_number, int(sectors[index % len(sectors)]))
            like = drawn[self.labels.index(label)] if label in self.labels[:index] else None
            if like is None or self.wanted.appearance == "distinct":
                drawn.append(fresh)
            elif self.wanted.appearance == "similar":
                drawn.append(textures.similar_appearance(self.rng, like, self.split_number))
            else:
                drawn.append(like)
        return drawn

    def _sizes(self) -> list[tuple[float, float]]:
        """Diameter and aspect; twins share theirs, and the front one of an occlusion is not the smaller one."""
        sizes = [(self.rng.uniform(*self.parameters.diameter), self.rng.uniform(0.85, 1.18)) for _ in self.labels]
        sizes[:2] = sorted(sizes[:2], reverse=True)
        if self.wanted.appearance == "twin":
            sizes = [sizes[self.labels.index(label)] for label in self.labels]
        return sizes

    def objects(self) -> tuple[SceneObject, ...]:
        """The objects, from back to front; where 0 and 1 meet, 0 is in front."""
        paths = self._meeting() if self.meets else []
        while len(paths) < self.num_objects:
            paths.append(self._apart(paths))
        tilts = self.rng.uniform(-0.5, 0.5, self.num_objects)
        order = [int(index) for index in self.rng.permutation(self.num_objects)]
        if self.meets:
            tilts[1] = tilts[0]  # so that one of a class can hide the other
            back, front = sorted((order.index(0), order.index(1)))
            order[back], order[front] = 1, 0
        return tuple(self._object(index, paths[index], tilts[index]) for index in order)

    def _object(self, index: int, path: NDArray[np.float64], tilt: float) -> SceneObject:
        phase = self.rng.uniform(0, 2 * np.pi)
        sway = 0.12 * np.sin(phase + 0.15 * np.arange(self.num_frames))
        diameter, aspect = self.sizes[index]
        return SceneObject(self.labels[index], diameter, aspect, path, tilt + sway, self.appearances[index])

    def _meeting(self) -> list[NDArray[np.float64]]:
        """Paths of 0 and 1 that pass each other around the middle of the video: over it, or past its centre."""
        frame = int(self.rng.uniform(0.35, 0.65) * self.num_frames)
        reach = 0.08 if self.wanted.occlusion else self.rng.uniform(0.45, 0.65)
        heading, turn = self.rng.uniform(0, 2 * np.pi), self.rng.uniform(0, 3.1) * self.rng.choice([-1, 1])
        anchor = self.rng.uniform(*self._box(0))
        # About equally fast, they close in across the bisector of their headings: a miss along it stays.
        aside = heading + turn / 2
        offset = reach * self.sizes[0][0] * np.array([np.cos(aside), np.sin(aside)])
        other_anchor = np.clip(anchor + offset, *self._box(1))
        return [self._path(0, anchor, frame, heading), self._path(1, other_anchor, frame, heading + turn)]

    def _apart(self, paths: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        """A path for the next object that stays clear of the others if that can be had."""
        index, away = len(paths), self.num_frames > 1 and self.rng.random() < self.parameters.away
        for _ in range(40):
            if self.wanted.reentry:
                path = self._returning(index)
            elif away:
                path = self._entering_or_leaving(index)
            else:
                anchor = self.rng.uniform(*self._box(index))
                path = self._path(index, anchor, self.num_frames // 2, self.rng.uniform(0, 2 * np.pi))
            if self._clear(index, path, paths):
                break
        return path

    def _clear(self, index: int, path: NDArray[np.float64], others: list[NDArray[np.float64]]) -> bool:
        """Whether a path is as far from others as it takes for no crossing and no occlusion that are not wanted."""
        for other, other_path in enumerate(others):
            reach = (self.sizes[index][0] + self.sizes[other][0]) / 2
            nearest = np.linalg.norm(path - other_path, axis=1).min() / reach
            may_cross = self.wanted.crossing or self.labels[index] != self.labels[other]
            if nearest < (0.95 if not may_cross else 0.0 if self.wanted.occlusion else 0.55):
                return False
        return True

    def _returning(self, index: int) -> NDArray[np.float64]:
        """A path that turns back beyond one side of the frame, out of sight."""
        frame = int(self.rng.uniform(0.35, 0.65) * self.num_frames)
        reach = 0.7 * self.sizes[index][0]
        anchor, box, inward = self._border(index, reach, reach)
        return self._path(index, anchor, frame, inward + self.rng.uniform(-0.7, 0.7), box)

    def _entering_or_leaving(self, index: int) -> NDArray[np.float64]:
        """A path over one side of the frame, into it in the first half of the video or out of it in the second."""
        enters, share = bool(self.rng.integers(2)), self.rng.uniform(0, 0.8)
        frame = int((share if enters else 1 - share) * (self.num_frames - 1))
        anchor, box, inward = self._border(index, 0, max(self.parameters.width, self.parameters.height))
        heading = inward + (not enters) * np.pi + self.rng.uniform(-0.5, 0.5)
        return self._path(index, anchor, frame, heading, box)

    def _border(self, index: int, reach: float, room: float) -> tuple[NDArray[np.float64], Box, float]:
        """A place `reach` pixels beyond a side of the frame, a box with `room` pixels there, and the way inwards."""
        low, high = self._box(index)
        axis, after = int(self.rng.integers(2)), bool(self.rng.integers(2))
        side = (self.parameters.width, self.parameters.height)[axis]
        anchor = self.rng.uniform(low, high)
        anchor[axis] = side + reach if after else -reach
        (high if after else low)[axis] = side + room if after else -room
        return anchor, (low, high), axis * np.pi / 2 + after * np.pi

    def _box(self, index: int) -> Box:
        """Corners between which a centre stays, so that the object is inside the frame."""
        margin = 0.45 * self.sizes[index][0]
        return np.full(2, margin), np.array([self.parameters.width, self.parameters.height]) - margin

    def _path(
        self, index: int, anchor: NDArray[np.float64], frame: int, heading: float, box: Box | None = None
    ) -> NDArray[np.float64]:
        """(T, 2) centres of a path that is at `anchor` in `frame`, folded into the box, its corners rounded."""
        times = np.arange(-1, self.num_frames + 1) - frame
        headings = heading + self.rng.uniform(*_TURN) * self.rng.choice([-1, 1]) * times
        step = self.rng.uniform(*self.parameters.speed) * self.sizes[index][0]
        free = np.cumsum(step * np.stack([np.cos(headings), np.sin(headings)], -1), 0)
        low, high = self._box(index) if box is None else box
        folded = _folded(free - free[frame + 1] + anchor, low, high)
        return (folded[:-2] + 2 * folded[1:-1] + folded[2:]) / 4


def _folded(points: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points reflected at the sides of a box until they lie inside."""
    span = high - low
    inside = np.mod(points - low, 2 * span)
    folded: NDArray[np.float64] = low + np.minimum(inside, 2 * span - inside)
    return folded
