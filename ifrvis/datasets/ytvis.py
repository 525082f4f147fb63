"""Reader of annotation files in the YouTube-VIS format.

One JSON object with `videos`, `categories` and `annotations`; an annotation is one track, with one segmentation or
null a frame. Everything is checked here, once: what comes out can be used without another look.

A file is read as a whole, or stays where it is: then one pass finds where each video's entries stand, and a video is
read when it is needed. Kept are the ids of videos, 24 bytes an entry and, for that pass, the ids of all tracks. What is
wrong with an entry beyond its ids is said, in the same words, when its video is read.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from ifrvis.datasets.rle import MAX_SIDE, Rle, Tube, area, checked_tube, expect
from ifrvis.errors import UserError
from ifrvis.files import read_json
from ifrvis.parts import PartsFile, Place, Places, Read, split_json

Id = int | str
T = TypeVar("T")

COCO = " (this is COCO's: `ifrvis data import coco` first)"
_UNUSABLE = re.compile(r"[\0\ud800-\udfff]")  # no file name can hold them
_OUTSIDE = re.compile(r"^/|(^|/)\.\.(/|$)")
_MAX_PATH = 4095  # letters, as of Linux; Python reads a number of at most 4300 digits in a name


@dataclass(frozen=True)
class Category:
    """One category of objects."""

    id: Id
    name: str


@dataclass(frozen=True)
class Video:
    """One video."""

    id: Id
    width: int  # pixels
    height: int
    file_names: tuple[str, ...]  # of the frames in order, relative to the folder of frames
    name: str  # the file's own, or the folder of the first frame
    tags: Mapping[str, Any] = field(default_factory=dict, hash=False)  # what a generated set says of it

    @property
    def length(self) -> int:
        """Number of frames."""
        return len(self.file_names)


@dataclass(frozen=True)
class Track:
    """One object of one video: a mask or None a frame, and the areas that the file claims for them, in pixels."""

    id: Id
    video_id: Id
    category_id: Id
    masks: tuple[Rle | None, ...]
    areas: tuple[float | None, ...]
    is_crowd: bool = False


@dataclass(frozen=True)
class Annotations:
    """The content of an annotation file, or a part of its videos; everything in the file's order."""

    path: Path
    categories: tuple[Category, ...]
    videos: tuple[Video, ...]
    tracks: tuple[Track, ...]

    @cached_property
    def labels(self) -> dict[Id, int]:
        """Label of each category id: its position among the ids in order."""
        return _labels_of(self.categories)

    @cached_property
    def video_by_id(self) -> dict[Id, Video]:
        """The video of each id."""
        return {video.id: video for video in self.videos}

    @cached_property
    def _tracks(self) -> dict[Id, list[Track]]:
        tracks: dict[Id, list[Track]] = {video.id: [] for video in self.videos}
        for track in self.tracks:
            tracks[track.video_id].append(track)
        return tracks

    def tracks_of(self, video_id: Id) -> tuple[Track, ...]:
        """The tracks of one video."""
        return tuple(self._tracks[video_id])

    def objects_of(self, video_id: Id) -> list[Track]:
        """The same without crowds, which have no outline of their own: nothing to learn from or to count."""
        return [track for track in self._tracks[video_id] if not track.is_crowd]

    @property
    def video_ids(self) -> list[Id]:
        """The ids of the videos, in their order."""
        return sorted(self.video_by_id, key=id_order)

    def of_video(self, video_id: Id) -> Callable[[], "Annotations"]:
        """What gives the same with one video only; another process can call it, too."""
        videos, tracks = (self.video_by_id[video_id],), self.tracks_of(video_id)
        return partial(Annotations, self.path, self.categories, videos, tracks)

    def subset(self, video_ids: Collection[Id]) -> "Annotations":
        """The same with these videos only; UserError if one does not exist."""
        wanted = set(video_ids)
        if unknown := wanted - self.video_by_id.keys():
            raise UserError(f"Correct the list of videos: {self.path} has no video {min(unknown, key=id_order)!r}.")
        videos = tuple(video for video in self.videos if video.id in wanted)
        return replace(self, videos=videos, tracks=tuple(track for track in self.tracks if track.video_id in wanted))

    def middle(self, frames: int) -> "Annotations":
        """The same with the middle frames of each video only, and the tracks that are seen in them.

        A video that has no more stays as it is; of an odd number of frames too many the last goes.
        """
        cuts = {video.id: slice(at := max(0, (video.length - frames) // 2), at + frames) for video in self.videos}
        videos = (replace(video, file_names=video.file_names[cuts[video.id]]) for video in self.videos)
        placed = ((track, cuts[track.video_id]) for track in self.tracks)
        tracks = (replace(track, masks=track.masks[cut], areas=track.areas[cut]) for track, cut in placed)
        seen = (track for track in tracks if any(mask is not None and area(mask) for mask in track.masks))
        return replace(self, videos=tuple(videos), tracks=tuple(seen))


@dataclass(frozen=True)
class FiledAnnotations:
    """An annotation file, of which a video is read when it is needed."""

    categories: tuple[Category, ...]
    videos: dict[Id, int]  # a number for each id
    tracks: Counter[Id]  # how many there are, by category
    file: PartsFile
    places: Mapping[str, Places]  # of the entries of `videos` and `annotations`, by video

    @cached_property
    def labels(self) -> dict[Id, int]:
        """As `Annotations.labels`."""
        return _labels_of(self.categories)

    @property
    def video_ids(self) -> list[Id]:
        """The ids of the videos, in their order."""
        return sorted(self.videos, key=id_order)

    def of_video(self, video_id: Id) -> Callable[[], Annotations]:
        """What reads the annotations of one video; another process can call it, too."""
        places = [*self.places["videos"].of(video_id), *self.places["annotations"].of(video_id)]
        return partial(_read_video, self.file, self.categories, places)

    def read_video(self, video_id: Id) -> Video:
        """One video, without its tracks; UserError if the file is wrong about it."""
        return _read_video(self.file, self.categories, self.places["videos"].of(video_id)).videos[0]


def _labels_of(categories: tuple[Category, ...]) -> dict[Id, int]:
    ids = sorted((category.id for category in categories), key=id_order)
    return {category_id: label for label, category_id in enumerate(ids)}


def _read_video(file: PartsFile, categories: tuple[Category, ...], places: list[Place]) -> Annotations:
    """A video and its tracks, whose entries stand in this order."""
    entries = file.read(places)
    index, entry = next(entries)
    video = video_of(f"{file.name}: videos[{index}]", entry)
    one = Annotations(file.path, categories, (video,), ())
    tracks = [track_of(f"{file.name}: annotations[{index}]", entry, one) for index, entry in entries]
    return replace(one, tracks=tuple(tracks))


def id_order(value: Id) -> tuple[bool, Id]:
    """Sorting key of ids: numbers by value, then texts."""
    return isinstance(value, str), value


def read_annotations(path: Path, *, tracks_required: bool = True) -> Annotations:
    """Read and check an annotation file; UserError, with file, index and field, if it is missing or wrong, or has no
    `annotations` (as a test split) where tracks are required.
    """
    return checked_annotations(read_json(path, "the annotation file"), path, tracks_required)


def checked_annotations(
    content: Any, path: Path, tracks_required: bool = True, problems: list[str] | None = None
) -> Annotations:
    """What `read_annotations` makes of the content of `path`; `problems` takes what is wrong with single entries."""
    categories = _categories_of(content, path, problems=problems)
    videos = tuple(made_of(content, "videos", path, video_of, problems))
    annotations = Annotations(path, categories, videos, ())
    if content.get("annotations") is None and not tracks_required:
        return annotations
    known = [{str(each.id) for each in kind} for kind in (videos, categories)]
    given = ((each for each in content[key] if isinstance(each, dict)) for key in ("videos", "categories"))
    lost = [{str(each.get("id")) for each in of} - ids for of, ids in zip(given, known)]  # their problem is told

    def is_wanted(entry: dict[str, Any]) -> bool:
        return str(entry.get("video_id")) not in lost[0] and str(entry.get("category_id")) not in lost[1]

    make = lambda where, entry: track_of(where, entry, annotations)  # noqa: E731
    tracks = made_of(content, "annotations", path, make, problems, is_wanted)
    return replace(annotations, tracks=tuple(tracks))


def open_annotations(path: Path, on_read: Read) -> FiledAnnotations:
    """Look through an annotation file; UserError, as of `read_annotations`, if it is missing or wrong."""
    rows, tracks = dict[Id, int](), Counter[Id]()
    places = {key: Places(rows) for key in ("videos", "annotations")}
    seen: dict[str, set[str]] = {key: set() for key in places}

    def owner_of(key: str, index: int, entry: Any) -> Id:
        where = f"{path}: {key}[{index}]"
        expect(isinstance(entry, dict), where, "an object", entry)
        check_own_id(entry, seen[key], key, where)
        if key == "videos":
            return entry["id"]  # type: ignore[no-any-return]  # checked just above
        for name in ("video_id", "category_id"):  # which ones are defined is known at the end
            known = type(entry.get(name)) in (int, str)
            expect(known, f"{where}.{name}", _a_known_id(entry, name), entry.get(name))
        tracks[entry["category_id"]] += 1
        return entry["video_id"]  # type: ignore[no-any-return]

    content, file = split_json(path, "the annotation file", places, owner_of, on_read)
    categories = _categories_of(content, path, videos=places["videos"])
    expect_list(content, "annotations", path)
    if len(rows) > len(places["videos"]):
        lost = ((index, of) for of in rows if not places["videos"].of(of) for index, *_ in places["annotations"].of(of))
        index, video_id = min(lost)
        checked_id({"video_id": video_id}, "video_id", (), f"{path}: annotations[{index}]")
    return FiledAnnotations(categories, rows, tracks, file, places)


def _categories_of(
    content: Any, path: Path, *, videos: Places | None = None, problems: list[str] | None = None
) -> tuple[Category, ...]:
    """The categories of a file, which has to have videos, too; these may have been taken out."""
    expect(isinstance(content, dict), str(path), "an object with videos, categories and annotations", content)
    for key in ("videos", "categories"):
        given = content.get(key)
        is_there = isinstance(given, list) and (videos if key == "videos" and videos is not None else given)
        expect(is_there, f"{path}: {key}", "a list that is not empty" + COCO * ("images" in content), given)
    return tuple(made_of(content, "categories", path, category_of, problems))


def made_of(
    content: dict[str, Any],
    key: str,
    path: Path,
    make: Callable[[str, dict[str, Any]], T],
    problems: list[str] | None = None,
    is_wanted: Callable[[dict[str, Any]], bool] = lambda entry: True,
) -> Iterator[T]:
    """What `make` makes of each wanted object of a list of the file; their ids differ, even as text."""
    expect_list(content, key, path)
    seen: set[str] = set()
    for index, entry in enumerate(content[key]):
        where = f"{path}: {key}[{index}]"
        try:
            expect(isinstance(entry, dict), where, "an object", entry)
            if not is_wanted(entry):
                continue
            check_own_id(entry, seen, key, where)
            yield make(where, entry)
        except UserError as error:
            if problems is None:
                raise
            problems.append(str(error))


def expect_list(content: dict[str, Any], key: str, path: Path) -> None:
    """Refuse (UserError) a file whose value of `key` is no list."""
    what = "a list (a test split's file, as YouTube-VIS's valid.json, has none)" if key == "annotations" else "a list"
    expect(isinstance(content.get(key), list), f"{path}: {key}", what, content.get(key))


def check_own_id(entry: dict[str, Any], seen: set[str], key: str, where: str) -> None:
    """Refuse (UserError) an entry without an id of its own, also as text, and add that to those seen in the list."""
    own, where = entry.get("id"), f"{where}.id"
    expect(type(own) in (int, str) and not _UNUSABLE.search(str(own)), where, "a whole number or a text", own)
    expect(str(own) not in seen, where, f"an id that no other of the {key} has", own)
    seen.add(str(own))


def _text(value: Any, where: str) -> str:
    expect(isinstance(value, str) and value and not _UNUSABLE.search(value), where, "a text", value)
    return str(value)


def category_of(where: str, entry: dict[str, Any]) -> Category:
    """A category of a file, also of COCO's; UserError for anything else."""
    return Category(entry["id"], _text(entry.get("name"), f"{where}.name"))


def video_of(where: str, entry: dict[str, Any]) -> Video:
    """A video of a file; UserError for anything else."""
    names, length = entry.get("file_names"), entry.get("length")
    expect(isinstance(names, list) and names, f"{where}.file_names", "a list of paths that is not empty", names)
    paths = tuple(checked_path(name, f"{where}.file_names[{index}]") for index, name in enumerate(entry["file_names"]))
    agrees = length is None or (type(length) is int and length == len(paths))
    expect(agrees, f"{where}.length", "the number of file_names, or no such field", length)
    width, height = checked_size(entry, where)
    tags = entry.get("tags", {})
    expect(isinstance(tags, dict), f"{where}.tags", "an object", tags)
    name = _text(entry.get("name", PurePosixPath(paths[0]).parent.as_posix()), f"{where}.name")
    return Video(entry["id"], width, height, paths, name, tags)


def checked_path(value: Any, where: str) -> str:
    """A path inside the folder of frames; UserError for anything else."""
    name = _text(value, where)
    expect(len(name) <= _MAX_PATH, where, f"a path of at most {_MAX_PATH} letters", name)
    expect("\\" not in name, where, "a path with / between folders, not Windows' \\", name)
    expect(not _OUTSIDE.search(name), where, "a path inside the folder of frames", name)
    return name


def checked_size(entry: dict[str, Any], where: str) -> tuple[int, int]:
    """Width and height of a video or an image, in pixels; UserError for anything else."""
    for side in ("width", "height"):
        pixels = entry.get(side)
        good = type(pixels) is int and 0 < pixels <= MAX_SIDE
        expect(good, f"{where}.{side}", f"a whole number of pixels from 1 to {MAX_SIDE}", pixels)
    return entry["width"], entry["height"]


def track_of(where: str, entry: dict[str, Any], annotations: Annotations) -> Track:
    """A track of a file that has these videos and categories; UserError for anything else."""
    video = annotations.video_by_id[checked_id(entry, "video_id", annotations.video_by_id, where)]
    category_id = checked_id(entry, "category_id", annotations.labels, where)
    masks = checked_masks(entry.get("segmentations"), video, f"{where}.segmentations")
    areas = entry.get("areas", [None] * video.length)
    good = isinstance(areas, list) and len(areas) == video.length
    expect(good, f"{where}.areas", f"a list of {video.length} areas or null, one a frame, or no such field", areas)
    given = tuple(
        a if a is None else checked_number(a, 0, MAX_SIDE**2, f"{where}.areas[{t}]") for t, a in enumerate(areas)
    )
    return Track(entry["id"], video.id, category_id, masks, given, checked_crowd(entry, where))


def checked_masks(values: Any, video: Video, where: str, *, any_length: bool = False, keep_runs: bool = False) -> Tube:
    """The masks of a track, one or None a frame of its video; UserError for anything else."""
    good = isinstance(values, list) and (any_length or len(values) == video.length)
    got = f"{len(values)} entries" if isinstance(values, list) else values
    expect(good, where, f"a list of {video.length} masks or null, one a frame of video {video.id!r}", got)
    return checked_tube(values, video.height, video.width, where, keep_runs=keep_runs)


def checked_id(entry: dict[str, Any], key: str, known: Collection[Id], where: str) -> Id:
    """The id under `key`, which must be one of `known`; UserError if not."""
    value = entry.get(key)
    good = type(value) in (int, str) and value in known  # the type first: 1.0 and true would be found as 1
    expect(good, f"{where}.{key}", _a_known_id(entry, key), value)
    return value  # type: ignore[return-value]  # checked just above


def _a_known_id(entry: dict[str, Any], key: str) -> str:
    is_coco = key == "video_id" and not entry.keys() & {key, "score"} and "image_id" in entry  # results have scores
    return "an id that the annotation file defines" + COCO * is_coco


def checked_crowd(entry: dict[str, Any], where: str) -> bool:
    """Whether a track, or an object of COCO's, is a crowd; UserError if anything but 0 and 1 says it."""
    value = entry.get("iscrowd", 0)
    expect(type(value) in (int, bool) and value in (0, 1), f"{where}.iscrowd", "0 or 1", value)
    return bool(value)


def checked_number(value: Any, low: float, high: float, where: str) -> float:
    """A number from `low` to `high`, both included; UserError for anything else."""
    good = type(value) in (int, float) and low <= value <= high
    expect(good, where, f"a number from {low:g} to {high:g}", value)
    return float(value)
