"""`ifrvis evaluate ...`: numbers from predictions and their ground truth."""

import argparse
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifrvis.commands.selection import add_command, show, whole

if TYPE_CHECKING:
    from ifrvis.datasets.ytvis import Annotations
    from ifrvis.evaluation.protocols import TrackingProtocol
    from ifrvis.evaluation.tracking import Followed


def add_commands(commands: Any) -> None:
    """Add the commands that score."""
    group = commands.add_parser("evaluate", help="score predictions").add_subparsers(required=True, metavar="METRIC")
    text = "AP and AR as the official YouTube-VIS evaluator computes them"
    parser = add_command(group, "ap", _evaluate_ap, text)
    _add_arguments(parser)
    parser.add_argument("--official-quirks", action="store_true", help="do what the official code does on odd input")
    text = "IDF1, MOTA, IDP, IDR, identity switches and HOTA of boxes"
    _add_arguments(add_command(group, "tracking", _evaluate_tracking, text), by_protocol=True)
    text = "identities that change, switch, merge, get lost or appear twice, with frame numbers"
    _add_arguments(add_command(group, "identity", _evaluate_identity, text), by_protocol=True)


def _add_arguments(parser: argparse.ArgumentParser, by_protocol: bool = False) -> None:
    parser.add_argument("--gt", type=Path, required=True, help="ground truth, YouTube-VIS JSON")
    parser.add_argument("--pred", type=Path, required=True, help="results.json, or predictions.json.gz of a run")
    parser.add_argument("--jobs", type=whole(1, 1000), default=1, help="processes that share the videos (default: 1)")
    parser.add_argument("--json", action="store_true", help="print JSON alone on standard output")
    if by_protocol:
        text = "what counts as a track: all (every entry, the default), top10, common, matched, or a YAML file"
        parser.add_argument("--protocol", default="all", help=text)


def _evaluate_ap(arguments: argparse.Namespace) -> int:
    from ifrvis.datasets.ytvis import read_annotations
    from ifrvis.evaluation.ap import average_precision
    from ifrvis.evaluation.predictions import read_tracks

    quirks = arguments.official_quirks
    annotations = read_annotations(arguments.gt)
    results = read_tracks(arguments.pred, annotations, "entries", official_quirks=quirks)
    scores = average_precision(annotations, results, official_quirks=quirks, jobs=arguments.jobs)
    _print(scores, arguments)
    return 0


def _evaluate_tracking(arguments: argparse.Namespace) -> int:
    _, found, protocol, said = _followed(arguments)
    curve = {"curve": found.curve} if found.curve else {}
    _print({**found.metrics, "threshold": found.threshold, "protocol": protocol.name, **curve}, arguments)
    if not arguments.json:
        show(said)
    return 0


def _evaluate_identity(arguments: argparse.Namespace) -> int:
    from ifrvis.evaluation.identity import count_errors, curve_of, identity_errors
    from ifrvis.evaluation.scores import together, units_of

    annotations, found, protocol, said = _followed(arguments)
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
    for video in videos:
        for error in video.errors:
            frames = ", ".join(map(str, error.frames))
            show(f"video {video.video_id}: {error.kind} of {', '.join(map(str, error.gt_ids))} in frames {frames}")
    per_hundred = {"errors_per_100_tracked": 100 * counts.errors / counts.tracked if counts.tracked else None}
    _print(counts.model_dump() | per_hundred, arguments)
    show(said)
    return 0


def _followed(arguments: argparse.Namespace) -> tuple["Annotations", "Followed", "TrackingProtocol", str]:
    """What the protocol makes of the predictions, itself, and in words how many tracks it takes and leaves out."""
    from ifrvis.datasets.ytvis import read_annotations
    from ifrvis.evaluation.predictions import one_class_each, read_tracks
    from ifrvis.evaluation.protocols import load_protocol
    from ifrvis.evaluation.tracking import follow

    protocol, annotations = load_protocol(arguments.protocol), read_annotations(arguments.gt)
    of_queries = protocol.tracks == "queries"
    is_run = arguments.pred.suffix == ".gz"
    given = read_tracks(arguments.pred, annotations, "queries" if of_queries and is_run else "entries")
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
    return annotations, found, protocol, said + f"; dropped: {why}" * bool(dropped)


def _print(scores: Mapping[str, Any], arguments: argparse.Namespace) -> None:
    from ifrvis.evaluation.scores import units_of

    if arguments.json:
        names = [*(name for name in scores if name not in ("protocol", "curve")), *scores.get("curve", ())]
        print(json.dumps({**scores, "units": units_of(names)}, indent=1))
        return
    for name, value in scores.items():
        if value is None or isinstance(value, int | float):
            percent = isinstance(value, float) and name[0].isupper()  # shares have capitals: AP, IDF1, HOTA
            text = "-" if value is None else f"{100 * value:.2f}" if percent else f"{value:g}"
            show(f"{name:26} {text}")
