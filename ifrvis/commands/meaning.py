"""What a name on the command line means: a row, a run of it, a record."""

import argparse
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifrvis.commands.selection import profile_of, request_of
from ifrvis.errors import UserError

if TYPE_CHECKING:
    from ifrvis.harness.plan.plan import Request
    from ifrvis.harness.store.paths import Run, Store
    from ifrvis.harness.store.records import Record


def runs_meant(arguments: argparse.Namespace, name: str) -> list["Run"]:
    """The runs of a row (`row`, `table/row`) that have begun, or of which a record is kept; else those that a run's
    name, beginning or folder means. UserError if there is none; of a row, under the profile; with --seed, of this seed.
    """
    from ifrvis.harness.plan.planner import make_plan
    from ifrvis.harness.spec.tables import known_names, load_table, rows_named
    from ifrvis.harness.store.names import runs_named, some_of
    from ifrvis.harness.store.paths import Store
    from ifrvis.packed import packed_names
    from ifrvis.reporting.match import reports_in

    store, rows, where = Store(arguments.results), rows_named(name), ""
    if name in packed_names("experiments", "tables"):
        raise UserError(f"Name a row of {name}, {some_of(row.id for row in load_table(name).rows)}: it is a table.")
    if not rows:
        runs = runs_named(store, name, beside=known_names())
    else:
        request = row_request(arguments, name)
        trainings = [each for each in make_plan(request, whole=False).trainings if not each.is_pretraining]
        begun = [run for run in (each.run(store) for each in trainings if each.sig is not None) if run.spec.is_file()]
        records = [record for report in reports_in(store, request) for record in report.records]
        runs = list(dict.fromkeys([*begun, *(store.run(each.name, each.train_sig) for each in records)]))
        where = f" under profile {request.profile.name}"
    found = [run for run in runs if arguments.seed is None or run.name.endswith(f"-s{arguments.seed}")]
    if not found:
        seed = for_seed(arguments, (int(each) for run in runs for each in re.findall(r"-s(\d+)$", run.name)))
        raise UserError(f"Run {name} first, or correct --results: {store.root} has no run of it{seed}{where}.")
    return found


def records_meant(arguments: argparse.Namespace, name: str) -> "tuple[Store, dict[int, Record]]":
    """By seed the records of a row, a run or a file, and where they lie; UserError if it is not clear which."""
    from ifrvis.harness.spec.signatures import SCORING_VERSION
    from ifrvis.harness.spec.tables import known_names, rows_named
    from ifrvis.harness.store.names import beginning_so
    from ifrvis.harness.store.paths import Store
    from ifrvis.harness.store.records import read_record, records_of
    from ifrvis.reporting.match import reports_in

    store, path = Store(arguments.results), Path(name)
    if path.is_file() or path.suffix == ".json":
        record = read_record(path)
        if arguments.seed not in (None, record.seed):
            raise UserError(f"Leave out --seed, or give {record.seed}: that is the seed of {name}.")
        *_, root = path.resolve().parents[:3]
        return Store(root), {record.seed: record}
    if rows_named(name):
        request, cure = row_request(arguments, name), "Write table/row"
        records = [record for report in reports_in(store, request) for record in report.records]
        where, first = f" under profile {request.profile.name} in {store.root}", f"Run {name} first"
    else:
        cure = f"Name its row, or give one of its records{beginning_so(name, known_names())}"
        runs = runs_meant(arguments, name)
        records = [each for run in runs for each in records_of(run) if each.scoring == SCORING_VERSION]
        where, first = f" in {store.root}", f"Let {name} end first"
    found: dict[int, Record] = {}
    for record in records:
        if arguments.seed in (None, record.seed) and found.setdefault(record.seed, record) != record:
            raise UserError(f"{cure}: {name} has {found[record.seed].path(store)} and {record.path(store)}.")
    if not found:
        seed = for_seed(arguments, (record.seed for record in records))
        raise UserError(f"{first}: there is no record of it{seed}{where}.")
    return store, found


def for_seed(arguments: argparse.Namespace, known: Iterable[int]) -> str:
    """What a message adds about --seed, if it is given, where of other seeds there is something."""
    there = ", ".join(map(str, sorted({*known})))
    return f" with seed {arguments.seed}{f', but with {there}' * bool(there)}" * (arguments.seed is not None)


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
    again = f"{name} --seed {record.seed}{profile}" if rows_named(name) else shlex.quote(str(path))
    made, on = record.provenance, record.provenance.hardware.processor or "an unknown processor"
    commit = f", by commit {made.code.commit[:12]}" if made.code.commit else ""
    return UserError(
        f"Train it again with `ifrvis reproduce {again}`: kept of {run.folder.name} is its record, {path}, not its "
        f"{what}. It was trained on {', '.join([on, *record.measured.gpus])} in {record.hours:.2f} hours{commit}; a "
        "record has no date."
    )


def row_request(arguments: argparse.Namespace, name: str) -> "Request":
    """The request of `row`, of all tables, or `table/row`, as the command changes rows; UserError as `request_of`."""
    profile, (table, _, row) = profile_of(arguments, of_kept=True)[0], name.rpartition("/")
    plain: dict[str, Any] = {"set": [], "dataset": None, "init": None, "no_shipped_weights": False}
    given = plain | (vars(arguments) if hasattr(arguments, "init") else {})  # --dataset may mean another thing
    given |= {"tables": [table or "all"], "rows": row, "seeds": None}
    return request_of(argparse.Namespace(**vars(arguments) | given | {"profile": arguments.profile or profile.name}))[0]


def run_meant(arguments: argparse.Namespace, name: str) -> "Run":
    """The one run that a name means; see `runs_meant`. UserError if no run or more than one does."""
    from ifrvis.harness.spec.tables import known_names
    from ifrvis.harness.store.names import beginning_so, some_of

    found = runs_meant(arguments, name)
    if len(found) > 1:
        known, rows = some_of(run.folder.name for run in found), beginning_so(name, known_names())
        raise UserError(f"Name one run, or add --seed{rows}: of those in {arguments.results}, {name!r} means {known}.")
    return found[0]
