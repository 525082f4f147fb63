"""`ifrvis reproduce`: train a kept run again, and set it beside its record."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifrvis.commands.launching import check_launch, launch, launch_arguments
from ifrvis.commands.meaning import records_meant
from ifrvis.commands.selection import CHANGES, ROOTS, RUN, add_command, request_of
from ifrvis.commands.terminal import console_for_tables, say
from ifrvis.errors import DataMissingError, UserError

if TYPE_CHECKING:
    from ifrvis.harness.plan.plan import Evaluation, Plan, PlannedRow
    from ifrvis.harness.store.records import Record


def add_commands(commands: Any) -> None:
    """Add `reproduce`."""
    text = "train runs that are kept again, in a folder of their own, and compare each with its record"
    parser = add_command(commands, "reproduce", _reproduce, text, *RUN, *CHANGES, "--json", *ROOTS)
    text = "a row (`row` or `table/row`) with --seed, a run's name or beginning, or a record's file, anybody's"
    parser.add_argument("runs", nargs="+", metavar="RUN", help=text)
    text = "where they are trained (default: ./results/reproduced)"
    parser.add_argument("--into", type=Path, default=Path("results/reproduced"), metavar="DIR", help=text)
    launch_arguments(parser)
    parser.set_defaults(jobs=None)


def _reproduce(arguments: argparse.Namespace) -> int:
    import ifrvis.harness.jobs.local  # noqa: F401  (what starts runs is there, or its lack is all that is said)
    from ifrvis.analysis.reproduction import other_seeds, reproduction, table_of
    from ifrvis.harness.store.records import Records
    from ifrvis.reporting.formats import tables_terminal

    console = console_for_tables(stderr=arguments.json)
    check_launch(arguments)
    kept, others = [], []
    for run in dict.fromkeys(arguments.runs):
        record, beside = _kept(run, arguments)
        kept.append(record)
        others.append(other_seeds(record, Records(beside).all_readable()))
        processor = record.provenance.hardware.processor or "unknown"
        say(console, f"kept: {record.file_name} (processor: {processor}), and {len(others[-1])} other seeds of its row")
    if len({record.profile for record in kept}) > 1:
        raise UserError("Give runs of one profile: the plan of a launch has one.")
    plan, evaluations = _plan_of(kept, arguments)
    if any(each.record is None for each in evaluations):
        succeeded, ended = launch(plan, "that of the records", arguments, console)
        if not (succeeded and ended):
            return 0 if succeeded else 1
        _, evaluations = _plan_of(kept, arguments)
    found = {}
    for before, again, beside_it in zip(kept, [each.record for each in evaluations], others):
        assert again is not None
        found[before.file_name] = content = reproduction(before, again, beside_it)
        if not arguments.json:
            console.print(tables_terminal([before.name, *content["said"]], [table_of(content)]))
    if arguments.json:
        print(json.dumps(found, indent=1))
    return 0 if all(each["reproduced"] for each in found.values()) else 1


def _kept(run: str, arguments: argparse.Namespace) -> "tuple[Record, Path]":
    """The record that is meant, and the folder of those beside it; UserError if it is not one, or of no training."""
    path, (store, found) = Path(run), records_meant(arguments, run)
    if len(found) > 1:
        raise UserError(f"Add --seed: {run} has records of the seeds {', '.join(map(str, found))}.")
    (record,) = found.values()
    if record.origin != "trained":
        raise UserError(f"Give a record of a training: {record.file_name} has scores that were made elsewhere.")
    return record, path.resolve().parent if path.is_file() else store.records(record.profile)


def _plan_of(kept: "list[Record]", arguments: argparse.Namespace) -> "tuple[Plan, list[Evaluation]]":
    """The plan of the records' runs alone, in a store of its own, and their evaluations."""
    from ifrvis.harness.plan.planner import make_plan

    named = (run.rpartition("/")[0] for run in arguments.runs)  # tables of one's own
    tables = dict.fromkeys(["all", *(each for each in named if each.endswith((".yaml", ".yml")))])
    asked = {"tables": [*tables], "rows": None, "seeds": None, "results": arguments.into, "no_shipped_weights": False}
    given = vars(arguments) | asked | {"profile": arguments.profile or kept[0].profile}
    plan = make_plan(request_of(argparse.Namespace(**given))[0])
    evaluations = [_evaluation_of(record, plan) for record in kept]
    ids = {run.rpartition("/")[2] for run in arguments.runs}

    def later(row: "PlannedRow") -> tuple[bool, bool, bool]:
        name, table = row.row.id, row.table
        return f"{table.name}/{name}" not in arguments.runs, name not in ids, not table.place

    as_named_first = sorted(plan.rows, key=later)
    rows = [(next(row for row in as_named_first if each in row.evaluations.values()), each) for each in evaluations]
    for each in evaluations:
        each.training.evaluations = [other for other in evaluations if other.training is each.training]
    needed = [each.training for each in evaluations]
    needed = [each for each in plan.trainings if each in needed or each in [other.after for other in needed]]
    alone = [replace(row, evaluations={each.training.seed: each}) for row, each in rows]
    return type(plan)(plan.request, alone, needed), evaluations


def _evaluation_of(record: "Record", plan: "Plan") -> "Evaluation":
    """What a plan has of the run of a record; UserError if it has not."""
    from ifrvis.harness.spec.allowed import differing
    from ifrvis.options import leaves

    for each in plan.evaluations:
        if (each.training.name, each.training.sig, each.sig) == (record.name, record.train_sig, record.eval_sig):
            return each
    if plan.data_missing:
        raise DataMissingError("\n".join(plan.data_missing))
    assert record.spec is not None
    made = leaves(record.spec.train.model_dump())
    of_kind = (each for each in plan.trainings if (each.method, each.backbone) == (record.method, record.backbone))
    differ = (differing(leaves(each.spec.model_dump()), made) for each in of_kind)
    nearest = min(differ, key=len, default=["its method"])
    commit = record.provenance.code.commit or "that it was made with"
    raise UserError(
        "Name its row, if its table is your own (TABLE.yaml/ROW), give the --set, --dataset and --init of its run, if "
        f"it had any, or check out the commit {commit}: what {record.file_name} was made as differs from every row of "
        f"profile {plan.request.profile.name} in {', '.join(nearest) or 'how it is evaluated'}."
    )
