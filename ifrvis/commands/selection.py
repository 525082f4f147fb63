"""What the commands about tables have in common: which tables, rows, seeds and profile, and where things lie."""

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ifrvis.errors import REPEAT_S, UserError, printable

if TYPE_CHECKING:
    from rich.console import Console

    from ifrvis.harness.plan.plan import Request
    from ifrvis.harness.spec.profiles import Profile
    from ifrvis.harness.store.paths import Run, Store
    from ifrvis.harness.store.records import Record

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


def selection_arguments(parser: argparse.ArgumentParser, *, what: str = "TABLE", nargs: str = "+") -> None:
    """Add the options that say which runs are meant."""
    runs = "; or the name of a run, its beginning or its folder" * ("RUN" in what)
    parser.add_argument("tables", nargs=nargs, metavar=what, help=f"table1, figure4, ..., `all`, or a YAML file{runs}")
    parser.add_argument("--rows", help="row ids, with commas between them")
    declared = _checked(
        int, lambda value: 1 <= value < 1e6, "a number from 1 to that of the seeds that the table declares"
    )
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
        "--annotations": {
            "type": Path,
            "help": "videos of your own: YouTube-VIS JSON, or COCO's with track_id",
        },
        "--frames": {"type": Path, "help": "what its file names are relative to (default: JPEGImages beside it)"},
        "--init": {"type": Path, "help": "other initial weights for every row"},
        "--data-root": {"type": Path, "default": Path(root("IFRVIS_DATA", "data")), "help": "default: ./data"},
        "--results": {"type": Path, "default": Path(root("IFRVIS_RESULTS", "results")), "help": "default: ./results"},
        "--reports": {"type": Path, "default": Path("reports"), "help": "default: ./reports"},
    }
    for name in names:
        parser.add_argument(name, **known[name])


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
    from ifrvis.harness.spec.tables import check_rows, load_tables, run_on
    from ifrvis.harness.spec.weights import given_weights
    from ifrvis.harness.store.paths import Store

    if getattr(arguments, "annotations", None) and not arguments.profile:
        profile, why = load_profile("mini"), "for videos of your own, where --profile says no other"
    else:
        profile, why = profile_of(arguments, of_kept=of_kept)
    tables, overrides = load_tables(arguments.tables, profile), dict(map(parse_override, arguments.set))
    rows = tuple(arguments.rows.split(",")) if arguments.rows else None
    check_rows(tables, rows or ())
    _take_own_set(arguments)  # when what else is given is right
    request = Request(
        tables=tuple(run_on(table, arguments.dataset) for table in tables),
        profile=profile,
        data_root=arguments.data_root,
        store=Store(arguments.results),
        rows=rows,
        num_seeds=arguments.seeds,
        overrides=overrides,
        dataset=arguments.dataset,
        init=given_weights(arguments.init, arguments.data_root) if arguments.init else None,
        no_shipped_weights=arguments.no_shipped_weights,
    )
    return request, why


def _take_own_set(arguments: argparse.Namespace) -> None:
    """Make of `--annotations` and `--frames` a set, and `--dataset` of it, if they are given; what to know is said. One
    that `--dataset` names as reports call it is found.
    """
    from ifrvis.datasets.catalog import known_as

    if getattr(arguments, "annotations", None) is None:
        if getattr(arguments, "frames", None):
            raise UserError("Give --annotations with --frames: of which videos these are the frames is not said.")
        arguments.dataset = arguments.dataset and known_as(arguments.dataset, arguments.data_root)
        return
    from ifrvis.datasets.exchange.sets import own_set

    if arguments.dataset is not None:
        raise UserError("Leave out --dataset or --annotations: each says what every row is trained on.")
    path, notes = own_set(arguments.annotations, arguments.frames, arguments.data_root)
    arguments.dataset = str(path)
    for note in notes:
        print(f"ifrvis: {printable(note)}", file=sys.stderr)


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
    """The runs of a row (`row`, `table/row`) that have begun, or of which a record is kept; else those that a run's
    name, beginning or folder means. UserError if there is none; of a row, under the profile; with --seed, of this seed.
    """
    from ifrvis.harness.plan.planner import make_plan
    from ifrvis.harness.spec.tables import known_names, load_table, rows_named
    from ifrvis.harness.store.paths import Store
    from ifrvis.harness.store.records import runs_named, some_of
    from ifrvis.packed import packed_names
    from ifrvis.reporting.match import reports_in

    store, rows, where = Store(arguments.results), rows_named(name), ""
    if name in packed_names("experiments", "tables"):
        raise UserError(f"Name a row of {name}, {some_of(row.id for row in load_table(name).rows)}: it is a table.")
    if not rows:
        runs = runs_named(store, name, beside=known_names())
    else:
        request = row_request(arguments, name, rows[0][1].id)
        trainings = [each for each in make_plan(request, whole=False).trainings if not each.is_pretraining]
        begun = [run for run in (each.run(store) for each in trainings if each.sig is not None) if run.spec.is_file()]
        records = [record for report in reports_in(store, request) for record in report.records]
        runs = list(dict.fromkeys([*begun, *(store.run(each.name, each.train_sig) for each in records)]))
        where = f" under profile {request.profile.name}"
    found = [run for run in runs if arguments.seed is None or run.name.endswith(f"-s{arguments.seed}")]
    if not found:
        seed = f" with seed {arguments.seed}" * (arguments.seed is not None)
        raise UserError(f"Run {name} first, or correct --results: {store.root} has no run of it{seed}{where}.")
    return found


def records_meant(arguments: argparse.Namespace, name: str) -> "tuple[Store, dict[int, Record]]":
    """By seed the records of a row, of a run, or the one whose file this is, and where they lie; UserError if there is
    none, or if it is not clear which are meant.
    """
    from ifrvis.harness.spec.signatures import SCORING_VERSION
    from ifrvis.harness.spec.tables import known_names, rows_named
    from ifrvis.harness.store.paths import Store
    from ifrvis.harness.store.records import beginning_so, read_record, records_of
    from ifrvis.reporting.match import reports_in

    store, path = Store(arguments.results), Path(name)
    if path.is_file() or path.suffix == ".json":
        record = read_record(path)
        if arguments.seed not in (None, record.seed):
            raise UserError(f"Leave out --seed, or give {record.seed}: that is the seed of {name}.")
        return Store(path.resolve().parents[2]), {record.seed: record}
    if rows := rows_named(name):
        request, cure = row_request(arguments, name, rows[0][1].id), "Write table/row"
        records = [record for report in reports_in(store, request) for record in report.records]
        none = f"Run {name} first: there is no record of it under profile {request.profile.name} in {store.root}."
    else:
        runs, cure = runs_meant(arguments, name), f"Give one of its records{beginning_so(name, known_names())}"
        records = [each for run in runs for each in records_of(run) if each.scoring == SCORING_VERSION]
        none = f"Let {name} end first: there is no record of it in {store.root}."
    found: dict[int, Record] = {}
    for record in records:
        if arguments.seed in (None, record.seed) and found.setdefault(record.seed, record) != record:
            raise UserError(f"{cure}: {name} has {found[record.seed].file_name} and {record.file_name}.")
    if not found:
        raise UserError(none)
    return store, found


def lacking(arguments: argparse.Namespace, name: str, run: "Run", what: str) -> UserError:
    """What is to be said of a run that lacks what a training leaves, and was named so: train it, or train it again."""
    from ifrvis.harness.spec.tables import rows_named
    from ifrvis.harness.store.records import records_of

    records = sorted(records_of(run), key=lambda each: each.origin != "trained")
    if not records:
        return UserError(f"Train {run.folder.name} first: it has no {what}.")
    record, path = records[0], records[0].path(run.store)
    if record.spec is None:
        return UserError(f"Name a run that was trained: {path} scores predictions from elsewhere, without {what}.")
    profile = f" --profile {arguments.profile}" * bool(arguments.profile)
    again = f"{name} --seed {record.seed}{profile}" if rows_named(name) else path
    made, on = record.provenance, record.provenance.hardware.processor or "an unknown processor"
    commit = f", by commit {made.code.commit[:12]}" if made.code.commit else ""
    return UserError(
        f"Train it again with `ifrvis reproduce {again}`: kept of {run.folder.name} is its record, {path}, not its "
        f"{what}. It was trained on {', '.join([on, *record.measured.gpus])} in {record.hours:.2f} hours{commit}; a "
        "record has no date."
    )


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
    from ifrvis.harness.spec.tables import known_names
    from ifrvis.harness.store.records import beginning_so, some_of

    found = runs_meant(arguments, name)
    if len(found) > 1:
        known, rows = some_of(run.folder.name for run in found), beginning_so(name, known_names())
        raise UserError(f"Name one run, or add --seed{rows}: of those in {arguments.results}, {name!r} means {known}.")
    return found[0]


@contextlib.contextmanager
def progress(text: str, console: "Console | None" = None) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal (default: standard error) while the block lasts, elsewhere a line every `REPEAT_S`; what it
    gives is to be called with what is done, and the total.
    """
    from rich.console import Console
    from rich.progress import Progress

    said_s, shown = time.monotonic(), console or Console(stderr=True)

    def update(done: int, total: int) -> None:
        nonlocal said_s
        bar.update(task, completed=done, total=total)
        if not shown.is_terminal and time.monotonic() - said_s >= REPEAT_S:
            said_s = time.monotonic()
            say(shown, f"{text}: {100 * done // max(total, 1)} %")

    with Progress(console=shown, transient=True, disable=not shown.is_terminal) as bar:
        task = bar.add_task(text, total=None)
        yield update


def show(text: str, *, flush: bool = False) -> None:
    """Print text that may hold what files say: what would move the cursor or turn the text becomes a question mark."""
    print(printable(text), flush=flush)


def answer(arguments: argparse.Namespace, content: Any, lines: Iterable[str]) -> None:
    """Print what was found: JSON of it alone with `--json`, else lines."""
    show(json.dumps(content, indent=1) if arguments.json else "\n".join(lines))


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
    commands: Any, name: str, command: Callable[[argparse.Namespace], int], text: str, *options: str
) -> argparse.ArgumentParser:
    """Add one command, with some `add_options`, to a group of commands; its parser, which takes the other arguments."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.set_defaults(command=command)
    add_options(parser, *options)
    return parser
