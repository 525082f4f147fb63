"""`ifrvis evaluate ...`: numbers from a results file and its ground truth."""

import argparse
import json
from pathlib import Path
from typing import Any

from ifrvis.commands.selection import add_command

__all__ = ["add_commands"]


def add_commands(commands: Any) -> None:
    """Add the commands that score."""
    group = commands.add_parser("evaluate", help="score a results file").add_subparsers(required=True, metavar="METRIC")
    text = "AP and AR as the official YouTube-VIS evaluator computes them"
    add_command(group, "ap", _evaluate_ap, text, _ap_arguments)


def _ap_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--gt", type=Path, required=True, help="ground truth, YouTube-VIS JSON")
    parser.add_argument("--pred", type=Path, required=True, help="results.json, or predictions.json.gz of a run")
    parser.add_argument("--official-quirks", action="store_true", help="do what the official code does on odd input")
    parser.add_argument("--json", action="store_true")


def _evaluate_ap(arguments: argparse.Namespace) -> int:
    from ifrvis.datasets.ytvis import read_annotations
    from ifrvis.evaluation.ap import average_precision
    from ifrvis.evaluation.predictions import read_predictions, read_results, results_of

    annotations = read_annotations(arguments.gt)
    if arguments.pred.suffix == ".gz":
        results = results_of(read_predictions(arguments.pred, annotations))
    else:
        results = read_results(arguments.pred, annotations, official_quirks=arguments.official_quirks)
    scores = average_precision(annotations, results, official_quirks=arguments.official_quirks)
    if arguments.json:
        print(json.dumps(scores, indent=1))
    else:
        shown = {name: value for name, value in scores.items() if value is None or isinstance(value, float)}
        print("\n".join(f"{name:6} {'-' if value is None else f'{100 * value:.2f}'}" for name, value in shown.items()))
    return 0
