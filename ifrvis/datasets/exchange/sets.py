"""The set that is made of imported videos: YouTube-VIS JSON, and a dataset YAML with a split that leaks nothing."""

import json
import os
import re
import shlex
from collections import Counter
from glob import escape
from pathlib import Path
from typing import Any

import yaml

from ifrvis.datasets.catalog import Config, own_folder
from ifrvis.datasets.exchange.coco import read_coco
from ifrvis.datasets.exchange.collected import MIN_OVERLAP, Categories, Clip
from ifrvis.datasets.exchange.cvat import read_cvat
from ifrvis.datasets.exchange.davis import read_davis
from ifrvis.datasets.exchange.mots import read_mots
from ifrvis.datasets.frames import folders_in
from ifrvis.datasets.rle import area
from ifrvis.datasets.splits import HeldOut, groups_of, heldout_videos, is_called, official
from ifrvis.datasets.ytvis import Annotations, checked_annotations
from ifrvis.errors import UNPRINTABLE, UserError
from ifrvis.files import open_file, publish_once, read_json, read_text, write_atomically
from ifrvis.packed import SET_YAML, packed_names
from ifrvis.schema import read_model

HEAD = "# heldout: videos that are scored and never trained on; schedule: of which recipes it takes iterations.\n"
COMMON = ("instances", "annotations", "train", "data")  # names of files that say nothing of a set


def import_set(
    kind: str,
    source: Path,
    out: Path,
    *,
    frames: Path | None,
    given: list[str],
    rule: HeldOut,
    link: bool,
    void: int | None = None,
    annotated_only: bool = False,
    own: bool = False,
) -> tuple[Path, list[str]]:
    """Write a set to the folder `out`, as `ifrvis data import --help` says; its frames stay where they are. UserError
    if the source is wrong or ambiguous, something has to be said that it does not say, the rule holds out nothing or
    everything, or another set is there; nothing is written then. `own` as of `own_set`, whose command has no options.
    What comes back is the path of its YAML, and what the user should know of it.

    Videos that are called as parts of one are held out together, unless the rule names groups.
    """
    if not source.exists():
        raise UserError(f"Check the path of the masks: there is no file or folder {source}.")
    if source.suffix.lower() in (".zip", ".tar", ".gz"):
        raise UserError(f"Unpack {source} first, and give what was in it.")
    if frames is not None and not frames.is_dir():
        made = "as `ffmpeg -i VIDEO -start_number 0 DIR/%06d.png` makes of a video"
        raise UserError(f"Give --frames a folder of pictures, {made}: {frames} is none.")
    if source.is_file() and kind == "davis":
        raise UserError(f"Give the folder that holds the masks: {source} is a file.")
    if (void is not None or annotated_only) and kind != "davis":
        raise UserError(f"Leave --void and --annotated-only out: {kind} says what they say.")
    categories, names = Categories(given), list[str]()
    if kind == "davis":
        root, clips = read_davis(source, frames, categories, void=void, annotated_only=annotated_only)
    elif kind == "mots":
        root, clips = read_mots(source, frames, categories)
    elif kind == "cvat":
        root, clips = read_cvat(source, frames)
    else:
        root, clips, names = read_coco(source, frames)
    for clip in clips:
        seen = [shape for shape in clip.shapes if area(shape.mask)]
        if empty := len(clip.shapes) - len(seen):
            clip.notes.add(f"{empty} masks of {clip.name} have no pixels and are left out")
        clip.shapes = seen
    names = names or sorted({shape.category for clip in clips for shape in clip.shapes})
    if not any(clip.shapes for clip in clips):
        raise UserError(f"Give masks of at least one object: {source} has none.")
    ask = ", or add `--link overlap`"
    if own:
        command = ["ifrvis", "data", "import", kind, str(source), "--frames", str(frames), "--link", "overlap"]
        ask = f", as track_id, or use `{shlex.join(command)} --out DIR`, then `--dataset DIR`"
    ask += ", which makes one track of masks of one category in neighbouring frames whose IoU is at least "
    ask += str(MIN_OVERLAP)
    content = _content(kind, root, clips, names, link=link, ask=ask)
    notes = categories.notes() + sorted(note for clip in clips for note in clip.notes)
    used = {clip.frames[0].parent for clip in clips}
    others = {path for each in used - {root} for path in folders_in(each.parent)} - used
    if others:
        notes.append(f"{len(others)} folders beside the frames have no masks and are left out, as {min(others).name}")
    annotations = checked_annotations(content, out / "instances.json")
    text = json.dumps(official(content, annotations, {}))
    title, given_by = f"imported from {kind}", source if own else None
    path, more = _write_set(out, root, annotations, rule, title, content=text, own=given_by)
    return path, notes + more


def own_set(annotations: Path, frames: Path | None, data_root: Path) -> tuple[Path, list[str]]:
    """The set of a user's own file, YouTube-VIS JSON or COCO's with `track_id`, as of `import_set`; UserError if the
    file or its frames are wrong, or another of its name was given before; then nothing is written.

    File names are relative to `frames`, by default `JPEGImages` beside the file. The set lies under the data root, and
    is called as the file, or as its folder where all files are called so.
    """
    open_file(annotations, "the annotation file").close()
    frames = (frames or annotations.parent / "JPEGImages").resolve()
    if not frames.is_dir():
        raise UserError(f"Say with --frames what file names in {annotations} are relative to: {frames} is no folder.")
    name = _called(annotations.with_suffix("") if annotations.stem not in COMMON else annotations.resolve().parent)
    if not name:
        letters = "letters a to z, digits, '.', '_' and '-'"
        raise UserError(f"Rename {annotations}: a set is called as its file, by {letters}.")
    out = own_folder(f"own-{name}" if name in packed_names("experiments", "datasets") else name, data_root)
    if (path := out / SET_YAML).is_file() and annotations.stat().st_mtime_ns <= path.stat().st_mtime_ns:
        known = read_model(Config, path, "the set that was made of such a file")
        if (known.annotation, known.frames) == (str(annotations.resolve()), str(frames)):
            return path, []
    content = read_json(annotations, "the annotation file")
    if isinstance(content, dict) and content.get("images"):  # COCO's, which may list videos, too
        return import_set("coco", annotations, out, frames=frames, given=[], rule=HeldOut(), link=False, own=True)
    found = checked_annotations(content, annotations)
    return _write_set(out, frames, found, HeldOut(), f"from {annotations.name}", own=annotations)


def _called(out: Path) -> str:
    return re.sub("[^a-z0-9._-]+", "-", out.resolve().name.lower()).strip("._-")


def _content(kind: str, frames: Path, clips: list[Clip], names: list[str], *, link: bool, ask: str) -> dict[str, Any]:
    ids = {category: number for number, category in enumerate(names, start=1)}
    content: dict[str, Any] = {"info": {"description": f"imported from {kind}"}, "videos": [], "annotations": []}
    content["categories"] = [{"id": number, "name": category} for category, number in ids.items()]
    for number, clip in enumerate(clips, start=1):
        files = [path.relative_to(frames).as_posix() for path in clip.frames]
        video = {"id": number, "name": clip.name, "width": clip.width, "height": clip.height, "file_names": files}
        content["videos"].append(video)
        for identity, shapes in clip.tracks(link, ask).items():
            masks: list[Any] = [None] * len(files)
            for shape in shapes:
                masks[shape.frame] = shape.mask
            if 0 < (crowds := sum(shape.is_crowd for shape in shapes)) < len(shapes):
                said = f"{crowds} of {len(shapes)} masks of {identity} in {clip.name} say iscrowd"
                clip.notes.add(f"{said}, which a track is as a whole or not: it is taken for none")
            track = {"id": len(content["annotations"]) + 1, "video_id": number, "category_id": ids[shapes[0].category]}
            more = {"source_id": identity, "iscrowd": int(crowds == len(shapes))}
            content["annotations"].append({**track, **more, "segmentations": masks})
    return content


def _write_set(
    out: Path, frames: Path, annotations: Annotations, rule: HeldOut, title: str, *, content: str = "", own: Path | None
) -> tuple[Path, list[str]]:
    """Write, when all is checked, the YAML of a set, and the `content` of its annotations where they lie in it.

    Of a file of the user's `own` a set that is there may have another folder of frames, or of YouTube-VIS JSON another
    content: it is the file itself. What its YAML says else stays.
    """
    name, path, annotation = _called(out), out / SET_YAML, str(annotations.path.resolve())
    if odd := next((each for each in (annotation, str(frames.resolve())) if UNPRINTABLE.search(each)), None):
        raise UserError(f"Rename what {odd!r} has of letters that cannot be printed: no YAML can name it.")
    if not name or name in packed_names("experiments", "datasets"):
        why = f"and {name!r} is taken" if name else "by letters a to z, digits, '.', '_' and '-'"
        raise UserError(f"Choose another --out than {out}: the set is called as the folder, {why}.")
    _check_frames(annotations, frames, own)
    if own is not None and path.is_file():
        return path, _taken_again(path, annotations, str(frames.resolve()), content, own)
    held_out, notes = _checked_rule(annotations, rule, path if own else None)
    if own is not None and not held_out.draw:
        why = " ".join(held_out.groups) or "they have one name, or frames that are called alike in one folder"
        what = f"{own} has {len(annotations.videos)}" + f", which stay together: {why}" * (len(annotations.videos) > 1)
        raise UserError(f"Give at least 2 videos: rows are trained on some and scored on others, and {what}.")
    config = {
        "name": name,
        "title": f"{name}, {title}",
        "categories": len(annotations.categories),
        "schedule": "ytvis19",
        "annotation": annotation,
        "frames": str(frames.resolve()),
        "heldout": held_out.model_dump(mode="json", exclude_defaults=True) or {"draw": 0},
    }
    files = {annotations.path: content} if content else {}
    files[path] = HEAD + yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    _check_same(files, own)
    for each, text in files.items():
        if not publish_once(each, text):
            _check_same({each: text}, own)
    return path, notes


def _check_frames(annotations: Annotations, frames: Path, own: Path | None) -> None:
    for video in annotations.videos:
        for name in video.file_names:
            if not os.path.exists(frames / name):  # noqa: PTH110  never raises
                of = f"{frames} has no {name}, a frame of video {video.name}{f' of {own}' * bool(own)}"
                raise UserError(f"Correct --frames, or put there what is missing: {of}.")


def _taken_again(path: Path, annotations: Annotations, frames: str, content: str, own: Path) -> list[str]:
    """Take frames and content of a file for the set that was made of it before; what to know of it."""
    known = read_model(Config, path, "the set that was made of such a file")
    if known.annotation != str(annotations.path.resolve()):
        what = f"that set was made of other annotations, {known.annotation}"
        raise UserError(f"Remove {path.parent}, or rename {own}: {what}.")
    if content:
        _check_same({annotations.path: content}, own)
    if (found := len(annotations.categories)) != known.categories:
        what = f"the set was made of annotations with {known.categories} categories, and there are {found} now"
        raise UserError(f"Remove {path.parent}, or rename {own}: {what}.")
    if known.frames == frames and content:
        return []
    if known.frames == frames:
        path.touch()
        return [f"{own} was changed since {path} was made: what was run on it before is of another set"]
    changed = known.model_dump(mode="json", exclude_unset=True) | {"frames": frames}
    write_atomically(path, HEAD + yaml.safe_dump(changed, sort_keys=False, allow_unicode=True))
    return [f"{path} has its frames in {frames} now, no more in {known.frames}"]


def _checked_rule(annotations: Annotations, rule: HeldOut, path: Path | None) -> tuple[HeldOut, list[str]]:
    """The rule, and what to know of it; where it asks for no number, about a fifth of the videos is drawn.

    Groups stay whole; where it names none, they are the videos that are called as parts of one. Where a `path` is
    given, options do not say otherwise, but the YAML there.
    """
    videos, num_videos = annotations.videos, len(annotations.videos)
    for glob in rule.groups:
        if not any(is_called(video.name, glob) for video in videos):
            raise UserError(f"Correct --group {glob}: no video is called so, as {videos[0].name} is.")
    notes = list[str]()
    if not rule.groups and (groups := _parts_of_one([video.name for video in videos])):
        rule = rule.model_copy(update={"groups": groups})
        other = "--group says otherwise" if path is None else f"where they are not, edit 'groups' in {path}"
        notes = [f"held out together or not at all, as parts of one video: {', '.join(groups)} ({other})"]
    if rule.draw:
        drawn = len(heldout_videos(videos, rule))
        if not 0 < drawn < num_videos:
            why = " ".join(("since groups stay whole", *rule.groups))
            text = f"of {num_videos} videos it holds out {drawn}, {why}"
            raise UserError(f"Choose another --heldout than {rule.draw}: {text}.")
        return rule, notes
    draw = max(round(num_videos / 5), min(map(len, groups_of(videos, rule).values())))  # of fewer no group is whole
    return (rule.model_copy(update={"draw": draw}) if draw < num_videos else rule), notes


def _parts_of_one(names: list[str]) -> tuple[str, ...]:
    """Globs of videos that are called as parts of one, as `beach_a` and `beach_b` are; none where names only count."""
    stems = Counter(stem for name in names if (stem := re.sub("[_-][A-Za-z0-9]{1,3}$", "", name)) != name)
    shared = [stem for stem, number in sorted(stems.items()) if number > 1]
    counts = any(2 * stems[stem] > len(names) for stem in shared) and len(shared) < 2
    return () if counts else tuple(f"{escape(stem)}[_-]*" for stem in shared)


def _check_same(files: dict[Path, str], own: Path | None) -> None:
    for path, text in files.items():
        if path.is_file() and read_text(path, "the set") != text:
            if own is not None:
                raise UserError(f"Remove {path.parent}, or rename {own}: the set there was made of other annotations.")
            raise UserError(f"Remove {path.parent} or choose another --out: another set is there.")
