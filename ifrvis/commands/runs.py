"""`ifrvis logs, show, cancel, retry`: what can be known of single rows and runs, and done about them."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from ifrvis.commands.meaning import lacking, row_request, run_meant, runs_meant
from ifrvis.commands.selection import CHANGES, ROOTS, RUN, add_command, add_selection, number, refuse, request_of, whole
from ifrvis.commands.terminal import answer, show
from ifrvis.errors import UserError, nearest

if TYPE_CHECKING:
    from ifrvis.harness.store.paths import Run


def add_commands(commands: Any) -> None:
    """Add the commands about runs."""
    parser = add_command(commands, "logs", _logs, "print the log of a run's last attempt", *RUN, *ROOTS)
    parser.add_argument("run", help="a row (`row` or `table/row`), or the name of a run, its beginning or its folder")
    parser.add_argument("-n", "--lines", type=whole(), default=50, help="the last so many (default: 50)")
    parser.add_argument("-f", "--follow", action="store_true", help="go on as the log grows, until the run ends")

    text = "print a row's whole recipe, and where each value comes from; or what a run has trained"
    parser = add_command(commands, "show", _show, text, *RUN, *CHANGES, "--json", *ROOTS)
    parser.add_argument("row", metavar="ROW|RUN", help="`row` or `table/row`; or a run's name, its beginning or folder")

    text = "stop runs at their next safe point; the next `ifrvis run` goes on from there"
    parser = add_command(commands, "cancel", _cancel, text, "--seed")
    add_selection(parser, what="TABLE|ROW|RUN")
    parser.add_argument("--now", action="store_true", help="kill: what came after the last checkpoint is lost")
    text = "at most so many seconds (default: 120)"
    parser.add_argument("--wait", type=number(0, 86400), default=120.0, metavar="S", help=text)

    text = "let runs that failed start again with the next `ifrvis run`"
    parser = add_command(commands, "retry", _retry, text, "--seed")
    add_selection(parser, what="TABLE|ROW|RUN")
    parser.add_argument("--kind", help="only what failed like this: error, input, memory or nan")


def _logs(arguments: argparse.Namespace) -> int:
    from ifrvis.harness.store.attempts import latest
    from ifrvis.harness.store.logs import log_lines

    run = run_meant(arguments, arguments.run)
    if latest(run) is None:
        raise lacking(arguments, arguments.run, run, "log")
    for line in log_lines(run, arguments.lines, follow=arguments.follow):
        show(line, flush=arguments.follow)
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from ifrvis.datasets.catalog import load_dataset
    from ifrvis.harness.spec.compose import sources
    from ifrvis.harness.spec.tables import rows_named
    from ifrvis.harness.store.records import records_of
    from ifrvis.options import leaves

    rows, recipe, by = rows_named(arguments.row), dict[str, Any](), dict[str, str]()
    if not rows or arguments.seed is not None:
        run = run_meant(arguments, arguments.row)
        if not rows:
            refuse(arguments, "a run is shown as it was trained", *CHANGES)
        spec = run.read_spec() if run.spec.is_file() else records_of(run)[0].spec
        said = {"run": run.folder.name, "train_sig": run.train_sig}
        recipe = leaves(spec.train.model_dump()) if spec else {}
    elif (row := rows[0][1]).is_run:
        request = row_request(arguments, arguments.row)
        specified = request.specify(row, lambda name: load_dataset(name, request.data_root))
        by = sources(row, request.profile, request.overrides)
        by["model.track_head.num_classes"] = f"data set {specified.dataset.name}"
        recipe = leaves({key: getattr(specified.composed, key) for key in ("model", "train", "inference")})
        said = {"row": row.id, "tables": ", ".join(table.name for table, _ in rows), "profile": request.profile.name}
        said |= {"dataset": specified.dataset.name, "method": row.method, "backbone": row.backbone}
        said |= {"off_spec": request.changes} if specified.off_spec else {}
    else:
        said = row.model_dump(mode="json", exclude_defaults=True)
    values = {key: {"value": value, "from": by.get(key, "")} for key, value in recipe.items()}
    lines = [f"{key}: {value if isinstance(value, str) else json.dumps(value)}" for key, value in said.items()]
    lines += [f"{key:46} {json.dumps(value):26} {by.get(key, '')}".rstrip() for key, value in recipe.items()]
    answer(arguments, {**said, "recipe": values}, lines)
    return 0


def _cancel(arguments: argparse.Namespace) -> int:
    from ifrvis.harness.jobs.cancel import cancel, cancel_waiting, leave_queues
    from ifrvis.harness.plan.planner import make_plan
    from ifrvis.harness.store.attempts import latest

    runs, tables = _runs_named(arguments), _tables_of(arguments)
    newest = [each for each in map(latest, runs) if each is not None]
    alive = any(each.is_alive() for each in newest)
    left = leave_queues(newest)
    for attempt in left:
        show(f"{attempt.run.name} left the queue of the cluster")
    if tables and alive:
        plan = make_plan(request_of(arguments)[0])
        cancel_waiting([each for each in plan.to_run if each.state != "running"], plan.request)
    stopped = cancel(runs, now=arguments.now, patience_s=arguments.wait, say=lambda line: show(line, flush=True))
    if not (alive or left):
        show("nothing of it runs")
    return 0 if stopped else 1


def _retry(arguments: argparse.Namespace) -> int:
    from ifrvis.harness.store.attempts import latest
    from ifrvis.harness.store.recovery import ask_for_retry, kind_of
    from ifrvis.harness.store.states import FAULTS

    if arguments.kind not in (None, *FAULTS):
        came = f"got {arguments.kind!r}{nearest(arguments.kind, FAULTS)}"
        raise UserError(f"Give --kind one of {', '.join(FAULTS)}: {came}.")
    asked = 0
    for run in _runs_named(arguments):
        attempt = latest(run)
        if attempt is None or arguments.kind not in (None, kind_of(attempt)):
            continue
        if why := ask_for_retry(run):
            asked += 1
            show(f"{run.name} starts again with the next `ifrvis run`; it failed, {' '.join(why.split())}")
    show(f"{asked} to be tried again" if asked else "nothing of it waits for a retry")
    return 0


def _runs_named(arguments: argparse.Namespace) -> list["Run"]:
    """The runs that are meant, by tables, rows or their own names, each once; UserError if a name means none."""
    from ifrvis.harness.plan.planner import make_plan

    tables, found = _tables_of(arguments), []
    if tables and arguments.seed is not None:
        why = f"{tables[0]} is a table, of which --seeds are the first"
        raise UserError(f"Name a row with --seed, or leave it out: {why}.")
    if names := [each for each in arguments.tables if each not in tables]:
        refuse(arguments, f"{names[0]} is no table; --seed says which run of a row is meant", "--rows", "--seeds")
    for name in names:
        found += runs_meant(arguments, name)
    if tables:
        arguments.tables = tables
        plan = make_plan(request_of(arguments)[0], whole=False)
        found += [each.run(plan.request.store) for each in plan.trainings if each.sig is not None]
    return list({run.folder: run for run in found}.values())


def _tables_of(arguments: argparse.Namespace) -> list[str]:
    from ifrvis.packed import packed_names

    known = {"all", *packed_names("experiments", "tables")}
    return [name for name in arguments.tables if name in known or name.endswith((".yaml", ".yml"))]
