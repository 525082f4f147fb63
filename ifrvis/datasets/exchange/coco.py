"""COCO with `video_id`, or a folder of file names for each video; identities are `track_id` or `instance_id`."""

import re
from pathlib import Path
from typing import Any

from ifrvis.datasets.coco import still_of
from ifrvis.datasets.exchange.collected import Clip, Shape
from ifrvis.datasets.frames import by_number
from ifrvis.datasets.rle import checked_rle, expect
from ifrvis.datasets.ytvis import category_of, checked_crowd, checked_id, id_order, made_of
from ifrvis.errors import UserError
from ifrvis.files import read_json, seen_in

Entry = dict[str, Any]
_NO_TRACK = (None, -1, "")  # as programs write it where images have tracks and this object has none


def read_coco(source: Path, frames: Path | None) -> tuple[Path, list[Clip], list[str]]:
    """The folder of frames, the videos, and all categories by id; see `ifrvis data import`."""
    if source.is_dir():
        found = seen_in(source, ".json") + seen_in(source / "annotations", ".json")
        if len(found) != 1:
            raise UserError(f"Give COCO's JSON file: {source} has {len(found)} of them.")
        source = found[0]
    content = read_json(source, "COCO's file")
    expect(isinstance(content, dict), str(source), "an object with images, annotations and categories", content)
    if frames is None:
        raise UserError("Say with --frames what file names are relative to: COCO does not say it.")
    known = sorted(made_of(content, "categories", source, category_of), key=lambda each: id_order(each.id))
    names = {each.id: each.name for each in known}
    if len(set(names.values())) < len(names):
        raise UserError(f"Rename categories of {source}: two have one name, and would be one.")
    list(made_of(content, "images", source, still_of))  # they are checked so
    videos = _videos(content["images"], source)
    given = content.get("videos") if isinstance(content.get("videos"), list) else []
    titles = {str(each.get("id")): each.get("name") for each in given if isinstance(each, dict)}
    folders = {video: Path(entries[0]["file_name"]).parent.as_posix() for video, entries in videos.items()}
    if len({*folders.values()} - {"."}) < len(videos):  # else videos are called as their folders
        folders = {video: video for video in videos}
    clips, places = [], {}
    for video, entries in videos.items():
        sizes = {(each["width"], each["height"]) for each in entries}
        if len(sizes) > 1:
            raise UserError(f"Correct {source}: images of video {video} differ in size, {sorted(sizes)[:2]}.")
        paths = [frames / each["file_name"] for each in entries]
        clips.append(clip := Clip(str(titles.get(video) or folders[video]), paths, *sizes.pop()))
        places.update({each["id"]: (clip, frame) for frame, each in enumerate(entries)})

    def add(where: str, entry: Entry) -> None:
        clip, frame = places[checked_id(entry, "image_id", places, where)]
        label, shape = names[checked_id(entry, "category_id", names, where)], entry.get("segmentation")
        expect(shape, f"{where}.segmentation", "a mask (a box says nothing of an object's pixels)", shape)
        more = entry["attributes"] if isinstance(entry.get("attributes"), dict) else {}
        said = (entry.get("track_id"), entry.get("instance_id"), more.get("track_id"))
        identities = {str(each) for each in said if each not in _NO_TRACK}
        sound = len(identities) < 2 and {*map(type, said)} <= {int, str, type(None)}
        expect(sound, where, "one identity, a whole number or a text", said)
        mask = checked_rle(shape, clip.height, clip.width, f"{where}.segmentation", skip_lines=True)
        clip.shapes.append(Shape(frame, label, next(iter(identities), None), mask, checked_crowd(entry, where)))

    list(made_of(content, "annotations", source, add))
    return frames, clips, list(names.values())


def _videos(images: list[Entry], source: Path) -> dict[str, list[Entry]]:
    """The images of each video in order: of its numbers of frames where all have one, or of file names."""
    with_id = [each for each in images if each.get("video_id") is not None]
    if 0 < len(with_id) < len(images):
        raise UserError(f"Give every image of {source} a video_id: {len(images) - len(with_id)} have none.")
    videos: dict[str, list[Entry]] = {}
    for index, entry in enumerate(images):
        own, where = entry.get("video_id"), f"{source}: images[{index}].video_id"
        expect(type(own) in (int, str, type(None)), where, "a whole number or a text", own)
        videos.setdefault(str(own if with_id else Path(entry["file_name"]).parent), []).append(entry)
    for video, entries in videos.items():
        patterns = {re.sub("[0-9]+", "", Path(each["file_name"]).name) for each in entries}
        if not with_id and len(patterns) > 1:
            text = f"those of {video} have several beginnings, as {' and '.join(sorted(patterns)[:2])}"
            raise UserError(f"Give the images of {source} a video_id, or one folder a video: {text}.")
        kinds = ("frame_id", "frame_index")
        key = next((each for each in kinds if any(entry.get(each) is not None for entry in entries)), None)
        numbers = [entry.get(key) for entry in entries] if key else []
        expect({int}.issuperset(map(type, numbers)), f"{source}: {key}s of video {video}", "whole numbers", numbers)
        entries.sort(key=lambda each: each[key] if key else by_number(each["file_name"]))
        if len(set(numbers)) < len(numbers):
            raise UserError(f"Correct {source}: two images of video {video} have one {key}.")
    if "." in videos:
        videos = {source.stem if video == "." else video: entries for video, entries in videos.items()}
    return videos
