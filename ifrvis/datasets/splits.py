"""Which videos are held out of a training split: a rule as data, and the draw that follows it."""

import fnmatch
import hashlib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ifrvis.packed import packed_yaml
from ifrvis.schema import Model, read_model

if TYPE_CHECKING:
    from ifrvis.datasets.ytvis import Annotations, Id, Video


class HeldOut(Model):
    """Which training videos are kept for scoring: named ones (globs of names), or a seeded draw.

    Videos whose names match one of `groups` (globs) are held out together or not at all; so are those of one name, and
    those whose frames are of one folder and differ in their last number alone: they are parts of one video.
    """

    videos: tuple[str, ...] = ()
    draw: int = Field(default=0, ge=0)
    seed: int = 0
    groups: tuple[str, ...] = ()


def is_called(name: str, glob: str) -> bool:
    """Whether a name is the one that is given, brackets and all, or matches it as a glob."""
    return name == glob or fnmatch.fnmatch(name, glob)


def heldout_rule(given: str | HeldOut | None) -> HeldOut | None:
    """The rule itself, or the one that has this name in `experiments/splits/`; UserError if none has."""
    if not isinstance(given, str):
        return given
    return read_model(HeldOut, packed_yaml("splits", given), "the rule of the split")


def heldout_videos(videos: Iterable["Video"], rule: HeldOut) -> set["Id"]:
    """Ids of the videos that a rule keeps for scoring; the order of the file does not matter."""
    groups = groups_of(videos, rule)
    if rule.videos:
        named = lambda video: any(is_called(video.name, glob) for glob in rule.videos)  # noqa: E731
        return {video.id for group in groups.values() if any(map(named, group)) for video in group}
    drawn: set[Id] = set()
    for name in in_seeded_order(groups, rule.seed):
        if len(drawn) + len(groups[name]) <= rule.draw:
            drawn.update(video.id for video in groups[name])
    return drawn


def groups_of(videos: Iterable["Video"], rule: HeldOut) -> dict[str, list["Video"]]:
    """The videos that stay together, under the first of their names or globs."""
    parents: dict[str, str] = {}  # of names, globs and places that frames come from

    def root(key: str) -> str:
        while (parent := parents.setdefault(key, key)) != key:
            parents[key] = key = parents[parent]  # the next time the way is half as long
        return key

    named = {}
    for video in videos:
        name = next((glob for glob in rule.groups if is_called(video.name, glob)), video.name)
        folder, _, frame = video.file_names[0].rpartition("/")
        place = f"{folder}/{re.sub('[0-9]+(?!.*[0-9])', '', frame.rpartition('.')[0])}"
        parents[root(f"from {place}")] = root(f"name {name}")
        named[video.id] = name, video
    groups: dict[str, tuple[set[str], list[Video]]] = {}
    for name, video in named.values():
        names, group = groups.setdefault(root(f"name {name}"), (set(), []))
        names.add(name)
        group.append(video)
    return {min(names): group for names, group in groups.values()}


def official(content: dict[str, Any], annotations: "Annotations", info: dict[str, Any]) -> dict[str, Any]:
    """The content of an annotation file for the videos of `annotations`, in the schema of YouTube-VIS.

    Entries are those of `content`, from which `annotations`, all or some of them, were read; fields that their readers
    need are added where they are missing, and `info` to the file's own.
    """
    from ifrvis.datasets.rle import area, box

    tracks, own = {track.id: track for track in annotations.tracks}, content.get("info")
    videos, entries = [], []
    for entry in content["videos"]:
        if video := annotations.video_by_id.get(entry["id"]):
            videos.append({"length": video.length, **entry})
    for entry in content.get("annotations") or ():
        if track := tracks.get(entry["id"]):
            video = annotations.video_by_id[track.video_id]
            size = {"height": video.height, "width": video.width, "length": video.length, "iscrowd": 0}
            boxes = {} if "bboxes" in entry else {"bboxes": [mask and box(mask) for mask in track.masks]}
            areas = {} if "areas" in entry else {"areas": [mask and area(mask) for mask in track.masks]}
            entries.append({**size, **boxes, **areas, **entry})
    info = {**own, **info} if isinstance(own, dict) else info
    return {**content, "info": info, "videos": videos, "annotations": entries}


def in_seeded_order(names: Iterable[Any], seed: int) -> list[Any]:
    """Names or ids in an order that is drawn once and for all: neither their own order nor the others move it."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
