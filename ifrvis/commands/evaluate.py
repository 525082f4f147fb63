"""`ifrvis evaluate ...`: numbers from predictions and their ground truth."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifrvis.commands.selection import add_command, show, whole

if TYPE_CHECKING:
    from ifrvis.datasets.ytvis import Annotations
    from ifrvis.evaluation.predictions import Prediction
    from ifrvis.evaluation.protocols import TrackingProtocol


def add_commands(commands: Any) -> None:
    """Add the commands that score."""
    group = commands.add_parser("evaluate", help="score predictions").add_subparsers(required=True, metavar="METRIC")
    text = "AP and AR as the official YouTube-VIS evaluator computes them"
    parser = add_command(group, "ap", _evaluate_ap, text)
    _add_arguments(parser)
    parser.add_argument("--official-quirks", action="store_true", help="do what the official code does on odd input")
    text = "IDF1, MOTA, IDP, IDR, identity switches and HOTA of boxes"
    _add_arguments(add_command(group, "tracking", _evaluate_tracking, text), protocol="matched")
    text = "identities that change, switch, merge, get lost or appear twice, with frame numbers"
    _add_arguments(add_command(group, "identity", _evaluate_identity, text), protocol="common")


def _add_arguments(parser: argparse.ArgumentParser, protocol: str = "") -> None:
    parser.add_argument("--gt", type=Path, required=True, help="ground truth, YouTube-VIS JSON")
    parser.add_argument("--pred", type=Path, required=True, help="results.json, or predictions.json.gz of a run")
    parser.add_argument("--jobs", type=whole(1, 1000), default=1, help="processes that share the videos (default: 1)")
    parser.add_argument("--json", action="store_true", help="print JSON alone on standard output")
    if protocol:
        text = f"what counts as a track: all, top10, common, matched, or a YAML file (default: {protocol})"
        parser.add_argument("--protocol", default=protocol, help=text)


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
    from ifrvis.evaluation.tracking import follow

    annotations, tracks, protocol = _tracks(arguments)
    found = follow(annotations, tracks, [protocol], jobs=arguments.jobs)[protocol.name]
    curve = {"curve": found.curve} if found.curve else {}
    _print({**found.metrics, "threshold": found.threshold, "protocol": protocol.name, **curve}, arguments)
    return 0


def _evaluate_identity(arguments: argparse.Namespace) -> int:
    from ifrvis.evaluation.identity import count_errors, identity_errors
    from ifrvis.evaluation.tracking import follow

    annotations, tracks, protocol = _tracks(arguments)
    kept = follow(annotations, tracks, [protocol], jobs=arguments.jobs)[protocol.name].tracks
    videos = identity_errors(annotations, kept, jobs=arguments.jobs)
    counts = count_errors(videos)
    if arguments.json:
        listed = [video.to_json() for video in videos if video.errors or video.never_found]
        print(json.dumps({"protocol": protocol.name, "counts": counts, "videos": listed}, indent=1))
        return 0
    for video in videos:
        for error in video.errors:
            frames = ", ".join(map(str, error.frames))
            show(f"video {video.video_id}: {error.kind} of {', '.join(map(str, error.gt_ids))} in frames {frames}")
    _print(counts, arguments)
    return 0


def _tracks(arguments: argparse.Namespace) -> tuple["Annotations", tuple["Prediction", ...], "TrackingProtocol"]:
    from ifrvis.datasets.ytvis import read_annotations
    from ifrvis.evaluation.predictions import read_tracks
    from ifrvis.evaluation.protocols import load_protocol

    protocol, annotations = load_protocol(arguments.protocol), read_annotations(arguments.gt)
    return annotations, read_tracks(arguments.pred, annotations, protocol.tracks), protocol


def _print(scores: Mapping[str, Any], arguments: argparse.Namespace) -> None:
    if arguments.json:
        print(json.dumps(scores, indent=1))
        return
    for name, value in scores.items():
        if value is None or isinstance(value, int | float):
            percent = isinstance(value, float) and name[0].isupper()  # shares have capitals: AP, IDF1, HOTA
            text = "-" if value is None else f"{100 * value:.2f}" if percent else f"{value:g}"
            show(f"{name:26} {text}")
