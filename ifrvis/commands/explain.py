"""`ifrvis explain`: why the number of a run is not its row's, or the paper's."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifrvis.commands.meaning import for_seed, records_meant, row_request, run_meant
from ifrvis.commands.selection import ROOTS, RUN, add_command, profile_of, refuse
from ifrvis.commands.terminal import console_for_tables
from ifrvis.errors import DataMissingError, UserError

if TYPE_CHECKING:
    from ifrvis.analysis.causes import Description
    from ifrvis.evaluation.symptoms import Symptom
    from ifrvis.harness.plan.plan import Evaluation, PlannedRow
    from ifrvis.harness.spec.profiles import Profile
    from ifrvis.harness.store.paths import Run
    from ifrvis.harness.store.records import Record


def add_commands(commands: Any) -> None:
    """Add `explain`."""
    text = "why a number is not the row's or the paper's: what differs, likeliest first, with effects where known"
    parser = add_command(commands, "explain", _explain, text, *RUN, "--json", *ROOTS)
    text = "a run's name, its beginning or folder, a record, or a row (`row` or `table/row`)"
    parser.add_argument("run", metavar="RUN", help=text)
    text = "what it should be (default: of its method and backbone the row that it differs least from)"
    parser.add_argument("--row", metavar="TABLE/ROW", help=text)
    parser.add_argument("--checkpoint", type=Path, metavar="PTH", help="look at this one (default: the run's last)")
    text = "look at this results file, or predictions of a run (default: the record's)"
    parser.add_argument("--pred", "--predictions", type=Path, metavar="JSON", help=text)
    parser.add_argument("--gt", type=Path, help="ground truth of that file (default: the row's, where it is here)")


def _explain(arguments: argparse.Namespace) -> int:
    from ifrvis.analysis.causes import FIELDS, causes, differences, harmless, tables_of
    from ifrvis.harness.store.provenance import hardware, pinned_versions
    from ifrvis.reporting.formats import tables_terminal

    run, records = _meant(arguments)
    record, planned, profile = _nearest(records, arguments)
    evaluation = planned.evaluations.get(record.seed if record else -1, next(iter(planned.evaluations.values())))
    row, paper, name = _of_plan(evaluation), _of_paper(planned, arguments), f"{planned.table.name}/{planned.row.id}"
    symptoms, looked = _symptoms(run, record, evaluation, arguments)
    ranked = causes(record, row, paper, pinned_versions(), symptoms)
    nearest = "" if arguments.row else " (the nearest of its method and backbone; --row names another)"
    said = [f"{record.file_name if record else arguments.run}, beside {name} of profile {profile.name}{nearest}"]
    said += [*_numbers(record, planned, profile), f"Looked at: {', '.join(looked)}."]
    if own := {**planned.row.set, **planned.row.inference}:
        said.append(f"The row sets, on top of the official recipe: {', '.join(f'{key} {own[key]}' for key in own)}.")
    if not ranked:
        said += ["Nothing that decides a number differs from the row's: what is left is chance, of seed and machine."]
    content = {"run": arguments.run, "row": name, "profile": profile.name, "said": said}
    content["causes"] = [{"rank": rank, **dict(zip(FIELDS, each))} for rank, each in enumerate(ranked, start=1)]
    known = harmless(record, row, planned.table.seeds, hardware().processor) if record else []
    content["does_not_matter"] = known + _handling(run)
    scale = differences(row, paper, {}) if paper else []
    content["row_is_not_the_papers"] = [{"what": each.what, "row": each.yours, "paper": each.row} for each in scale]
    if arguments.json:
        print(json.dumps(content, indent=1))
    else:
        console_for_tables().print(tables_terminal(said, tables_of(content)))
    return 0


def _meant(arguments: argparse.Namespace) -> "tuple[Run | None, list[Record]]":
    """The run that RUN means, and its records; of a row without a run, whose files are given to look at, neither."""
    from ifrvis.harness.spec.tables import rows_named
    from ifrvis.harness.store.paths import Store
    from ifrvis.harness.store.records import records_of
    from ifrvis.reporting.match import reports_in

    name, path, store, seed = arguments.run, Path(arguments.run), Store(arguments.results), ""
    if rows := rows_named(name):
        arguments.row = arguments.row or name
        reports = reports_in(store, row_request(arguments, name))
        found = sorted((each for report in reports for each in report.records), key=lambda record: record.seed)
        records = [each for each in found if arguments.seed in (None, each.seed)][:1]
        seed = for_seed(arguments, (each.seed for each in found))
    elif path.is_file():
        store, of_seed = records_meant(arguments, name)
        records = [*of_seed.values()]
    else:
        run = run_meant(arguments, name)
        records, store = records_of(run), run.store
    if not (records or (rows and (arguments.checkpoint or arguments.pred))):
        cure = "Run it to its end, or name a row and, with --checkpoint or --pred, a file to look at"
        raise UserError(f"{cure}: there is no record of {name}{seed} in {arguments.results}.")
    return store.run(records[0].name, records[0].train_sig) if records else None, records


def _nearest(records: "list[Record]", arguments: argparse.Namespace) -> "tuple[Record | None, PlannedRow, Profile]":
    """The record and the row that differ least, and the profile; UserError if there is no row."""
    from ifrvis.analysis.causes import differences, of_record
    from ifrvis.datasets.catalog import WHOLE
    from ifrvis.harness.plan.planner import make_plan
    from ifrvis.harness.spec.profiles import load_profile
    from ifrvis.harness.spec.tables import load_tables

    arguments.profile = arguments.profile or (records[0].profile if records else profile_of(arguments)[0].name)
    wanted = arguments.row
    if not wanted:
        tables, alike = load_tables(["all"], load_profile(arguments.profile)), {(r.method, r.backbone) for r in records}
        rows = [row for table in tables for row in table.rows if row.is_run and (row.method, row.backbone) in alike]
        wanted = ",".join(dict.fromkeys(row.id for row in rows))
    if not wanted:
        raise UserError(f"Say with --row what {arguments.run} should be: no row has its method and backbone.")
    pairs, plan = [], make_plan(row_request(arguments, wanted))
    for planned in plan.rows:
        row, named = _of_plan(next(iter(planned.evaluations.values()))), planned.row
        own = len(named.set) + len(named.inference) + (named.part != WHOLE)
        for record in (*records, *[None] * (not records)):
            differs = len(differences(of_record(record, row), row, {})) if record else 0
            # What was changed on purpose, and not the set, may be as another row has it, and was not meant so.
            changed = record and record.off_spec and (record.dataset == row["dataset"] or not named.published)
            meant_otherwise = bool(changed) and not differs and own > 0
            pairs.append(((meant_otherwise, differs, own, not named.published), record, planned))
    _, record, nearest = min(pairs, key=lambda pair: pair[0])
    return record, nearest, plan.request.profile


def _of_plan(evaluation: "Evaluation") -> "Description":
    from ifrvis.analysis.causes import described
    from ifrvis.harness.spec.signatures import SCORING_VERSION

    training, split = evaluation.training, evaluation.split
    said: dict[str, Any] = {"method": training.method, "backbone": training.backbone, "dataset": split.dataset}
    said |= {"inference": evaluation.inference, "protocol": evaluation.protocol, "role": split.role}
    said |= {"part": split.part.model_dump(), "evaluation": split.fingerprint, "scoring": SCORING_VERSION}
    return described(training.spec, training.init_name, **said)


def _of_paper(planned: "PlannedRow", arguments: argparse.Namespace) -> "Description":
    """The same row under profile `paper`; empty where its table is for another profile alone."""
    from ifrvis.harness.plan.planner import make_plan

    at_full_size = argparse.Namespace(**vars(arguments) | {"profile": "paper"})
    table = (arguments.row or "").rpartition("/")[0] or planned.table.name
    try:
        plan = make_plan(row_request(at_full_size, f"{table}/{planned.row.id}"))
    except UserError:
        return {}
    return _of_plan(next(iter(plan.rows[0].evaluations.values())))


def _handling(run: "Run | None") -> list[str]:
    """How the last attempt went about a run, in words, where that is not as always."""
    from ifrvis.harness.store.attempts import latest
    from ifrvis.harness.store.lives import PLAIN

    attempt = latest(run) if run else None
    how = attempt.submission().model_dump(include=set(type(PLAIN).model_fields)) if attempt else {}
    return [f"{name.replace('_', ' ')} {how[name]}" for name in how if how[name] != getattr(PLAIN, name)]


def _symptoms(
    run: "Run | None", record: "Record | None", evaluation: "Evaluation", arguments: argparse.Namespace
) -> "tuple[list[Symptom], list[str]]":
    """What checkpoint and results show, and what was looked at."""
    from ifrvis.datasets.ytvis import read_annotations
    from ifrvis.evaluation.symptoms import results_symptoms

    symptoms, looked = _of_checkpoint(run, evaluation, arguments)
    path, looked = arguments.pred, ["the record"] * (record is not None) + looked
    if path is None and run and record:
        kept = record.predictions(run.store)
        path = kept if kept.is_file() else None
    if path is None:
        refuse(arguments, "there are no predictions here to hold against it, and no --pred", "--gt")
        return symptoms, looked
    same = record is None or record.data.evaluation == evaluation.split.fingerprint
    try:
        truth = read_annotations(arguments.gt) if arguments.gt else evaluation.split.read() if same else None
    except DataMissingError:
        truth = None
    symptoms += results_symptoms(path, truth, topk=(record or evaluation).inference.get("topk"))
    return symptoms, [*looked, path.name, "its ground truth" if truth else "no ground truth (--gt)"]


def _of_checkpoint(
    run: "Run | None", evaluation: "Evaluation", arguments: argparse.Namespace
) -> "tuple[list[Symptom], list[str]]":
    """What the checkpoint that is given, or the last of a run, shows, and its name; nothing where there is none."""
    from ifrvis.harness.spec.allowed import check_training, register_types
    from ifrvis.harness.store.attempts import checkpoint_folders, latest
    from ifrvis.harness.store.paths import Store

    path: Path | None = arguments.checkpoint
    folders = checkpoint_folders(run) if run else []
    if not (path or folders):
        return [], []
    from ifrvis.training.checkpoints import newest_valid  # torch, for which most runs that are kept have no use
    from ifrvis.training.examine import checkpoint_symptoms

    if path is None and run and (last := newest_valid(folders, train_sig=run.train_sig)):
        path = last.path
    if path is None:
        return [], []
    attempt = latest(run) if run else None
    init = attempt.submission().init if attempt else evaluation.training.initial_weights(Store(arguments.results))
    start = Path(init) if init and Path(init).is_file() else None
    train = run.read_spec().train if attempt and run else evaluation.training.spec
    check_training(train.model_dump(), str(path))
    register_types(train.model)
    found = checkpoint_symptoms(path, train.model, seed=train.seed, start=start, iterations=train.iterations)
    return found, [path.name]


def _numbers(record: "Record | None", planned: "PlannedRow", profile: "Profile") -> list[str]:
    """The number itself, the row's and, unless numbers of the profile mean nothing, the paper's."""
    from ifrvis.reporting.style import measured_text, published_text

    table, metric = planned.table, planned.table.metrics[0]
    mine, published = record.shown.get(metric) if record else None, planned.row.published.get(metric)
    if mine is None:
        return []
    of_row = {seed: each.record.shown.get(metric) for seed, each in planned.evaluations.items() if each.record}
    known = {seed: value for seed, value in of_row.items() if value is not None}
    text = f"{metric}: yours {measured_text(metric, mine, None)}"
    if known:
        mean = measured_text(metric, sum(known.values()) / len(known), None)
        text += f", the row's {mean} (seed{'s' * (len(known) > 1)} {', '.join(map(str, known))})"
    if published and profile.numbers == "measured":
        elsewhere = f", protocol {table.paper.protocol}: other videos" * (table.paper.protocol != table.protocol)
        text += f", the paper's {published_text(metric, *published)}{elsewhere}"
    return [text]
