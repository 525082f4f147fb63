"""`ifrvis compare`: two rows, runs, records or results files side by side."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ifrvis.commands.meaning import records_meant
from ifrvis.commands.selection import ROOTS, RUN, add_command, add_options, file_of, refuse
from ifrvis.commands.terminal import console_for_tables, show
from ifrvis.errors import UserError, printable
from ifrvis.files import read_json, sha256_file, write_atomically

if TYPE_CHECKING:
    from ifrvis.analysis.comparison import Evaluated, Side
    from ifrvis.datasets.ytvis import Annotations
    from ifrvis.evaluation.protocols import TrackingProtocol
    from ifrvis.harness.store.paths import Store
    from ifrvis.harness.store.records import Record


def add_commands(commands: Any) -> None:
    """Add `compare`."""
    text = "set two rows, runs, records or results files side by side: numbers, errors in words, and what differs"
    parser = add_command(commands, "compare", _compare, text, *RUN, *ROOTS)
    text = "a row (`row` or `table/row`), a run's name, its beginning or folder, or a record; with --gt a results file"
    parser.add_argument("a", metavar="A", help=text)
    parser.add_argument("b", metavar="B", help="likewise")
    text = "ground truth, YouTube-VIS JSON, on which predictions and results files are scored"
    parser.add_argument("--gt", type=Path, help=text)
    add_options(parser, "--protocol")
    text = "write a page that plays the videos that differ most"
    parser.add_argument("--html", type=file_of(".html"), metavar="OUT", help=text)
    parser.add_argument("--frames", type=Path, help="folder of the frames that it shows (default: the data set's)")
    parser.add_argument("--all", action="store_true", help="every metric, not only the paper's and those that differ")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print JSON alone on standard output")
    shown.add_argument("--md", action="store_true", help="print Markdown")


class _Given(NamedTuple):
    """A side as it was given: what it is called, and its records by seed, or the file that it is."""

    name: str
    store: "Store"
    records: "dict[int, Record]"
    file: Path | None = None

    def predictions(self) -> "list[tuple[int | None, Path]]":
        """The files of what was predicted, and their seeds; UserError if one is lost, or not what a record is of."""
        found: list[tuple[int | None, Path]] = [(None, self.file)] if self.file else []
        for each in self.records.values():
            path = each.predictions(self.store)
            if not path.is_file() or sha256_file(path) != each.files.get("predictions"):
                raise UserError(f"Restore {path}: the predictions behind a record of {self.name} are not there.")
            found.append((each.seed, path))
        return found


class _Truth(NamedTuple):
    """The ground truth and the folder of frames, as far as they are here, and the name of the set."""

    annotations: "Annotations | None" = None
    frames: Path | None = None
    dataset: str = ""


def _compare(arguments: argparse.Namespace) -> int:
    from ifrvis.analysis.comparison import UNITS, Side, compare, tables_of
    from ifrvis.evaluation.protocols import load_protocol
    from ifrvis.evaluation.scores import SHOWN
    from ifrvis.reporting.formats import tables_markdown, tables_terminal

    if arguments.a == arguments.b:
        raise UserError(f"Give two different things to compare: both are {arguments.a}.")
    if not arguments.html:
        refuse(arguments, "no frame is shown without --html", "--frames")
    given = [_given(name, arguments) for name in (arguments.a, arguments.b)]
    if all(each.file for each in given):
        refuse(arguments, "results files are of no seed", "--seed")
    if len({Path(each.name).name for each in given}) == 2:
        given = [each._replace(name=Path(each.name).name) for each in given]
    used, said = _at_the_same_seeds(given)
    if used[0].records and used[0].records == used[1].records:
        raise UserError(f"Give two different things to compare: {arguments.a} and {arguments.b} are the same records.")
    truth = _truth(arguments, used[0])
    protocol = _protocol(arguments, used)
    sides = [Side(each.name, _evaluated(each, truth, arguments.gt, protocol)) for each in used]
    shown = protocol or load_protocol(SHOWN)
    said += [f"tracking and identity by protocol {shown.name}: {shown.title}", UNITS]
    content = compare(*sides, dataset=truth.dataset, annotations=truth.annotations)
    content["protocol"] = shown.name
    said += content["said"]
    if arguments.html:
        _write_page(arguments.html, used, sides, content, said, truth, protocol)
    if arguments.json:
        print(json.dumps(content, indent=1))
    elif arguments.md:
        show(tables_markdown("A and B", said, tables_of(content, every=arguments.all)))
    else:
        console_for_tables().print(tables_terminal(said, tables_of(content, every=arguments.all)))
    return 0


def _given(name: str, arguments: argparse.Namespace) -> _Given:
    from ifrvis.harness.store.paths import Store

    path = Path(name)
    if path.is_file():
        if arguments.gt is not None:
            return _Given(name, Store(arguments.results), {}, path)
        content = read_json(path, "a record") if path.suffix == ".json" else None
        if not isinstance(content, dict) or "digest" not in content:
            raise UserError(f"Give --gt, the ground truth, to compare results files: {path} is no record.")
    elif path.suffix in (".json", ".gz"):
        raise UserError(f"Check the path: there is no file {path}.")
    return _Given(name, *records_meant(arguments, name))


def _at_the_same_seeds(given: list[_Given]) -> tuple[list[_Given], list[str]]:
    """Both sides with the seeds that both have, and what they are; one record of each stays, whatever its seed."""
    used = given
    if all(each.records for each in given) and any(len(each.records) > 1 for each in given):
        common = sorted(given[0].records.keys() & given[1].records.keys())
        if not common:
            known = " and ".join(f"{each.name} has {[*each.records]}" for each in given)
            raise UserError(f"Run a seed of both, or give one record of each: {known}.")
        used = [each._replace(records={seed: each.records[seed] for seed in common}) for each in given]
    said = []
    for key, before, after in zip("AB", given, used):
        seeds, left = ", ".join(map(str, after.records)), ", ".join(map(str, before.records.keys() - after.records))
        lost = f" ({left} left out: the other side has no such seed)" * bool(left)
        of = f", seed{'s' * (len(after.records) > 1)} {seeds}" * bool(seeds)
        said.append(f"{key}: {after.name}{of}{lost}")
    return used, said


def _truth(arguments: argparse.Namespace, given: _Given) -> _Truth:
    from ifrvis.datasets.catalog import load_dataset
    from ifrvis.datasets.ytvis import read_annotations

    if arguments.gt:
        return _Truth(read_annotations(arguments.gt), arguments.frames)
    record = next(iter(given.records.values()))
    try:
        split = load_dataset(record.dataset, arguments.data_root).split(record.role, record.data.part)
        if split.fingerprint == record.data.evaluation and not split.makeable:
            return _Truth(split.read(), arguments.frames or split.frames, record.dataset)
    except UserError:  # what it was measured on need not be here
        pass
    return _Truth(dataset=record.dataset)


def _protocol(arguments: argparse.Namespace, given: list[_Given]) -> "TrackingProtocol | None":
    """The one asked for or, where a file is a side, that of `evaluate`; None: that of records."""
    from ifrvis.evaluation.protocols import load_protocol

    if arguments.protocol and arguments.gt is None:
        raise UserError("Give --gt with --protocol: records were scored by their own.")
    name = arguments.protocol or ("all" if any(each.file for each in given) else "")
    return load_protocol(name) if name else None


def _evaluated(given: _Given, truth: _Truth, gt: Path | None, protocol: "TrackingProtocol | None") -> "list[Evaluated]":
    from ifrvis.analysis.comparison import of_file, of_record

    if gt is None or truth.annotations is None:
        return [of_record(given.store, record) for record in given.records.values()]
    return [of_file(path, truth.annotations, protocol)._replace(seed=seed) for seed, path in given.predictions()]


def _write_page(
    out: Path,
    given: list[_Given],
    sides: "list[Side]",
    content: dict[str, Any],
    said: list[str],
    truth: _Truth,
    protocol: "TrackingProtocol | None",
) -> None:
    """Write the page, which plays of the first seed the videos that differ most."""
    from ifrvis.analysis.comparison import tables_of
    from ifrvis.harness.store.playback import Scene
    from ifrvis.harness.upkeep.footage import VIDEOS, play, side_of
    from ifrvis.reporting.web.page import make_compare_page

    annotations = truth.annotations
    if annotations is None or not content["videos"]:
        raise UserError("Leave out --html, or give --gt: the videos that both sides are about are not here.")
    paths = [each.predictions()[0] for each in given]
    shown = [
        side_of(side.name, f"{key}: {side.name}", path, side.of[0].scores, annotations, protocol)
        for key, side, (_, path) in zip("AB", sides, paths)
    ]
    videos = [annotations.video_by_id[each["id"]] for each in content["videos"][:VIDEOS]]
    scene = Scene(
        dataset=truth.dataset or "given",
        seed=paths[0][0],
        rows=(sides[0].name, sides[1].name),
        records=(sha256_file(paths[0][1]), sha256_file(paths[1][1])),
        videos=tuple(play(annotations, truth.frames, video, shown) for video in videos),
    )
    write_atomically(out, make_compare_page(said, tables_of(content), scene))
    print(f"ifrvis: wrote {printable(str(out))}", file=sys.stderr)
