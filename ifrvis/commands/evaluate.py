"""`ifrvis evaluate ...`: numbers from predictions and their ground truth.

Files are looked through, then read video by video (`ytvis`, `predictions`). What is kept of a video are
the places of its entries and what it adds to the numbers (`ap`, `tracking`); `identity` keeps the errors that it lists.
"""

import argparse
import contextlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifrvis.commands.selection import add_command, add_options
from ifrvis.commands.terminal import progress, show
from ifrvis.errors import UserError
from ifrvis.files import seen_in

if TYPE_CHECKING:
    from ifrvis.datasets.ytvis import FiledAnnotations, Id
    from ifrvis.evaluation.predictions import ByVideo, Tracks
    from ifrvis.evaluation.protocols import TrackingProtocol
    from ifrvis.evaluation.scores import Identity
    from ifrvis.evaluation.tracking import Followed

OF_CATEGORY = ("AP", "AP50", "AP75", "AR1", "AR10")
LISTED = 20  # identity errors
NAMES = {"ids_per_recalled_box": "IDs per recalled box"}


def add_commands(commands: Any) -> None:
    """Add the commands that score."""
    group = commands.add_parser("evaluate", help="score predictions").add_subparsers(required=True, metavar="METRIC")
    parser = add_command(group, "ap", _evaluate_ap, "AP and AR as the official YouTube-VIS evaluator computes them")
    _add_arguments(parser)
    parser.add_argument("--official-quirks", action="store_true", help="do what the official code does on odd input")
    text = "names of what a folder only counts: of all, or GLOB=NAME for video/object (DAVIS) or class (MOTS)"
    parser.add_argument("--category", action="append", default=[], metavar="NAME", help=text)
    text = "IDF1, MOTA, IDP, IDR, identity switches and HOTA of boxes"
    _add_arguments(add_command(group, "tracking", _evaluate_tracking, text), by_protocol=True)
    text = "identities that change, switch, merge, get lost or appear twice, with frame numbers"
    parser = add_command(group, "identity", _evaluate_identity, text)
    _add_arguments(parser, by_protocol=True)
    parser.add_argument("--all", action="store_true", help=f"list every error, not the first {LISTED}")


def _add_arguments(parser: argparse.ArgumentParser, by_protocol: bool = False) -> None:
    text = "ground truth, YouTube-VIS JSON, or a folder with that file alone"
    parser.add_argument("--gt", type=Path, required=True, help=text)
    text = "results.json or predictions.json.gz; a folder of PNGs (DAVIS) or a text (KITTI MOTS) a video; or a"
    parser.add_argument("--pred", type=Path, required=True, help=f"{text} tracker's folder of TrackEval")
    add_options(parser, "--jobs", "--json")
    if by_protocol:
        add_options(parser, "--protocol")


def _evaluate_ap(arguments: argparse.Namespace) -> int:
    from ifrvis.evaluation.ap import average_precision

    quirks = arguments.official_quirks
    with _opened(arguments, "entries", arguments.category, official_quirks=quirks) as (annotations, tracks, said, _):
        scores = average_precision(annotations, tracks, official_quirks=quirks, jobs=arguments.jobs)
    if arguments.json:
        _print_json(scores)
        return 0
    how = "as the official evaluator does, oddities included" if quirks else "of YouTube-VIS' evaluator"
    show(f"{said}\nprotocol: {how}, every entry up to 100 a video and category; percent")
    show_scores(scores)
    names = {str(category.id): category.name for category in annotations.categories}
    numbers = {str(category_id): number for category_id, number in annotations.tracks.items()}
    width = max(map(len, (*names.values(), "category")))
    show(f"{'category':{width}} {'tracks':>6}" + "".join(f"{name:>8}" for name in OF_CATEGORY))
    for category, of_one in scores["per_category"].items():
        values = "".join(f"{_text(name, of_one[name]):>8}" for name in OF_CATEGORY)
        show(f"{names[category]:{width}} {numbers.get(category, 0):>6}{values}")
    return 0


def _evaluate_tracking(arguments: argparse.Namespace) -> int:
    with _followed(arguments) as (_, found, protocol, said):
        curve = {"curve": found.curve} if found.curve else {}
        content = {**found.metrics, "threshold": found.threshold, "protocol": protocol.name, **curve}
    if arguments.json:
        _print_json(content)
        return 0
    show(f"{said}\npercent; IDs a count")
    show_scores(content)
    return 0


def _evaluate_identity(arguments: argparse.Namespace) -> int:
    from ifrvis.evaluation.identity import count_errors, curve_of, identity_errors
    from ifrvis.evaluation.scores import together, units_of

    curve, jobs = {}, arguments.jobs
    with _followed(arguments) as (annotations, found, protocol, said):
        levels, videos = protocol.thresholds, []

        def counted() -> Iterator["Identity"]:
            for video in identity_errors(annotations, found.tracks, jobs=jobs):
                if video.errors or video.never_found:
                    videos.append(video)
                yield video.counts

        counts = together(counted())
        if arguments.json:
            curve = curve_of(count_errors(annotations, found.candidates, levels, jobs=jobs), levels)
    if arguments.json:
        units = {"threshold": "score", "counts": "count", "shares": units_of(counts.shares), "curve": "count"}
        content = {"protocol": protocol.name, "threshold": found.threshold, "counts": counts.model_dump()}
        content |= {"shares": counts.shares, "curve": {"threshold": levels, **curve}, "units": units}
        print(json.dumps(content | {"videos": [video.to_json() for video in videos]}, indent=1))
        return 0
    show(f"{said}\ncounts, but for errors per 100 tracked; frames from 0, tracks by their numbers in the file, from 0")
    per_hundred = {"errors_per_100_tracked": 100 * counts.errors / counts.tracked if counts.tracked else None}
    show_scores(counts.model_dump() | per_hundred)
    errors = [(video, error) for video in videos for error in video.errors]
    for video, error in errors if arguments.all else errors[:LISTED]:
        text = error.in_words([*map(str, error.gt_ids)], [*map(str, error.predictions)])
        name = annotations.read_video(video.video_id).name
        frames = f"frame{'s' * (len(error.frames) > 1)} {_ranges(error.frames)}"
        show(f"video {name}, {frames}: {error.kind}, {text}")
    if len(errors) > LISTED and not arguments.all:
        show(f"... and {len(errors) - LISTED} more; --all lists them")
    return 0


def _ranges(frames: Sequence[int]) -> str:
    """Frames that rise, in few words: `3-7, 9`."""
    starts = [t for t in frames if t - 1 not in frames]
    ends = [t for t in frames if t + 1 not in frames]
    return ", ".join(f"{start}-{end}" if end > start else f"{start}" for start, end in zip(starts, ends))


@contextlib.contextmanager
def _opened(
    arguments: argparse.Namespace, tracks: "Tracks", given: list[str] | None, **options: bool
) -> Iterator[tuple["FiledAnnotations", "ByVideo", str, int]]:
    """Ground truth and predictions while the block lasts, with a bar over the videos; in words what they hold, and the
    number of tracks that are predicted. `given` are names of categories, None where these do not matter.
    """
    from ifrvis.datasets.ytvis import open_annotations
    from ifrvis.evaluation.predictions import open_tracks

    path = _file_in(arguments.pred)
    with tempfile.TemporaryDirectory(prefix="ifrvis-") as folder:
        with progress("reading ground truth") as on_read:
            annotations = open_annotations(_file_in(arguments.gt), on_read)
        with progress("reading predictions") as on_read:
            if path.is_dir() or path.suffix == ".txt":
                path = _listed(path, annotations, given, Path(folder) / "results.json")
            elif given:
                raise UserError(f"Leave out --category: {path} says the category of each track.")
            predictions = open_tracks(path, annotations, tracks, Path(folder), on_read, **options)
        truth = f"{len(annotations.videos)} videos, {annotations.tracks.total()} tracks"
        said = f"predictions: {predictions.num_videos} videos, {predictions.num_tracks} tracks"
        with progress("scoring videos") as on_video:
            places = cycle(range(1, len(annotations.videos) + 1))  # the videos may be gone through more than once

            def of_video(video_id: "Id") -> Any:
                on_video(next(places), len(annotations.videos))
                return predictions.tracks(video_id)

            yield annotations, of_video, f"ground truth: {truth}; {said}", predictions.num_tracks


def _listed(path: Path, annotations: "FiledAnnotations", given: list[str] | None, target: Path) -> Path:
    """Write the masks of another program as a results file, video by video."""
    from ifrvis.datasets.exchange.results import read_masks  # it opens pictures

    with target.open("w") as stream:
        stream.write("[")
        for number, entry in enumerate(read_masks(path, annotations, given)):
            stream.write(f"{',' * bool(number)}\n{json.dumps(entry)}")
        stream.write("]")
    return target


def _file_in(path: Path) -> Path:
    """The one JSON file of a folder, itself or in `data`, where TrackEval's trackers have it; else what has no JSON."""
    if not path.is_dir():
        return path
    inner = path / "data" if (path / "data").is_dir() else path
    found = seen_in(inner, ".json")
    if len(found) > 1:
        raise UserError(f"Give one file: {inner} has {', '.join(each.name for each in found[:3])}.")
    return found[0] if found else inner


@contextlib.contextmanager
def _followed(
    arguments: argparse.Namespace,
) -> Iterator[tuple["FiledAnnotations", "Followed", "TrackingProtocol", str]]:
    """While the block lasts: what the protocol makes of the predictions, itself, and in words what it takes."""
    from ifrvis.evaluation.protocols import load_protocol
    from ifrvis.evaluation.tracking import follow

    protocol = load_protocol(arguments.protocol or "all")
    with _opened(arguments, protocol.tracks, None) as (annotations, tracks, held, num_tracks):
        found = follow(annotations, tracks, [protocol], jobs=arguments.jobs)[protocol.name]
        of_one_class, candidates, kept = found.num_tracks
        dropped = {
            "with the masks of another class of the same query": num_tracks - of_one_class,
            f"beyond the {protocol.most or of_one_class} best of a video": of_one_class - candidates,
            f"with a score below {found.threshold}": candidates - kept,
        }
        why = ", ".join(f"{count} {why}" for why, count in dropped.items() if count)
        said = f"protocol {protocol.name}, {protocol.title}: {kept} of {num_tracks} tracks count"
        yield annotations, found, protocol, f"{held}\n{said}" + f"; dropped: {why}" * bool(why)


def _print_json(scores: Mapping[str, Any]) -> None:
    from ifrvis.evaluation.scores import units_of

    names = [*(name for name in scores if name not in ("protocol", "curve")), *scores.get("curve", ())]
    print(json.dumps({**scores, "units": units_of(names)}, indent=1))


def show_scores(scores: Mapping[str, Any]) -> None:
    """A line a number, shares in percent; none of a threshold that a protocol has not."""
    for name, value in scores.items():
        if isinstance(value, int | float) or (value is None and name != "threshold"):
            show(f"{NAMES.get(name) or name.replace('_', ' '):26} {_text(name, value)}")


def _text(name: str, value: float | None) -> str:
    """A value as people read it: shares, whose names have capitals (AP, IDF1, HOTA), in percent."""
    from ifrvis.reporting.style import UNDEFINED

    percent = isinstance(value, float) and name[0].isupper()
    return UNDEFINED if value is None else f"{100 * value:.2f}" if percent else f"{round(value, 3):g}"
