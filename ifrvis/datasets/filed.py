"""Ground truth that stays in its file: one pass finds where each video's entries stand, and a video is read when it is
needed. Of a video are kept its id and 24 bytes an entry; of all tracks, for that pass, their ids.

What is wrong with an entry beyond its ids and its place is said when its video is read, in the words of `ytvis`.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from ifrvis.datasets.rle import expect
from ifrvis.datasets.ytvis import (
    Annotations,
    Category,
    Id,
    Video,
    category_of,
    check_own_id,
    checked_id,
    expect_list,
    id_order,
    made_of,
    track_of,
    video_of,
)
from ifrvis.parts import PartsFile, split_json

Places = dict[Id, "array[int]"]  # by video, of each entry: index in its list, first byte, byte behind the last
Read = Callable[[int, int], None]  # what is done, and the total


@dataclass(frozen=True)
class FiledAnnotations:
    """An annotation file, of which a video is read when it is needed."""

    path: Path
    categories: tuple[Category, ...]
    tracks: Counter[Id]  # how many there are, by category
    file: PartsFile
    videos: Places  # the entry of each
    entries: Places  # its tracks, if it has any

    @cached_property
    def labels(self) -> dict[Id, int]:
        """As `Annotations.labels`."""
        return Annotations(self.path, self.categories, (), ()).labels

    @property
    def video_ids(self) -> list[Id]:
        """The ids of the videos, in their order."""
        return sorted(self.videos, key=id_order)

    def of_video(self, video_id: Id) -> Callable[[], Annotations]:
        """What reads the annotations of one video; another process can call it, too."""
        tracks = self.entries.get(video_id, array("q"))
        return partial(_read, self.file, self.categories, self.videos[video_id], tracks)

    def read_video(self, video_id: Id) -> Video:
        """One video, without its tracks; UserError if the file is wrong about it."""
        return _read(self.file, self.categories, self.videos[video_id], array("q")).videos[0]


def open_annotations(path: Path, on_read: Read) -> FiledAnnotations:
    """Look through an annotation file; UserError, as of `read_annotations`, if it is missing or wrong.

    Args:
        path: The JSON file.
        on_read: Told how many bytes are read, and how many there are.
    """
    lists: dict[str, Places] = {"videos": {}, "annotations": {}}
    seen: dict[str, set[str]] = {"videos": set(), "annotations": set()}
    tracks, size = Counter[Id](), path.stat().st_size if path.is_file() else 0

    def take(key: str, start: int, end: int, entry: Any) -> None:
        index = len(seen[key])
        where = f"{path}: {key}[{index}]"
        expect(isinstance(entry, dict), where, "an object", entry)
        check_own_id(entry, seen[key], key, where)
        own = "id" if key == "videos" else "video_id"
        for name in (own, "category_id")[: 1 + (key == "annotations")]:
            known = type(entry.get(name)) in (int, str)  # what is defined is known at the end
            expect(known, f"{where}.{name}", "an id that the annotation file defines", entry.get(name))
        tracks.update([entry["category_id"]] if key == "annotations" else [])
        add_place(lists[key], entry[own], index, start, end)
        on_read(end, size)

    content, file = split_json(path, "the annotation file", lists, take)
    expect(isinstance(content, dict), str(path), "an object with videos, categories and annotations", content)
    for key, there in (("videos", lists["videos"]), ("categories", content.get("categories"))):
        expect(there, f"{path}: {key}", "a list that is not empty", content.get(key))
    categories = tuple(made_of(content, "categories", path, category_of))
    expect_list(content, "annotations", path)
    videos, entries = lists["videos"], lists["annotations"]
    if unknown := entries.keys() - videos.keys():
        video_id = min(unknown, key=lambda each: entries[each][0])
        checked_id({"video_id": video_id}, "video_id", videos, f"{path}: annotations[{entries[video_id][0]}]")
    return FiledAnnotations(path, categories, tracks, file, videos, entries)


def add_place(places: Places, video_id: Id, *place: int) -> None:
    """Add the place of an entry to those of its video."""
    places.setdefault(video_id, array("q")).extend(place)


def parts_of(file: PartsFile, places: "array[int]") -> Iterator[tuple[int, Any]]:
    """Read entries by their places: the index of each in its list, and the entry."""
    return zip(places[::3], file.read(zip(places[1::3], places[2::3])))


def _read(file: PartsFile, categories: tuple[Category, ...], video: "array[int]", tracks: "array[int]") -> Annotations:
    parts = parts_of(file, video + tracks)
    index, entry = next(parts)
    found = video_of(f"{file.name}: videos[{index}]", entry)
    one = Annotations(file.path, categories, (found,), ())
    return replace(
        one, tracks=tuple(track_of(f"{file.name}: annotations[{index}]", entry, one) for index, entry in parts)
    )
