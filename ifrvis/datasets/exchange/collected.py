"""What every importer gives: videos with objects in their frames, and how these become tracks."""

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from scipy.optimize import linear_sum_assignment

from ifrvis.datasets.frames import pictures_in
from ifrvis.datasets.pictures import open_picture
from ifrvis.datasets.rle import Rle
from ifrvis.datasets.splits import is_called
from ifrvis.errors import UserError

MIN_OVERLAP = 0.5  # IoU of two masks of one object in neighbouring frames


class Shape(NamedTuple):
    """One object in one frame; without an identity it has to be linked."""

    frame: int
    category: str
    identity: str | None
    mask: Rle
    is_crowd: bool = False


@dataclass
class Clip:
    """One video: its frames in order, their size in pixels, and what is in them."""

    name: str
    frames: list[Path]
    width: int
    height: int
    shapes: list[Shape] = field(default_factory=list)
    notes: set[str] = field(default_factory=set)  # what the user should know of it

    def tracks(self, link: bool, ask: str = "") -> dict[str, list[Shape]]:
        """The shapes of each object; UserError if it is twice in a frame, of two categories, or not known which,
        with `ask`, how else it can be known.
        """
        tracks: dict[str, list[Shape]] = {}
        loose = [shape for shape in self.shapes if shape.identity is None]
        if loose and not link:
            what = f"{len(loose)} objects in frames of {self.name} have none"
            raise UserError(f"Give each object an identity{ask}: {what}.")
        for shape in [shape for shape in self.shapes if shape.identity is not None]:
            tracks.setdefault(str(shape.identity), []).append(shape)
        for name, shapes in tracks.items():
            frames, categories = [each.frame for each in shapes], sorted({each.category for each in shapes})
            if len(set(frames)) < len(frames):
                twice = next(frame for frame in frames if frames.count(frame) > 1)
                raise UserError(f"Correct object {name} of {self.name}: it is twice in {self.frames[twice].name}.")
            if len(categories) > 1:
                raise UserError(f"Correct object {name} of {self.name}: it is {' and '.join(categories)}.")
        return tracks | {f"linked {number}": shapes for number, shapes in enumerate(linked(loose), start=1)}


def linked(shapes: Iterable[Shape]) -> list[list[Shape]]:
    """Tracks of shapes without identity: in each frame the pairing with the one before that overlaps most."""
    tracks: list[list[Shape]] = []
    frames: dict[int, list[Shape]] = {}
    for shape in shapes:
        frames.setdefault(shape.frame, []).append(shape)
    for frame, now in sorted(frames.items()):
        before = [track for track in tracks if track[-1].frame == frame - 1]
        overlap: NDArray[Any] = np.zeros((len(before), len(now)))
        if before:
            overlap = coco_mask.iou([track[-1].mask for track in before], [each.mask for each in now], [0] * len(now))
        same = [[track[-1].category == each.category for each in now] for track in before]
        overlap = np.where(np.array(same, bool).reshape(overlap.shape), overlap, 0)
        pairs = zip(*linear_sum_assignment(overlap, maximize=True))
        found = {column: before[row] for row, column in pairs if overlap[row, column] >= MIN_OVERLAP}
        for column, shape in enumerate(now):
            if column not in found:
                tracks.append(found.setdefault(column, []))
            found[column].append(shape)
    return tracks


class Categories:
    """Names that the user gives to what a format only counts: `NAME` for all, or `GLOB=NAME`; the first counts."""

    def __init__(self, given: list[str]) -> None:
        parts = [text.rpartition("=") for text in given]
        if not all(name for *_, name in parts):
            raise UserError("Give --category a name, or GLOB=NAME: there is none behind the last =.")
        self.rules, self.used = [(glob or "*", name) for glob, _, name in parts], set[str]()

    def name(self, what: str, why: str) -> str:
        """The name of `what`; UserError, which says why it is asked for, without one."""
        for glob, name in self.rules:
            if is_called(what, glob):
                self.used.add(glob)
                return name
        how = f"with --category {shlex.quote(f'{what}=NAME')}, or of all with --category NAME"
        raise UserError(f"Name the category of {what} {how}: {why}.")

    def notes(self) -> list[str]:
        """Names that were given to nothing."""
        unused = [f"{glob}={name}" for glob, name in self.rules if glob not in self.used]
        return [f"--category {each} names nothing that is there" for each in unused]


def clip_of(name: str, folder: Path) -> Clip:
    """A video of the pictures of a folder; UserError if there are none."""
    frames = pictures_in(folder)
    if not frames:
        raise UserError(f"Say with --frames where the frames of video {name} are: there are none in {folder}.")
    first = open_picture(frames[0])
    return Clip(name, frames, first.width, first.height)


def folder_of(frames: Path, name: str, is_only: bool) -> Path:
    """Where the frames of a video are: in a folder of its name, or, of the only video, in the folder given."""
    return frames / name if (frames / name).is_dir() or not is_only else frames


def numbers_of(path: Path, clip: Clip) -> NDArray[np.int64]:
    """The numbers of a file of masks, of the size of the video's frames."""
    if path.suffix.lower() in (".jpg", ".jpeg"):
        raise UserError(f"Give masks as PNG: {path} is a JPEG, whose values are not those that were written.")
    numbers = open_picture(path).numbers()
    if numbers.shape != (clip.height, clip.width):
        came = f"it is {numbers.shape[1]} x {numbers.shape[0]} pixels, frames are {clip.width} x {clip.height}"
        raise UserError(f"Give masks of the frames' size, or the frames that they are of: {path} is not: {came}.")
    return numbers


def whole_number(text: str | None, where: str) -> int:
    """What a text says; UserError if that is no whole number."""
    if text is None or not re.fullmatch("[0-9]{1,9}", text.strip()):
        raise UserError(f"Correct {where}: expected a whole number, got {text!r}.")
    return int(text)
