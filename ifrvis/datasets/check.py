"""Whether an installed dataset is what its YAML says: files, categories, ids, masks, and frames on disk.

A check says all that is wrong, where the reader says the first thing. An error is what training or evaluation would
refuse or do wrongly; a note is worth knowing and harmless.
"""

import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from PIL import Image, UnidentifiedImageError

from ifrvis.datasets.catalog import Dataset, Role
from ifrvis.datasets.rle import area
from ifrvis.datasets.ytvis import Annotations, Video, checked_annotations, id_order
from ifrvis.errors import UserError
from ifrvis.files import read_json

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

    @property
    def is_sound(self) -> bool:
        """Whether there is no error."""
        return all(finding.level != "error" for finding in self.findings)

    def say(self, kind: str, text: str, level: Literal["error", "note"] = "error") -> None:
        """Note a finding."""
        self.findings.append(Finding(level, kind, text))


def check_dataset(dataset: Dataset, *, decode: bool = False, progress: Progress | None = None) -> list[Checked]:
    """Check all splits of a dataset that are, or must be, installed.

    Args:
        dataset: What to check.
        decode: Whether to decode every frame, as training does; else only its header is read.
        progress: Called with the videos looked at and their number.
    """
    roles: tuple[Role, ...] = ("full", "server") if dataset.config.server else ("full",)
    if dataset.config.synthetic is not None:
        made = (role for role in dataset.made if role in ("train", "heldout") or dataset.files(role)[0].exists())
        roles = tuple(made)
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
    _check_categories(checked, dataset, annotations)
    _check_videos(checked, dataset, annotations)
    _check_tracks(checked, annotations)
    for done, video in enumerate(annotations.videos, start=1):
        _check_frames(checked, frames, video, decode)
        progress(done, len(annotations.videos))
    _check_for_more(checked, frames, annotations)
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


def _check_videos(checked: Checked, dataset: Dataset, annotations: Annotations) -> None:
    server = dataset.config.server
    expected = server.videos if checked.role == "server" and server else dataset.config.videos
    if expected is not None and len(annotations.videos) != expected:
        text = (
            f"Download {checked.annotation} again: it has {len(annotations.videos)} videos, published are {expected}."
        )
        checked.say("videos", text)
    listed = Counter(name for video in annotations.videos for name in video.file_names)
    for name, times in listed.items():
        if times > 1:
            checked.say("frame twice", f"Correct {checked.annotation}: it lists the frame {name} {times} times.")
    empty = [video.name for video in annotations.videos if not annotations.tracks_of(video.id)]
    if empty and checked.role != "server":
        text = f"Nothing has to be done: {len(empty)} videos have no track and are not trained on, as {empty[0]}."
        checked.say("empty video", text, "note")


def _check_tracks(checked: Checked, annotations: Annotations) -> None:
    for track in annotations.tracks:
        where = f"track {track.id!r} of video {annotations.video_by_id[track.video_id].name}"
        areas = [None if mask is None else area(mask) for mask in track.masks]
        if not any(areas):
            checked.say("track without masks", f"Drop {where}: it is in no frame.")
        elif 0 in areas:
            text = f"Write null instead of a mask without pixels: {where}, frame {areas.index(0)}."
            checked.say("mask without pixels", text)
        wrong = [
            t
            for t, (own, said) in enumerate(zip(areas, track.areas))
            if said is not None and abs(said - (own or 0)) >= 1
        ]
        if wrong:
            text = f"Correct areas: {where}, frame {wrong[0]}, says {track.areas[wrong[0]]:g}, its mask "
            checked.say("areas", text + f"has {areas[wrong[0]] or 0}.")


def _check_frames(checked: Checked, folder: Path, video: Video, decode: bool) -> None:
    for frame, name in enumerate(video.file_names):
        checked.frames += 1
        try:
            if not decode and (size := _header_size(folder / name)) != (video.width, video.height):
                text = f"Replace {folder / name}: it is {size[0]} x {size[1]} pixels, video {video.id!r} is"
                checked.say("frame size", f"{text} {video.width} x {video.height}.")
            if decode:
                from ifrvis.datasets.frames import read_frame  # OpenCV, for this alone

                read_frame(folder, video, frame)
        except FileNotFoundError:
            checked.say("frame missing", f"Restore {folder / name}: it does not exist.")
        except (OSError, UserError, Image.DecompressionBombError) as error:
            text = f"Copy {folder / name} again: it is no image ({type(error).__name__})."
            checked.say("frame", str(error) if isinstance(error, UserError) else text)


def _header_size(path: Path) -> tuple[int, int]:
    """Width and height, in pixels, by the header of an image file."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            with Image.open(path) as image:
                return image.size
        except (UnidentifiedImageError, Warning) as error:
            raise OSError(str(error)) from error


def _check_for_more(checked: Checked, folder: Path, annotations: Annotations) -> None:
    listed = {Path(name).parts[0] for video in annotations.videos for name in video.file_names}
    more = sorted({path.name for path in folder.iterdir()} - listed)
    if more:
        text = f"Nothing has to be done: {folder} has {len(more)} videos that {checked.annotation.name} does not list"
        checked.say("more on disk", f"{text}, as {more[0]}.", "note")
