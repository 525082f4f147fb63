"""KITTI MOTS: PNGs of a sequence whose values are 1000 x class + instance, or a text file of run-length codes."""

import re
from pathlib import Path

import numpy as np

from ifrvis.datasets.exchange.collected import Categories, Clip, Shape, clip_of, folder_of, numbers_of, whole_number
from ifrvis.datasets.frames import folders_in, pictures_in
from ifrvis.datasets.rle import Rle, checked_rle, encode
from ifrvis.errors import UserError
from ifrvis.files import read_text, seen_in

IGNORED = 10  # the class of regions that are not annotated
WHY = "MOTS has numbers of classes alone; KITTI's are 1 for cars and 2 for pedestrians"
FIELDS = ("frame", "object", "class", "height", "width", "counts")


def read_mots(source: Path, frames: Path | None, categories: Categories) -> tuple[Path, list[Clip]]:
    """The folder of frames and the sequences; see `ifrvis data import`."""
    found = {kind: source / kind for kind in ("instances", "instances_txt") if (source / kind).is_dir()}
    if len(found) > 1:
        raise UserError(f"Give one of both, as {found['instances']}: {source} has masks as PNG and as text.")
    source = next(iter(found.values()), source)
    texts = [source] if source.is_file() else seen_in(source, ".txt")
    given = texts or folders_in(source)
    if not given:
        raise UserError(f"Give a folder with a folder of PNGs or a text file for each sequence: {source} has none.")
    if frames is None:
        raise UserError("Say with --frames where the frames are, one folder a sequence: MOTS does not say it.")
    clips = []
    for path in given:
        name = path.stem if texts else path.name
        clips.append(clip := clip_of(name, folder_of(frames, name, len(given) == 1)))
        read_sequence(clip, path, categories)
    return frames, clips


def read_sequence(clip: Clip, path: Path, categories: Categories) -> None:
    """Add to a video what a text, or a folder of PNGs, has of it."""
    places = {number: index for index, number in enumerate(_numbered(clip.frames))}
    (_read_text if path.is_file() else _read_pictures)(clip, path, places, categories)


def _numbered(paths: list[Path]) -> dict[int, Path]:
    """Paths by the last number in their names; UserError if there is none, or it is another's too."""
    found: dict[int, Path] = {}
    for path in paths:
        numbers = re.findall("[0-9]+", path.stem)
        if not numbers or found.setdefault(int(numbers[-1]), path) != path:
            raise UserError(f"Rename {path}: the last number in its name has to be that of its frame, and of no other.")
    return found


def _read_pictures(clip: Clip, folder: Path, places: dict[int, int], categories: Categories) -> None:
    paths = pictures_in(folder)
    masked = _numbered(paths)
    if lost := sorted(masked.keys() ^ places.keys()):
        raise UserError(f"Give each frame a PNG of its number: of {lost[0]} in {clip.name} there is one of both.")
    for number, path in masked.items():
        numbers = numbers_of(path, clip)
        for value in map(int, np.unique(numbers)):
            if value:
                _add(clip, places[number], value, value // 1000, encode(numbers == value), str(path), categories)


def _read_text(clip: Clip, path: Path, places: dict[int, int], categories: Categories) -> None:
    for number, line in enumerate(read_text(path, "the text of a sequence").splitlines(), start=1):
        where, parts = f"{path}, line {number}", line.split()
        if not parts:  # a blank line says nothing
            continue
        if len(parts) != len(FIELDS):
            raise UserError(f"Correct {where}: expected {', '.join(FIELDS)}, got {len(parts)} fields.")
        frame, identity, kind, height, width = (whole_number(part, where) for part in parts[:5])
        if frame not in places:
            raise UserError(f"Correct {where}: sequence {clip.name} has no frame of number {frame}.")
        code = {"size": [height, width], "counts": parts[5]}
        mask = checked_rle(code, clip.height, clip.width, where)
        _add(clip, places[frame], identity, kind, mask, where, categories)


def _add(clip: Clip, frame: int, value: int, kind: int, mask: Rle, where: str, categories: Categories) -> None:
    if value // 1000 not in (0, kind) or kind < 1:  # trackers count their objects, whatever the class
        text = f"expected 1000 x class + instance, got {value} of class {kind}"
        raise UserError(f"Correct {where}: {text}; in a text a number below 1000 says no class.")
    if kind == IGNORED:
        clip.notes.add(f"regions of {clip.name} that nobody annotated (class {IGNORED}) count as background")
    else:
        clip.shapes.append(Shape(frame, categories.name(str(kind), WHY), str(value), mask))
