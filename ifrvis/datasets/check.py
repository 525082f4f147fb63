"""Whether an installed dataset is what its YAML says: files, categories, ids, masks, and frames on disk.

A check says all that is wrong, where the reader says the first thing. An error is what training or evaluation would
refuse or do wrongly; a note is worth knowing and harmless.
"""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from ifrvis.datasets.catalog import Dataset, Role, Split
from ifrvis.datasets.frames import by_number, same_number, wrong_size
from ifrvis.datasets.pictures import SUFFIXES, open_picture
from ifrvis.datasets.rle import area
from ifrvis.datasets.splits import heldout_rule
from ifrvis.datasets.ytvis import Annotations, Video, checked_annotations, id_order
from ifrvis.errors import DataMissingError, UserError
from ifrvis.files import read_json, seen_in

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Finding:
    """One thing that was found; `text` says first what to do about it."""

    level: Literal["error", "note"]
    kind: str
    text: str


@dataclass
class Checked:
    """What was found in one split of a dataset."""

    role: Role
    annotation: Path
    findings: list[Finding] = field(default_factory=list)
    videos: int = 0
    frames: int = 0
    tracks: int = 0
    fingerprint: str | None = None  # None where the reader refuses the files
    seen: dict[str, list[str]] = field(default_factory=dict, repr=False)  # kind of `_NOTES` -> what is so

    @property
    def is_sound(self) -> bool:
        """Whether there is no error."""
        return all(finding.level != "error" for finding in self.findings)

    def say(self, kind: str, text: str, level: Literal["error", "note"] = "error") -> None:
        """Note a finding."""
        self.findings.append(Finding(level, kind, text))

    def see(self, kind: str, *what: object) -> None:
        """Count something that is said once, however often it is so."""
        self.seen.setdefault(kind, []).extend(map(str, what))


# What is worth knowing of many frames or videos: `n` of them, as `first`.
_NOTES = {
    "orientation": "Look at the masks of frames with an orientation tag: {n} have one, as {first}, and are turned "
    "upright as it says; masks that were drawn on a picture as it is stored lie elsewhere.",
    "stretched": "Write frames with 8 bits a channel to choose their brightness: {n} have more, as {first}, and each "
    "is stretched between its own darkest and brightest values.",
    "frame order": "Look at the order of frames and masks of {n} videos, as {first}: as numbers, names of its frames "
    "have another order than as text, and that of the file is taken, for frames and masks alike.",
    "frames twice": "Look at the frames of {n} videos for masks or copies among them: {first} say one number.",
    "masks among frames": "Look at the frames of {n} videos for masks among them: {first}.",
    "shared folder": "Give each video a folder of its own unless they are parts of one: {n} share one with others, "
    "as {first}; those of one name are held out together.",
    "more pictures": "Nothing has to be done: {n} pictures in folders of videos are not listed, as {first}; if they "
    "are frames, videos are shorter than they could be.",
}


def check_dataset(dataset: Dataset, *, decode: bool = False, progress: Progress | None = None) -> list[Checked]:
    """Check all splits that are, or must be, installed; with `decode` frames as a whole, else their headers."""
    roles: tuple[Role, ...] = ("full", "server") if dataset.config.server else ("full",)
    if dataset.config.synthetic is not None:
        roles = tuple(role for role in dataset.made if role in ("train", "heldout") or dataset.files(role)[0].exists())
    return [_check_split(dataset, role, decode, progress or (lambda done, total: None)) for role in roles]


def _check_split(dataset: Dataset, role: Role, decode: bool, progress: Progress) -> Checked:
    annotation, frames = dataset.files(role)
    checked = Checked(role, annotation)
    if not annotation.exists() or not frames.exists():
        checked.say("missing", dataset.split(role).missing, "note" if role == "server" else "error")
        return checked
    problems: list[str] = []
    try:
        content = read_json(annotation, "the annotation file")
        annotations = checked_annotations(content, annotation, role != "server", problems)
    except UserError as error:
        checked.say("annotation", str(error))
        return checked
    for problem in problems:
        checked.say("entry", problem)
    checked.videos, checked.tracks = len(annotations.videos), len(annotations.tracks)
    if len(annotations.categories) == len(content["categories"]):  # else what is wrong with one was said
        _check_categories(checked, dataset, annotations)
    _check_videos(checked, dataset, annotations, content)
    if role == "full" and not problems:  # else videos lack
        _check_rule(checked, dataset, annotations)
    _check_tracks(checked, annotations)
    for done, video in enumerate(annotations.videos, start=1):
        _check_frames(checked, frames, video, decode)
        progress(done, len(annotations.videos))
    _check_for_more(checked, frames, content)
    for kind, what in checked.seen.items():
        checked.say(kind, _NOTES[kind].format(n=len(what), first=what[0]), "note")
    if checked.is_sound:
        checked.fingerprint = dataset.split(role).fingerprint
    return checked


def _check_categories(checked: Checked, dataset: Dataset, annotations: Annotations) -> None:
    names = [each.name for each in sorted(annotations.categories, key=lambda each: id_order(each.id))]
    wanted, where = list(dataset.config.names), f"{checked.annotation}: categories"
    if len(names) != dataset.config.categories:
        checked.say("categories", f"Correct {where}: there are {len(names)}, {dataset.config.categories} are expected.")
    if wanted and set(names) != set(wanted):
        differing = ", ".join(sorted({*names} ^ {*wanted}))
        checked.say("categories", f"Correct {where}: these are missing, or are not the dataset's: {differing}.")
    elif wanted and names != wanted:
        label = next(i for i, (one, other) in enumerate(zip(names, wanted)) if one != other)
        text = f"Correct {where}: in the order of ids, number {label + 1} is {names[label]}, not {wanted[label]}."
        checked.say("category order", text)


def _check_videos(checked: Checked, dataset: Dataset, annotations: Annotations, content: dict[str, Any]) -> None:
    server, num_videos = dataset.config.server, len(content["videos"])
    expected = server.videos if checked.role == "server" and server else dataset.config.videos
    if expected is not None and num_videos != expected:
        text = f"Download {checked.annotation} again: it has {num_videos} videos, published are {expected}."
        checked.say("videos", text)
    listed = Counter(name for video in annotations.videos for name in video.file_names)
    for name, times in listed.items():
        if times > 1:
            checked.say("frame twice", f"Correct {checked.annotation}: it lists the frame {name} {times} times.")
    folders: dict[PurePosixPath, list[str]] = {}
    for video in annotations.videos:
        for folder in {PurePosixPath(name).parent for name in video.file_names}:
            folders.setdefault(folder, []).append(f"{video.id!r} in {folder}")
        if sorted(video.file_names) != sorted(video.file_names, key=by_number):
            checked.see("frame order", video.name)
        if same := same_number(video.file_names):
            checked.see("frames twice", " and ".join(same))
    for sharing in folders.values():
        if len(sharing) > 1:
            checked.see("shared folder", *sharing)
    tracked = {str(each.get("video_id")) for each in content.get("annotations") or () if isinstance(each, dict)}
    empty = [video.name for video in annotations.videos if str(video.id) not in tracked]
    if empty and checked.role != "server":
        if len(empty) == len(annotations.videos):
            checked.say("no tracks", f"Add tracks to {checked.annotation}: no video has any.")
        text = f"Nothing has to be done: {len(empty)} videos have no track, as {empty[0]}, and are trained on as empty."
        checked.say("empty video", text, "note")


def _check_rule(checked: Checked, dataset: Dataset, annotations: Annotations) -> None:
    roles: tuple[Role, ...] = ("train", "heldout")
    rule = heldout_rule(dataset.config.heldout)
    try:
        for role in roles:
            Split(dataset.name, role, *dataset.files(role), fingerprint=None, heldout=rule).of(annotations)
    except UserError as error:
        checked.say("heldout", str(error))


def _check_tracks(checked: Checked, annotations: Annotations) -> None:
    for track in annotations.tracks:
        where = f"track {track.id!r} of video {annotations.video_by_id[track.video_id].name}"
        areas = [None if mask is None else area(mask) for mask in track.masks]
        if not any(areas):
            checked.say("track without masks", f"Drop {where}: it is in no frame.")
        elif 0 in areas:
            text = f"Write null instead of a mask without pixels: {where}, frame {areas.index(0)}."
            checked.say("mask without pixels", text)
        for t, (own, said) in enumerate(zip(areas, track.areas)):
            if said is not None and abs(said - (own or 0)) >= 1:
                checked.say("areas", f"Correct areas: {where}, frame {t}, says {said:g}, its mask has {own or 0}.")
                break


def _check_frames(checked: Checked, folder: Path, video: Video, decode: bool) -> None:
    kinds: dict[bool, list[str]] = {}
    for name in video.file_names:
        checked.frames += 1
        try:
            picture = open_picture(folder / name)
            if wrong := wrong_size(picture, video):
                checked.say("frame size", wrong)
            elif decode:
                picture.frame()
        except DataMissingError:
            checked.say("frame missing", f"Restore {folder / name}: it does not exist.")
            continue
        except UserError as error:
            checked.say("frame", str(error))
            continue
        kinds.setdefault(picture.has_one_channel, []).append(name)
        if picture.orientation != 1:
            checked.see("orientation", name)
        if picture.is_deep:
            checked.see("stretched", name)
    if len(kinds) > 1:
        grey, colour = kinds[True], kinds[False]
        text = f"{len(grey)} of {video.name} have one channel, as {grey[0]}, and {len(colour)} have colours"
        checked.see("masks among frames", text)


def _check_for_more(checked: Checked, folder: Path, content: dict[str, Any]) -> None:
    lists = [video.get("file_names") for video in content["videos"] if isinstance(video, dict)]  # wrong or not
    listed = {str(name).replace("\\", "/") for names in lists if isinstance(names, list) for name in names}
    tops = {name.split("/")[0] for name in listed}
    more = sorted({path.name for path in seen_in(folder)} - tops)
    if more:
        text = f"Nothing has to be done: {folder} has {len(more)} videos that {checked.annotation.name} does not list"
        checked.say("more on disk", f"{text}, as {more[0]}.", "note")
    for inner in sorted({str(PurePosixPath(name).parent) for name in listed} - {"."}):
        if os.path.isdir(folder / inner):  # noqa: PTH112  never raises
            there = (f"{inner}/{path.name}" for path in seen_in(folder / inner) if path.suffix.lower() in SUFFIXES)
            if unlisted := sorted(set(there) - listed):
                checked.see("more pictures", *unlisted)
