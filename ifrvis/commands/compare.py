"""`ifrvis compare`: two runs, rows, records or results files side by side."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ifrvis.commands.selection import (
    add_command,
    file_of,
    root_arguments,
    row_request,
    run_arguments,
    runs_meant,
    show,
    whole,
)
from ifrvis.errors import UserError

if TYPE_CHECKING:
    from ifrvis.datasets.ytvis import Annotations
    from ifrvis.harness.store.paths import Store
    from ifrvis.harness.store.records import Record
    from ifrvis.reporting.comparison import Evaluated, Side


def add_commands(commands: Any) -> None:
    """Add `compare`."""
    text = "set two rows, runs, records or results files side by side: numbers, errors in words, and what differs"
    parser = add_command(commands, "compare", _compare, text)
    text = "a row (`row` or `table/row`), a run's name, its beginning or folder, or a record; with --gt a results file"
    parser.add_argument("a", metavar="A", help=text)
    parser.add_argument("b", metavar="B", help="likewise")
    text = "ground truth, YouTube-VIS JSON, on which predictions and results files are scored"
    parser.add_argument("--gt", type=Path, help=text)
    parser.add_argument(
        "--html", type=file_of(".html"), metavar="OUT", help="write a page that plays what differs most"
    )
    parser.add_argument("--frames", type=Path, help="folder of the frames that it shows (default: the data set's)")
    run_arguments(parser)
    parser.add_argument("--jobs", type=whole(1, 1000), default=1, help="processes that share the videos (default: 1)")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print JSON alone on standard output")
    shown.add_argument("--md", action="store_true", help="print Markdown")
    root_arguments(parser)


class _Given(NamedTuple):
    """A side as it was given: what it is called, and its records by seed, or the file that it is."""

    name: str
    store: "Store"
    records: "dict[int, Record]"
    file: Path | None = None
    left_out: tuple[int, ...] = ()  # seeds that the other side has not

    def predictions(self) -> "dict[int | None, Path]":
        """The files of what was predicted, by seed."""
        if self.file is not None:
            return {None: self.file}
        return {
            seed: self.store.run(each.name, each.train_sig).predictions(each.inference, each.data.evaluation)
            for seed, each in self.records.items()
        }


def _compare(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from ifrvis.reporting.comparison import Side, compare, tables_of
    from ifrvis.reporting.formats import tables_markdown, tables_terminal

    if arguments.a == arguments.b:
        raise UserError(f"Give two different things to compare: both are {arguments.a}.")
    given = _at_the_same_seeds([_given(name, arguments) for name in (arguments.a, arguments.b)])
    if len(short := [Path(each.name).name for each in given]) == len({*short}):
        given = [each._replace(name=name) for each, name in zip(given, short)]
    annotations, dataset, frames = _annotations(arguments, given)
    sides = [Side(each.name, _evaluated(each, annotations, arguments)) for each in given]
    content = compare(*sides, dataset=dataset, names=_names(annotations))
    for key, each in zip("ab", given):
        content[key]["left_out"] = each.left_out
    said = [*(f"{key.upper()}: {content[key]['name']}{_seeds(content[key])}" for key in "ab"), *content["said"]]
    if arguments.html:
        _write_page(arguments, given, sides, content, said, annotations, frames)
    if arguments.json:
        print(json.dumps(content, indent=1))
    elif arguments.md:
        show(tables_markdown("A and B", said, tables_of(content)))
    else:
        Console().print(tables_terminal(said, tables_of(content)))
    return 0


def _seeds(side: dict[str, Any]) -> str:
    used, left = (", ".join(map(str, seeds)) for seeds in (side["seeds"], side["left_out"]))
    return f", seed {used}" * (
        used not in ("", "None")
    ) + f" ({left} left out: the other side has no such seed)" * bool(left)


def _given(name: str, arguments: argparse.Namespace) -> _Given:
    from ifrvis.files import read_json
    from ifrvis.harness.store.paths import Store
    from ifrvis.harness.store.records import read_record

    path, store = Path(name), Store(arguments.results)
    if not path.is_file():
        return _Given(name, store, _records_named(name, arguments))
    if arguments.gt is not None:
        return _Given(name, store, {}, path)
    if path.suffix != ".json" or "digest" not in read_json(path, "a record"):
        raise UserError(f"Give --gt, the ground truth, to compare results files: {path} is no record.")
    record = read_record(path)
    return _Given(name, Store(path.resolve().parents[2]), {record.seed: record})


def _records_named(name: str, arguments: argparse.Namespace) -> "dict[int, Record]":
    """The records of a row or of a run, by seed.

    Raises:
        UserError: If there is none, or if it is not clear which are meant.
    """
    from ifrvis.harness.spec.signatures import SCORING_VERSION
    from ifrvis.harness.spec.tables import rows_named
    from ifrvis.harness.store.paths import Store
    from ifrvis.harness.store.records import Records
    from ifrvis.reporting.match import make_reports

    store, found = Store(arguments.results), dict[tuple[str, ...], list["Record"]]()
    if rows := rows_named(name):
        request = row_request(arguments, name, rows[0][1].id)
        for report in make_reports(request, Records(store.records(request.profile.name)).all_readable()):
            counted = [each for each in report.records if arguments.seed in (None, each.seed)]
            found[tuple(each.digest for each in counted)] = counted
        found.pop((), None)
        why = f"Run {name} first: there is no record of it under profile {request.profile.name} in {store.root}."
        cure = "Write table/row"
    else:
        sigs = {run.train_sig for run in runs_meant(arguments, name)}
        known = [each for kept in store.profiles() for each in Records(store.records(kept)).all_readable()]
        found = {(each.digest,): [each] for each in known if each.train_sig in sigs and each.scoring == SCORING_VERSION}
        why, cure = f"Let {name} end first: there is no record of it in {store.root}.", "Give one of its records"
    if len(found) != 1:
        files = " and ".join(each.file_name for of in found.values() for each in of)
        raise UserError(f"{cure}: {name} has {files}." if found else why)
    return {record.seed: record for of in found.values() for record in of}


def _at_the_same_seeds(given: list[_Given]) -> list[_Given]:
    """Both sides with the seeds that both have; one of each stays, whatever its seed."""
    if any(not each.records for each in given) or all(len(each.records) == 1 for each in given):
        return given
    common = sorted(given[0].records.keys() & given[1].records.keys())
    if not common:
        known = " and ".join(f"{each.name} has {[*each.records]}" for each in given)
        raise UserError(f"Run a seed of both, or give one record of each: {known}.")
    return [
        each._replace(
            records={seed: each.records[seed] for seed in common},
            left_out=tuple(seed for seed in each.records if seed not in common),
        )
        for each in given
    ]


def _write_page(
    arguments: argparse.Namespace,
    given: list[_Given],
    sides: "list[Side]",
    content: dict[str, Any],
    said: list[str],
    annotations: "Annotations | None",
    frames: Path | None,
) -> None:
    """Write the page of the first seed: what plays are the videos that differ most."""
    from ifrvis.files import sha256_file, write_atomically
    from ifrvis.harness.store.playback import Scene
    from ifrvis.harness.upkeep.footage import VIDEOS, play, side_of
    from ifrvis.reporting.comparison import tables_of
    from ifrvis.reporting.web.page import make_compare_page

    if annotations is None or not content["videos"]:
        raise UserError("Leave out --html, or give --gt: the videos that both sides are about are not here.")
    paths = [next(iter(each.predictions().items())) for each in given]
    shown = [
        side_of(each.name, f"{key}: {each.name}", path, side.of[0].scores, annotations)
        for key, each, (_, path), side in zip("AB", given, paths, sides)
    ]
    videos = [annotations.video_by_id[each["id"]] for each in content["videos"][:VIDEOS]]
    scene = Scene(
        dataset=next(iter(given[0].records.values())).dataset if given[0].records else "given",
        seed=paths[0][0],
        rows=(shown[0].row, shown[1].row),
        records=(sha256_file(paths[0][1]), sha256_file(paths[1][1])),
        videos=tuple(play(annotations, arguments.frames or frames, video, shown) for video in videos),
    )
    write_atomically(arguments.html, make_compare_page(said, tables_of(content), scene))
    print(f"ifrvis: wrote {arguments.html}", file=sys.stderr)


def _annotations(arguments: argparse.Namespace, given: list[_Given]) -> "tuple[Annotations | None, str, Path | None]":
    """The ground truth and the folder of frames, if they are here, and the name of the set."""
    from ifrvis.datasets.catalog import load_dataset
    from ifrvis.datasets.ytvis import read_annotations

    if arguments.gt:
        return read_annotations(arguments.gt), "", None
    record = next(iter(given[0].records.values()))
    try:
        split = load_dataset(record.dataset, arguments.data_root).split(record.role, record.data.part)
        if split.fingerprint == record.data.evaluation and not split.makeable:
            return split.read(), record.dataset, split.frames
    except UserError:  # what it was measured on need not be here
        pass
    return None, record.dataset, None


def _evaluated(given: _Given, annotations: "Annotations | None", arguments: argparse.Namespace) -> "list[Evaluated]":
    from ifrvis.reporting.comparison import of_file, of_record

    if arguments.gt is None:
        return [of_record(given.store, record) for record in given.records.values()]
    assert annotations is not None
    paths = given.predictions().items()
    return [of_file(path, annotations, jobs=arguments.jobs)._replace(seed=seed) for seed, path in paths]


def _names(annotations: "Annotations | None") -> dict[str, str]:
    """Names of categories and videos, as far as they are known."""
    if annotations is None:
        return {}
    categories = {f"category {each.id}": each.name for each in annotations.categories}
    return categories | {f"video {each.id}": each.name for each in annotations.videos}
