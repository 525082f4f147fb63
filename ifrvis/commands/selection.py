"""What the commands about tables have in common: which tables, rows, seeds and profile, and where things lie."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ifrvis.harness.compose import Profile
    from ifrvis.harness.plan import Request

__all__ = ["add_command", "request_of", "root_arguments", "selection_arguments"]


def selection_arguments(parser: argparse.ArgumentParser, *, what: str = "TABLE", nargs: str = "+") -> None:
    """Add the options that say which runs are meant."""
    runs = "; or the name of a run, or its beginning" * ("RUN" in what)
    parser.add_argument("tables", nargs=nargs, metavar=what, help=f"table1, figure4, ..., `all`, or a YAML file{runs}")
    parser.add_argument("--profile", help="paper, mini, smoke, or a YAML file")
    parser.add_argument("--rows", help="row ids, with commas between them")
    parser.add_argument("--seeds", type=int, help="the first N declared seeds (default: all)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe (off-spec)")
    parser.add_argument("--dataset", help="another dataset for every row (off-spec)")
    parser.add_argument("--init", type=Path, help="other initial weights for every row (off-spec)")
    parser.add_argument("--no-shipped-weights", action="store_true", help="make pretrained weights that are shipped")
    root_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON alone on standard output")


def root_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where data, results and reports lie."""
    root = os.environ.get
    parser.add_argument("--data-root", type=Path, default=Path(root("IFRVIS_DATA", "data")), help="default: ./data")
    parser.add_argument(
        "--results", type=Path, default=Path(root("IFRVIS_RESULTS", "results")), help="default: ./results"
    )
    parser.add_argument("--reports", type=Path, default=Path("reports"), help="default: ./reports")


def request_of(arguments: argparse.Namespace) -> tuple["Request", str]:
    """What is asked for, and why in this profile.

    Raises:
        UserError: If a table, a profile or an option is wrong.
    """
    from ifrvis.harness.compose import parse_override
    from ifrvis.harness.plan import Request
    from ifrvis.harness.runs import Results
    from ifrvis.harness.tables import load_tables

    profile, why = _profile(arguments)
    request = Request(
        tables=tuple(load_tables(arguments.tables)),
        profile=profile,
        data_root=arguments.data_root,
        results=Results(arguments.results),
        rows=tuple(arguments.rows.split(",")) if arguments.rows else None,
        num_seeds=arguments.seeds,
        overrides=dict(parse_override(text) for text in arguments.set),
        dataset=arguments.dataset,
        init=arguments.init,
        no_shipped_weights=arguments.no_shipped_weights,
    )
    return request, why


def _profile(arguments: argparse.Namespace) -> tuple["Profile", str]:
    """The profile asked for; else `paper` where its data and a GPU are, else `mini`."""
    from ifrvis.datasets.catalog import load_dataset
    from ifrvis.harness.compose import load_profile
    from ifrvis.harness.machine import gpus

    if arguments.profile:
        return load_profile(arguments.profile), "as asked"
    if not gpus():
        return load_profile("mini"), "no GPU here"
    paper = load_profile("paper")
    for name in sorted(set(paper.datasets.values())):
        missing = load_dataset(name, arguments.data_root).split("train").missing
        if missing:
            return load_profile("mini"), f"the data of profile paper are not all here: {missing}"
    return paper, "its data and a GPU are here"


def add_command(
    commands: Any, name: str, command: Callable[[argparse.Namespace], int], text: str, arguments: Callable[[Any], None]
) -> None:
    """Add one command to a group of commands."""
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    arguments(parser)
    parser.set_defaults(command=command)
