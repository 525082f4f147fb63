"""Frames of a data set, from their files, and the order that the names of frames say."""

import re
import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from ifrvis.datasets.pictures import SUFFIXES, Picture, open_picture
from ifrvis.datasets.ytvis import Video
from ifrvis.errors import DataMissingError, UserError
from ifrvis.files import seen_in


def read_frame(frames_root: Path, video: Video, frame: int) -> NDArray[np.uint8]:
    """A frame as (height, width, 3) uint8, BGR; DataMissingError without one, UserError if it is not as annotated."""
    path = frames_root / video.file_names[frame]
    try:
        picture = open_picture(path)
    except DataMissingError as error:
        raise DataMissingError(f"Restore {path}: this frame of video {video.id!r} does not exist.") from error
    if wrong := wrong_size(picture, video):
        raise UserError(wrong)
    if picture.orientation != 1:
        text = f"Frames of video {video.id!r} are turned as their orientation tags say; look at `ifrvis data check`."
        warnings.warn(text, stacklevel=2)
    return picture.frame()


def wrong_size(picture: Picture, video: Video) -> str:
    """What to do about a frame whose upright size is not that of its video; nothing where it is."""
    came, said = (picture.width, picture.height), (video.width, video.height)
    if came == said:
        return ""
    if picture.orientation > 4 and came[::-1] == said:
        return (
            f"Write {picture.path} anew without its orientation tag {picture.orientation}, or turn masks, width and "
            f"height of video {video.id!r}: upright it is {came[0]} x {came[1]} pixels, and the annotations say "
            f"{said[0]} x {said[1]}, as it is stored."
        )
    return (
        f"Replace {picture.path}, or correct width and height of video {video.id!r}: the frame is "
        f"{came[0]} x {came[1]} pixels, the annotations say {said[0]} x {said[1]}."
    )


def by_number(name: str) -> list[tuple[int, str]]:
    """Sorting key under which frame2 comes before frame10."""
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), "") if part.isdecimal() and part.isascii() else (-1, part) for part in parts]


def same_number(names: Sequence[str]) -> tuple[str, str] | None:
    """Two names of frames that say one place, as 0.jpg and 0_mask.png, or 1.png and 01.png; None if all differ."""

    def place(name: str) -> tuple[str, list[int] | str]:
        folder, stem = PurePath(name).parent.as_posix(), PurePath(name).stem
        return folder, [int(part) for part in re.findall("[0-9]+", stem)] or stem

    ordered = sorted(names, key=lambda name: repr(place(name)))
    return next(((one, other) for one, other in pairwise(ordered) if place(one) == place(other)), None)


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, sorted; not hidden ones."""
    return [path for path in seen_in(folder) if path.is_dir()]


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder in the order of their numbers; UserError if two say one."""
    found = [path for path in seen_in(folder) if path.suffix.lower() in SUFFIXES]
    if same := same_number([path.name for path in found]):
        raise UserError(f"Give a folder with the frames of one video alone: {folder} has {same[0]} beside {same[1]}.")
    return sorted(found, key=lambda path: by_number(path.name))
