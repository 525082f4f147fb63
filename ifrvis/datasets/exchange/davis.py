"""DAVIS: `Annotations/VIDEO/` of palette PNGs, or one folder an object, beside `JPEGImages/VIDEO/`.

Either may have a folder of a resolution between (`480p/VIDEO`). Numbers are objects, 0 is none of them.
"""

from pathlib import Path

import numpy as np

from ifrvis.datasets.exchange.collected import Categories, Clip, Shape, clip_of, numbers_of
from ifrvis.datasets.frames import folders_in, pictures_in
from ifrvis.datasets.rle import Rle, encode
from ifrvis.errors import UserError

VOID = 255


def read_davis(
    source: Path, frames: Path | None, categories: Categories, *, void: int | None, annotated_only: bool
) -> tuple[Path, list[Clip]]:
    """The folder of frames and the videos; see `ifrvis data import`."""
    masks, images = source / "Annotations", frames or source / "JPEGImages"
    masks = masks if masks.is_dir() else source
    if not images.is_dir():
        raise UserError(f"Say with --frames where the frames are, one folder a video: there is no folder {images}.")
    images = _without_resolution(images, "--frames")
    masks = masks / images.name if (masks / images.name).is_dir() else masks
    videos = [path for path in folders_in(masks) if (images / path.name).is_dir()]
    if not videos:  # frames are elsewhere, or called otherwise than the resolution of the masks
        masks = _without_resolution(masks, "SOURCE")
        videos = folders_in(masks)
    if not videos:
        raise UserError(f"Give a folder with Annotations/VIDEO/*.png: {source} has none.")
    clips = []
    for video in videos:
        clip = clip_of(video.name, images / video.name)
        read_video(clip, video, categories, void=void, annotated_only=annotated_only)
        clips.append(clip)
    return images, clips


def read_video(
    clip: Clip, folder: Path, categories: Categories, *, void: int | None, annotated_only: bool = False
) -> None:
    """Add to a video what its folder of masks, or of folders of an object each, has."""
    objects = folders_in(folder)
    if objects and pictures_in(folder):
        raise UserError(f"Leave masks or folders of objects in {folder}, not both: which of them count is not said.")
    layers = {path.name: pictures_in(path) for path in objects} or {"": pictures_in(folder)}
    _keep_annotated(clip, layers, annotated_only)
    for name, paths in layers.items():
        _read_masks(clip, name, paths, categories, void)


def _without_resolution(folder: Path, option: str) -> Path:
    """The folder itself, or the one folder in it, if videos lie there."""
    inner = folders_in(folder)
    if any(pictures_in(path) for path in inner) or not inner:
        return folder
    below = [path for path in inner if folders_in(path)]
    if len(below) > 1:
        names = ", ".join(path.name for path in below)
        raise UserError(f"Choose one resolution, as {option} {below[0]}: {folder} has {names}.")
    return below[0] if below else folder


def _keep_annotated(clip: Clip, layers: dict[str, list[Path]], annotated_only: bool) -> None:
    """Refuse masks without a frame, and frames without masks unless these are to be left out."""
    stems = {path.stem for paths in layers.values() for path in paths}
    for name, paths in layers.items():
        there = {path.stem for path in paths}
        if lost := sorted(there - {frame.stem for frame in clip.frames}):
            raise UserError(f"Rename mask {lost[0]} in {paths[0].parent}: {clip.name} has no such frame.")
        if lost := sorted(stems - there):
            raise UserError(f"Add mask {lost[0]} of object {name} of {clip.name}, empty or not: others have one.")
    bare = [frame for frame in clip.frames if frame.stem not in stems]
    if bare and not annotated_only:
        text = f"{len(bare)} of {len(clip.frames)} frames of video {clip.name} have none, as {bare[0].name}"
        cure = "or leave such frames out by `ifrvis data import davis --annotated-only`"
        raise UserError(f"Add masks, empty ones where no object is, {cure}: {text}.")
    if not stems:
        raise UserError(f"Add masks of video {clip.name}, or take its folder away from the others: it has none.")
    clip.frames = [frame for frame in clip.frames if frame.stem in stems]


def _read_masks(clip: Clip, name: str, paths: list[Path], categories: Categories, void: int | None) -> None:
    places = {frame.stem: index for index, frame in enumerate(clip.frames)}
    found: dict[int, list[tuple[int, Rle]]] = {}  # by number: frames and masks
    for path in paths:
        numbers = numbers_of(path, clip)
        for number in map(int, np.unique(numbers)):
            if number:
                found.setdefault(number, []).append((places[path.stem], encode(numbers == number)))
    if void is None and VOID in found and len(found) > 1:
        text = f"{VOID} stands beside other objects in the masks of {clip.name}"
        raise UserError(f"Say with --void {VOID} that it is no object, or with --void 0 that it is one: {text}.")
    if found.pop(void or 0, None):
        clip.notes.add(f"pixels of {clip.name} that are no object by --void {void} count as background")
    if name and len(found) > 1:
        text = f"{sorted(found)[:5]} are there"
        raise UserError(f"Write 0 and one other number to the masks of object {name} of {clip.name}: {text}.")
    for number, masks in sorted(found.items()):
        category = categories.name(f"{clip.name}/{name or number}", "DAVIS has numbers of objects alone")
        clip.shapes += [Shape(frame, category, name or str(number), mask) for frame, mask in masks]
