"""CVAT for video 1.1: tracks of polygons and masks in XML, frame by frame.

CVAT writes what was drawn as a shape, without a track, as a track of a single frame. Where two of these would be linked
by their overlap, such have no identity.
"""

from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError, XMLParser

import numpy as np

from ifrvis.datasets.exchange.collected import Clip, Shape, clip_of, folder_of, linked, whole_number
from ifrvis.datasets.rle import Rle, checked_rle, encode
from ifrvis.errors import UserError
from ifrvis.files import read_text


def read_cvat(source: Path, frames: Path | None) -> tuple[Path, list[Clip]]:
    """The folder of frames and a video of each file; see `ifrvis data import`."""
    paths = [source] if source.is_file() else sorted({*source.glob("[!.]*.xml"), *source.glob("[!.]*/annotations.xml")})
    if not paths:
        raise UserError(f"Give the XML file of 'CVAT for video 1.1', or a folder of such files: {source} has none.")
    root, clips = frames or (source if source.is_dir() else source.parent), []
    for path in paths:
        content = _parsed(path)
        name = content.findtext("meta/task/name") or (path.parent.name if path.stem == "annotations" else path.stem)
        name = name.replace("/", "-")
        beside = path.parent / "images"  # where CVAT writes frames with the annotations
        if frames is None and not beside.is_dir():
            raise UserError(f"Say with --frames where the frames of {path} are: there is no folder {beside}.")
        clip = clip_of(name, beside if frames is None else folder_of(frames, name, len(paths) == 1))
        _read_tracks(clip, content, path)
        clips.append(clip)
    return root, clips


def _parsed(path: Path) -> Element:
    text, parser = read_text(path, "CVAT's file"), XMLParser()  # noqa: S314  without entities, which are refused
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise UserError(f"Remove the document type from {path}: CVAT writes none.")
    try:
        parser.feed(text)
        content: Element = parser.close()
    except (ParseError, ValueError) as error:
        raise UserError(f"Replace {path}: it is not valid XML ({error}).") from error
    others = [each for each in ("image", "meta/project") if content.find(each) is not None]
    if content.tag != "annotations" or others:
        why = "of all tasks of a project" if "meta/project" in others else "of another format, without tracks"
        raise UserError(f"Export 'CVAT for video 1.1' of one task or job instead of {path}: it is {why}.")
    return content


def _read_tracks(clip: Clip, content: Element, path: Path) -> None:
    meta = next((each for key in ("task", "job") if (each := content.find(f"meta/{key}")) is not None), Element("none"))
    texts = meta.findtext("size") or str(len(clip.frames)), meta.findtext("start_frame") or "0"
    size, start = (whole_number(text, f"{path}: meta") for text in texts)
    step = whole_number((meta.findtext("frame_filter") or "step=1").rpartition("=")[2], f"{path}: frame_filter")
    if size != len(clip.frames):
        text = f"{path} has {size} frames, {clip.frames[0].parent} {len(clip.frames)}"
        raise UserError(f"Give the frames of the task, all and no others, with --frames: {text}.")
    single: list[Shape] = []
    places = {start + index * step: index for index in range(size)}
    for track in content.iter("track"):
        name = f"track {track.get('id')} of {path}"
        label, shapes = track.get("label", ""), []
        if not label:
            raise UserError(f"Correct {name}: it has no label.")
        before: int | None = None
        for entry in sorted(track, key=lambda entry: whole_number(entry.get("frame"), name)):
            frame, where = int(entry.attrib["frame"]), f"{name}, frame {entry.get('frame')}"
            if frame not in places:
                raise UserError(f"Correct {where}: the task has no such frame.")
            if before is not None and places[frame] != before + 1:
                raise UserError(f"Export {path} with all frames: {name} has no shape between frames, and does not end.")
            before = None if entry.get("outside") == "1" else places[frame]
            if before is not None:
                shapes.append((before, _mask(entry, clip, where)))
        if before is not None and before != size - 1:
            raise UserError(f"End {name} with a shape whose 'outside' is 1 where it is gone, or go on to the end.")
        identity = track.get("id")
        given = clip.shapes if len(shapes) > 1 else single
        given += [Shape(frame, label, identity, mask) for frame, mask in shapes]
    drawn_alone = any(len(track) > 1 for track in linked(single))
    clip.shapes += [each._replace(identity=None) for each in single] if drawn_alone else single
    if single:
        clip.notes.add(f"{len(single)} tracks of {clip.name} are of one frame, as CVAT writes shapes without a track")


def _mask(entry: Element, clip: Clip, where: str) -> Rle:
    if entry.tag == "polygon":
        points: Any = entry.get("points", "").replace(";", ",").split(",")
        try:
            points = [float(value) for value in points]
        except ValueError as error:
            raise UserError(f"Correct {where}: expected points x,y;x,y;..., got {entry.get('points')!r}.") from error
        return checked_rle([points], clip.height, clip.width, where)
    if entry.tag != "mask":
        raise UserError(f"Draw a polygon or a mask in {where}: a {entry.tag} says nothing of an object's pixels.")
    sides = ("left", "top", "width", "height")
    left, top, width, height = (whole_number(entry.get(side), f"{where}, {side}") for side in sides)
    text = entry.get("rle", "")
    runs = [int(run) for run in text.split(",") if run.strip().isdecimal() and len(run) < 10]
    inside = left + width <= clip.width and top + height <= clip.height
    if not inside or min(width, height) < 1 or sum(runs) != width * height or len(runs) != text.count(",") + 1:
        size = f"{clip.width} x {clip.height} pixels"
        raise UserError(f"Correct {where}: expected runs that fill the mask's box, and a box in the frame of {size}.")
    mask = np.zeros((clip.height, clip.width), bool)  # CVAT's runs go along rows, COCO's down columns
    filled = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    mask[top : top + height, left : left + width] = filled
    return encode(mask)
