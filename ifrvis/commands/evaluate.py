"""`ifrvis evaluate ...`: numbers from predictions and their ground truth."""

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ifrvis.commands.selection import add_command, show, whole
from ifrvis.errors import UserError

if TYPE_CHECKING:
    from ifrvis.datasets.ytvis import Annotations
    from ifrvis.evaluation.predictions import Prediction
    from ifrvis.evaluation.protocols import TrackingProtocol
    from ifrvis.evaluation.tracking import Followed

OF_CATEGORY = ("AP", "AP50", "AP75", "AR1", "AR10")
LISTED = 20  # identity errors


def add_commands(commands: Any) -> None:
    """Add the commands that score."""
    group = commands.add_parser("evaluate", help="score predictions").add_subparsers(required=True, metavar="METRIC")
    text = "AP and AR as the official YouTube-VIS evaluator computes them"
    parser = add_command(group, "ap", _evaluate_ap, text)
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
    text = (
        "results.json or predictions.json.gz; a folder of PNGs (DAVIS) or a text (KITTI MOTS) a video; or a tracker's"
    )
    parser.add_argument("--pred", type=Path, required=True, help=f"{text} folder of TrackEval")
    parser.add_argument("--jobs", type=whole(1, 1000), default=1, help="processes that share the videos (default: 1)")
    parser.add_argument("--json", action="store_true", help="print JSON alone on standard output")
    if by_protocol:
        text = "what counts as a track: all (every entry, the default), top10, common, matched, or a YAML file"
        parser.add_argument("--protocol", default="all", help=text)


def _evaluate_ap(arguments: argparse.Namespace) -> int:
    from ifrvis.evaluation.ap import average_precision

    quirks = arguments.official_quirks
    annotations, results = _read(arguments, "entries", arguments.category, official_quirks=quirks)
    scores = average_precision(annotations, results, official_quirks=quirks, jobs=arguments.jobs)
    if arguments.json:
        _print_json(scores)
        return 0
    how = "as the official evaluator does, oddities included" if quirks else "of YouTube-VIS' evaluator"
    show(f"{_counted(annotations, results)}\nprotocol: {how}, every entry up to 100 a video and category; percent")
    show_scores(scores)
    names = {str(category.id): category.name for category in annotations.categories}
    tracks = Counter(str(track.category_id) for track in annotations.tracks)
    width = max(map(len, (*names.values(), "category")))
    show(f"{'category':{width}} {'tracks':>6}" + "".join(f"{name:>8}" for name in OF_CATEGORY))
    for category, of_one in scores["per_category"].items():
        values = "".join(f"{_text(name, of_one[name]):>8}" for name in OF_CATEGORY)
        show(f"{names[category]:{width}} {tracks[category]:>6}{values}")
    return 0


def _evaluate_tracking(arguments: argparse.Namespace) -> int:
    annotations, given, found, protocol, said = _followed(arguments)
    curve = {"curve": found.curve} if found.curve else {}
    content = {**found.metrics, "threshold": found.threshold, "protocol": protocol.name, **curve}
    if arguments.json:
        _print_json(content)
        return 0
    show(f"{_counted(annotations, given)}\n{said}\npercent; IDs a count")
    show_scores(content)
    return 0


def _evaluate_identity(arguments: argparse.Namespace) -> int:
    from ifrvis.evaluation.identity import count_errors, curve_of, identity_errors
    from ifrvis.evaluation.scores import together, units_of

    annotations, given, found, protocol, said = _followed(arguments)
    videos = identity_errors(annotations, found.tracks, jobs=arguments.jobs)
    counts = together(video.counts for video in videos)
    if arguments.json:
        levels = protocol.thresholds
        curve = curve_of(count_errors(annotations, found.candidates, levels, jobs=arguments.jobs), levels)
        content = {"protocol": protocol.name, "threshold": found.threshold, "counts": counts.model_dump()}
        content |= {"shares": counts.shares, "curve": {"threshold": levels, **curve}}
        content["units"] = {
            "threshold": "score",
            "counts": "count",
            "shares": units_of(counts.shares),
            "curve": "count",
        }
        listed = [video.to_json() for video in videos if video.errors or video.never_found]
        print(json.dumps(content | {"videos": listed}, indent=1))
        return 0
    show(f"{_counted(annotations, given)}\n{said}\ncounts, but for errors_per_100_tracked")
    per_hundred = {"errors_per_100_tracked": 100 * counts.errors / counts.tracked if counts.tracked else None}
    show_scores(counts.model_dump() | per_hundred)
    errors = [(video, error) for video in videos for error in video.errors]
    for video, error in errors if arguments.all else errors[:LISTED]:
        objects = ", ".join(map(str, error.gt_ids))
        show(f"video {video.video_id}: {error.kind} of {objects} in frames {_ranges(error.frames)}")
    if len(errors) > LISTED and not arguments.all:
        show(f"... and {len(errors) - LISTED} more; --all lists them")
    return 0


def _ranges(frames: Sequence[int]) -> str:
    """Frames that rise, in few words: `3-7, 9`."""
    starts = [t for t in frames if t - 1 not in frames]
    ends = [t for t in frames if t + 1 not in frames]
    return ", ".join(f"{start}-{end}" if end > start else f"{start}" for start, end in zip(starts, ends))


def _read(
    arguments: argparse.Namespace, tracks: Literal["queries", "entries"], given: list[str] | None, **options: bool
) -> tuple["Annotations", tuple["Prediction", ...]]:
    """Ground truth and predictions; `given` are names of categories, None where these do not matter."""
    from ifrvis.datasets.ytvis import read_annotations
    from ifrvis.evaluation.predictions import Prediction, read_tracks

    annotations, path = read_annotations(_file_in(arguments.gt)), _file_in(arguments.pred)
    if path.is_dir() or path.suffix == ".txt":
        from ifrvis.datasets.exchange.results import read_masks  # it opens pictures

        tracks_there = read_masks(path, annotations, given)
        return annotations, tuple(Prediction(**each, number=number) for number, each in enumerate(tracks_there))
    return annotations, read_tracks(path, annotations, tracks, **options)


def _file_in(path: Path) -> Path:
    """The one JSON file of a folder, itself or in `data`, where TrackEval's trackers have it; else what has no JSON."""
    if not path.is_dir():
        return path
    inner = path / "data" if (path / "data").is_dir() else path
    found = sorted(inner.glob("*.json"))
    if len(found) > 1:
        raise UserError(f"Give one file: {inner} has {', '.join(each.name for each in found[:3])}.")
    return found[0] if found else inner


def _counted(annotations: "Annotations", given: Sequence["Prediction"]) -> str:
    videos = len({each.video_id for each in given})
    truth = f"{len(annotations.videos)} videos, {len(annotations.tracks)} tracks"
    return f"ground truth: {truth}; predictions: {videos} videos, {len(given)} tracks"


def _followed(
    arguments: argparse.Namespace,
) -> tuple["Annotations", Sequence["Prediction"], "Followed", "TrackingProtocol", str]:
    """What the protocol makes of the predictions, itself, and in words how many tracks it takes and leaves out."""
    from ifrvis.evaluation.predictions import one_class_each
    from ifrvis.evaluation.protocols import load_protocol
    from ifrvis.evaluation.tracking import follow

    protocol = load_protocol(arguments.protocol)
    of_queries = protocol.tracks == "queries"
    is_run = arguments.pred.suffix == ".gz"
    annotations, given = _read(arguments, "queries" if of_queries and is_run else "entries", None)
    tracks = one_class_each(given) if of_queries and not is_run else given
    found = follow(annotations, tracks, [protocol], jobs=arguments.jobs)[protocol.name]
    most = protocol.most or len(tracks)
    beyond = sum(max(0, count - most) for count in Counter(track.video_id for track in tracks).values())
    dropped = {
        "with the masks of another class of the same query": len(given) - len(tracks),
        f"beyond the {most} best of a video": beyond,
        f"with a score below {found.threshold}": len(tracks) - beyond - len(found.tracks),
    }
    dropped = {why: count for why, count in dropped.items() if count}
    why = ", ".join(f"{count} {why}" for why, count in dropped.items())
    said = f"protocol {protocol.name}, {protocol.title}: {len(found.tracks)} of {len(given)} tracks count"
    return annotations, given, found, protocol, said + f"; dropped: {why}" * bool(dropped)


def _print_json(scores: Mapping[str, Any]) -> None:
    from ifrvis.evaluation.scores import units_of

    names = [*(name for name in scores if name not in ("protocol", "curve")), *scores.get("curve", ())]
    print(json.dumps({**scores, "units": units_of(names)}, indent=1))


def show_scores(scores: Mapping[str, Any]) -> None:
    """A line a number, shares in percent."""
    for name, value in scores.items():
        if value is None or isinstance(value, int | float):
            show(f"{name:26} {_text(name, value)}")


def _text(name: str, value: float | None) -> str:
    """A value as people read it: shares, whose names have capitals (AP, IDF1, HOTA), in percent."""
    percent = isinstance(value, float) and name[0].isupper()
    return "-" if value is None else f"{100 * value:.2f}" if percent else f"{value:g}"
