"""Options that several commands have, and what they ask for: tables, rows, seeds, a profile, and where things lie."""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ifrvis.errors import UserError, printable
from ifrvis.packed import SET_YAML

if TYPE_CHECKING:
    from ifrvis.harness.plan.plan import Request
    from ifrvis.harness.spec.profiles import Profile

T = TypeVar("T")
# Options that go together: what changes rows, which run of a row is meant, and where things lie.
CHANGES = ("--set", "--dataset", "--annotations", "--frames", "--init")
RUN = ("--profile", "--seed")
ROOTS = ("--data-root", "--results", "--reports")


def whole(low: int = 1, high: int = 1_000_000) -> Callable[[str], int]:
    """A type of options: whole numbers from `low` to `high`."""
    return _checked(int, lambda value: low <= value <= high, f"a whole number from {low} to {high}")


def number(low: float, high: float) -> Callable[[str], float]:
    """A type of options: numbers from `low` to `high`."""
    return _checked(float, lambda value: low <= value <= high, f"a number from {low:g} to {high:g}")


def file_of(*kinds: str) -> Callable[[str], Path]:
    """A type of options: files to write, of one of these kinds."""
    return _checked(Path, lambda path: path.suffix.lower() in kinds, f"a file that ends in {' or '.join(kinds)}")


def _checked(read: Callable[[str], T], holds: Callable[[T], bool], wanted: str) -> Callable[[str], T]:
    def check(text: str) -> T:
        with contextlib.suppress(ValueError):
            if holds(value := read(text)):
                return value
        raise argparse.ArgumentTypeError(f"give {wanted}, not {text!r}")

    return check


def add_selection(parser: argparse.ArgumentParser, *, what: str = "TABLE", nargs: str = "+") -> None:
    """Add the options that say which runs are meant."""
    runs = "; or the name of a run, its beginning or its folder" * ("RUN" in what)
    parser.add_argument("tables", nargs=nargs, metavar=what, help=f"table1, figure4, ..., `all`, or a YAML file{runs}")
    parser.add_argument("--rows", help="row ids, with commas between them")
    wanted = "a number from 1 to that of the seeds that the table declares"
    declared = _checked(int, lambda value: 1 <= value < 1e6, wanted)
    parser.add_argument("--seeds", type=declared, metavar="N", help="the first N declared seeds (default: all)")
    parser.add_argument("--no-shipped-weights", action="store_true", help="make pretrained weights that are shipped")
    add_options(parser, "--profile", *CHANGES, "--json", *ROOTS)


def refuse(arguments: argparse.Namespace, why: str, *names: str) -> None:
    """Refuse options (UserError) that are given where nothing would read them."""
    for name in names:
        value = getattr(arguments, name.removeprefix("--").replace("-", "_"))
        if not (value is None or value is False or value in ([], "")):  # a seed may be 0
            raise UserError(f"Leave out {name}: {why}.")


def add_options(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add options that several commands have."""
    root = os.environ.get
    known: dict[str, dict[str, Any]] = {
        "--profile": {"help": "one of experiments/profiles, or a YAML file (default: what fits here, paper or mini)"},
        "--seed": {"type": whole(0), "help": "the run of this seed alone, of those of a row"},
        "--json": {"action": "store_true", "help": "print JSON alone on standard output"},
        "--jobs": {"type": whole(1, 1000), "default": 1, "help": "processes that share the videos (default: 1)"},
        "--protocol": {
            "help": "what counts as a track: all (every entry, as of files), top10, common, matched, or a YAML file"
        },
        "--device": {"help": "cpu, cuda or cuda:1 (default: the first GPU if there is one)"},
        "--set": {"action": "append", "default": [], "metavar": "KEY=VALUE", "help": "change the recipe"},
        "--dataset": {"help": "another for every row: a name, a YAML file, or a folder that `ifrvis data import` made"},
        "--annotations": {"type": Path, "help": "videos of your own: YouTube-VIS JSON, or COCO's with track_id"},
        "--frames": {"type": Path, "help": "what its file names are relative to (default: JPEGImages beside it)"},
        "--init": {"type": Path, "help": "other initial weights for every row"},
        "--data-root": {"type": Path, "default": Path(root("IFRVIS_DATA") or "data"), "help": "default: ./data"},
        "--results": {"type": Path, "default": Path(root("IFRVIS_RESULTS") or "results"), "help": "default: ./results"},
        "--reports": {"type": Path, "default": Path("reports"), "help": "default: ./reports"},
    }
    for name in names:
        parser.add_argument(name, **known[name])


def typed_again(arguments: argparse.Namespace) -> list[str]:
    """The same selection as it could be typed in any folder, for another process."""
    given = [*map(_anywhere, arguments.tables)]
    for name in ("profile", "rows", "seeds", "dataset", "init", "data_root", "results"):
        value = getattr(arguments, name)
        given += [f"--{name.replace('_', '-')}", _anywhere(value)] if value is not None else []
    for text in arguments.set:
        given += ["--set", text]
    return given + ["--no-shipped-weights"] * arguments.no_shipped_weights


def _anywhere(value: Any) -> str:
    """A path, that of a set's folder too, absolute; a name as it is."""
    text, is_file = str(value), os.path.isfile  # which never raises
    is_path = isinstance(value, Path) or text.endswith((".yaml", ".yml")) or is_file(Path(text, SET_YAML))
    return str(Path(text).resolve()) if is_path else text


def request_of(arguments: argparse.Namespace, *, of_kept: bool = False) -> tuple["Request", str]:
    """What is asked for, and why in this profile (`profile_of`); UserError if a table or an option is wrong."""
    from ifrvis.harness.plan.plan import Request
    from ifrvis.harness.spec.compose import parse_override
    from ifrvis.harness.spec.profiles import load_profile
    from ifrvis.harness.spec.tables import check_rows, load_tables, run_on
    from ifrvis.harness.spec.weights import given_weights
    from ifrvis.harness.store.paths import Store

    if getattr(arguments, "annotations", None) and not arguments.profile:
        profile, why = load_profile("mini"), "for videos of your own, where --profile says no other"
    else:
        profile, why = profile_of(arguments, of_kept=of_kept)
    tables, overrides = load_tables(arguments.tables, profile), dict(map(parse_override, arguments.set))
    rows = tuple(each.strip() for each in arguments.rows.split(",")) if arguments.rows else None
    check_rows(tables, rows or ())
    dataset = _dataset_of(arguments)  # when what else is given is right
    request = Request(
        tables=tuple(run_on(table, dataset) for table in tables),
        profile=profile,
        data_root=arguments.data_root,
        store=Store(arguments.results),
        rows=rows,
        num_seeds=arguments.seeds,
        overrides=overrides,
        dataset=dataset,
        init=given_weights(arguments.init, arguments.data_root) if arguments.init else None,
        no_shipped_weights=arguments.no_shipped_weights,
    )
    return request, why


def _dataset_of(arguments: argparse.Namespace) -> str | None:
    """What every row is trained on, if something else than its own is asked for: what `--dataset` names, as reports may
    call it, or the set that is made, unless it is there, of `--annotations` and `--frames`; what to know is said.
    """
    from ifrvis.datasets.catalog import known_as

    if getattr(arguments, "annotations", None) is None:
        if getattr(arguments, "frames", None):
            raise UserError("Give --annotations with --frames: of which videos these are the frames is not said.")
        return arguments.dataset and known_as(arguments.dataset, arguments.data_root)
    from ifrvis.datasets.exchange.sets import own_set

    if arguments.dataset is not None:
        raise UserError("Leave out --dataset or --annotations: each says what every row is trained on.")
    path, notes = own_set(arguments.annotations, arguments.frames, arguments.data_root)
    for note in notes:
        print(f"ifrvis: {printable(note)}", file=sys.stderr)
    return str(path)


def profile_of(arguments: argparse.Namespace, *, of_kept: bool = False) -> tuple["Profile", str]:
    """The profile asked for, with `of_kept` the only one that has records, else by turn; and why it is."""
    from ifrvis.harness.jobs.launch import choose_profile
    from ifrvis.harness.spec.profiles import default_profiles, load_profile
    from ifrvis.harness.store.paths import Store

    kept = Store(arguments.results).profiles() if of_kept else []
    kept = [each.name for each in default_profiles() if each.name in kept] or kept
    if arguments.profile or len(kept) == 1:
        return load_profile(arguments.profile or kept[0]), "as asked"
    return choose_profile(arguments.data_root, on_cluster=getattr(arguments, "cluster", None) is not None)


def add_command(
    commands: Any, name: str, command: Callable[[argparse.Namespace], int], text: str, *options: str
) -> argparse.ArgumentParser:
    """Add one command, with some `add_options`, to a group of commands; its parser, which takes the other arguments."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.set_defaults(command=command)
    add_options(parser, *options)
    return parser
