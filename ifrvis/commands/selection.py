"""What the commands about tables have in common: which tables, rows, seeds and profile, and where things lie."""

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ifrvis.errors import REPEAT_S, UserError, printable

if TYPE_CHECKING:
    from rich.console import Console

    from ifrvis.harness.plan.plan import Request
    from ifrvis.harness.spec.profiles import Profile
    from ifrvis.harness.store.paths import Run

T = TypeVar("T")


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


def selection_arguments(parser: argparse.ArgumentParser, *, what: str = "TABLE", nargs: str = "+") -> None:
    """Add the options that say which runs are meant."""
    runs = "; or the name of a run, its beginning or its folder" * ("RUN" in what)
    parser.add_argument("tables", nargs=nargs, metavar=what, help=f"table1, figure4, ..., `all`, or a YAML file{runs}")
    parser.add_argument("--profile", help="one of experiments/profiles, or a YAML file (default: by turn)")
    parser.add_argument("--rows", help="row ids, with commas between them")
    parser.add_argument("--seeds", type=whole(), help="the first N declared seeds (default: all)")
    change_arguments(parser)
    parser.add_argument("--no-shipped-weights", action="store_true", help="make pretrained weights that are shipped")
    root_arguments(parser)


def change_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that change rows, and `--json`."""
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe")
    text = "another dataset for every row: a name, a YAML file, or the folder of a set that `ifrvis data import` made"
    parser.add_argument("--dataset", help=text)
    text = "videos of your own instead: YouTube-VIS JSON, or COCO's with track_id"
    parser.add_argument("--annotations", type=Path, metavar="JSON", help=text)
    text = "what its file names are relative to (default: JPEGImages beside it)"
    parser.add_argument("--frames", type=Path, metavar="DIR", help=text)
    parser.add_argument("--init", type=Path, help="other initial weights for every row")
    parser.add_argument("--json", action="store_true", help="print JSON alone on standard output")


def run_arguments(parser: argparse.ArgumentParser, *, profile: bool = True) -> None:
    """Add the options that say which run of a row is meant; `profile`: that of the profile, too."""
    if profile:
        parser.add_argument("--profile", help="one of experiments/profiles, or a YAML file (default: by turn)")
    parser.add_argument("--seed", type=whole(0), help="the run of this seed alone, of those of a row")


def root_arguments(parser: argparse.ArgumentParser, **results: Any) -> None:
    """Add the options that say where data, results and reports lie; `results` is how `--results` is taken otherwise."""
    root = os.environ.get
    own: dict[str, Any] = {"default": Path(root("IFRVIS_RESULTS", "results")), "help": "default: ./results"} | results
    parser.add_argument("--data-root", type=Path, default=Path(root("IFRVIS_DATA", "data")), help="default: ./data")
    parser.add_argument("--results", type=Path, **own)
    parser.add_argument("--reports", type=Path, default=Path("reports"), help="default: ./reports")


def selection_again(arguments: argparse.Namespace) -> list[str]:
    """The same selection as it could be typed in any folder, for another process."""
    given = [*map(_anywhere, arguments.tables)]
    for name in ("profile", "rows", "seeds", "dataset", "init", "data_root", "results"):
        value = getattr(arguments, name)
        given += [f"--{name.replace('_', '-')}", _anywhere(value)] if value is not None else []
    for text in arguments.set:
        given += ["--set", text]
    return given + ["--no-shipped-weights"] * arguments.no_shipped_weights


def _anywhere(value: Any) -> str:
    """A path, absolute; a name as it is."""
    is_path = isinstance(value, Path) or str(value).endswith((".yaml", ".yml"))
    return str(Path(value).resolve()) if is_path else str(value)


def request_of(arguments: argparse.Namespace, *, of_kept: bool = False) -> tuple["Request", str]:
    """What is asked for, and why in this profile; see `profile_of`. UserError if a table, a profile or an option is
    wrong.
    """
    from ifrvis.harness.plan.plan import Request
    from ifrvis.harness.spec.compose import parse_override
    from ifrvis.harness.spec.profiles import load_profile
    from ifrvis.harness.spec.tables import load_tables, run_on
    from ifrvis.harness.spec.weights import given_weights
    from ifrvis.harness.store.paths import Store

    if _own_set(arguments) and not arguments.profile:
        profile, why = load_profile("mini"), "for videos of your own, where --profile says no other"
    else:
        profile, why = profile_of(arguments, of_kept=of_kept)
    request = Request(
        tables=tuple(run_on(table, arguments.dataset) for table in load_tables(arguments.tables, profile)),
        profile=profile,
        data_root=arguments.data_root,
        store=Store(arguments.results),
        rows=tuple(arguments.rows.split(",")) if arguments.rows else None,
        num_seeds=arguments.seeds,
        overrides=dict(parse_override(text) for text in arguments.set),
        dataset=arguments.dataset,
        init=given_weights(arguments.init, arguments.data_root) if arguments.init else None,
        no_shipped_weights=arguments.no_shipped_weights,
    )
    return request, why


def _own_set(arguments: argparse.Namespace) -> bool:
    """Make of `--annotations` and `--frames` a set, and `--dataset` of it, if they are given; what to know is said."""
    if getattr(arguments, "annotations", None) is None:
        if getattr(arguments, "frames", None):
            raise UserError("Give --annotations with --frames: of which videos these are the frames is not said.")
        return False
    from ifrvis.datasets.exchange.sets import own_set

    if arguments.dataset is not None:
        raise UserError("Leave out --dataset or --annotations: each says what every row is trained on.")
    path, notes = own_set(arguments.annotations, arguments.frames, arguments.data_root)
    arguments.dataset = str(path)
    for note in notes:
        print(f"ifrvis: {printable(note)}", file=sys.stderr)
    return True


def profile_of(arguments: argparse.Namespace, *, of_kept: bool = False) -> tuple["Profile", str]:
    """The profile that is asked for, else by turn; `of_kept`: where one alone has records, that one; and why it is."""
    from ifrvis.harness.jobs.launch import choose_profile
    from ifrvis.harness.spec.profiles import load_profile
    from ifrvis.harness.store.paths import Store

    kept = Store(arguments.results).profiles() if of_kept else []
    if arguments.profile or len(kept) == 1:
        return load_profile(arguments.profile or kept[0]), "as asked"
    return choose_profile(arguments.data_root, on_cluster=getattr(arguments, "cluster", None) is not None)


def runs_meant(arguments: argparse.Namespace, name: str) -> list["Run"]:
    """The runs of a row (`row`, `table/row`) that have begun; else those that a run's name, beginning or folder means.
    UserError if there are none; of a row, under the profile; with --seed, of this seed.
    """
    from ifrvis.harness.plan.planner import make_plan
    from ifrvis.harness.spec.tables import known_names, rows_named
    from ifrvis.harness.store.paths import Store

    store, rows, where = Store(arguments.results), rows_named(name), ""
    if not rows:
        runs = store.runs_named(name, beside=known_names())
    else:
        request = row_request(arguments, name, rows[0][1].id)
        trainings = [each for each in make_plan(request, whole=False).trainings if not each.is_pretraining]
        runs = [each.run(store) for each in trainings if each.sig is not None]
        runs, where = [each for each in runs if each.spec.is_file()], f" under profile {request.profile.name}"
    found = [run for run in runs if arguments.seed in (None, run.read_spec().train.seed)]
    if not found:
        seed = f" with seed {arguments.seed}" * (arguments.seed is not None)
        raise UserError(f"Run {name} first, or correct --results: {store.root} has no run of it{seed}{where}.")
    return found


def row_request(arguments: argparse.Namespace, name: str, row_id: str) -> "Request":
    """The request of the row that `row`, of all tables, or `table/row` names, with the command's changes of rows;
    UserError as `request_of`.
    """
    profile = profile_of(arguments, of_kept=True)[0]
    plain: dict[str, Any] = {"set": [], "dataset": None, "init": None, "no_shipped_weights": False}
    given = plain | (vars(arguments) if hasattr(arguments, "init") else {})  # --dataset may mean another thing
    given |= {"tables": [name.rpartition("/")[0] or "all"], "rows": row_id, "seeds": None}
    return request_of(argparse.Namespace(**vars(arguments) | given | {"profile": arguments.profile or profile.name}))[0]


def run_meant(arguments: argparse.Namespace, name: str) -> "Run":
    """The one run that a name means; see `runs_meant`. UserError if no run or more than one does."""
    found = runs_meant(arguments, name)
    if len(found) > 1:
        known = ", ".join(run.folder.name for run in found)
        raise UserError(f"Name one run, or add --seed: of those in {arguments.results}, {name!r} means {known}.")
    return found[0]


@contextlib.contextmanager
def progress(console: "Console", text: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal while the block lasts, elsewhere a line every `REPEAT_S`; what it gives is to be called with
    what is done, and the total.
    """
    from rich.progress import Progress

    said_s = time.monotonic()

    def update(done: int, total: int) -> None:
        nonlocal said_s
        bar.update(task, completed=done, total=total)
        if not console.is_terminal and time.monotonic() - said_s >= REPEAT_S:
            said_s = time.monotonic()
            say(console, f"{text}: {100 * done // max(total, 1)} %")

    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(text, total=None)
        yield update


def show(text: str, *, flush: bool = False) -> None:
    """Print text that may hold what files say: what would move the cursor or turn the text becomes a question mark."""
    print(printable(text), flush=flush)


def console_for_tables(*, stderr: bool = False) -> "Console":
    """Where tables are printed: a log has no width, so that no column of theirs is squeezed there."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() or "COLUMNS" in os.environ else 200)


def say(console: "Console", *lines: str) -> None:
    """The same on a console, line by line."""
    for line in lines:
        console.print(printable(line), highlight=False, markup=False, soft_wrap=True)


def add_command(
    commands: Any, name: str, command: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    """Add one command to a group of commands; its parser, which takes the arguments."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.set_defaults(command=command)
    return parser
