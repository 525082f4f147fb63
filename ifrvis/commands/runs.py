"""`ifrvis logs, cancel, retry`: what can be done about single runs."""

import argparse
from typing import TYPE_CHECKING, Any

from ifrvis.commands.selection import (
    add_command,
    number,
    request_of,
    root_arguments,
    run_arguments,
    run_meant,
    runs_meant,
    selection_arguments,
    show,
    whole,
)
from ifrvis.errors import UserError, nearest

if TYPE_CHECKING:
    from ifrvis.harness.store.paths import Run


def add_commands(commands: Any) -> None:
    """Add the commands about runs."""
    parser = add_command(commands, "logs", _logs, "print the log of a run's last attempt")
    parser.add_argument("run", help="a row (`row` or `table/row`), or the name of a run, its beginning or its folder")
    run_arguments(parser)
    parser.add_argument("-n", "--lines", type=whole(), default=50)
    parser.add_argument("-f", "--follow", action="store_true", help="go on as the log grows, until the run ends")
    root_arguments(parser)

    text = "stop runs at their next safe point; the next `ifrvis run` goes on from there"
    parser = add_command(commands, "cancel", _cancel, text)
    selection_arguments(parser, what="TABLE|ROW|RUN")
    run_arguments(parser, profile=False)
    parser.add_argument("--now", action="store_true", help="kill: what came after the last checkpoint is lost")
    text = "at most so many seconds (default: 120)"
    parser.add_argument("--wait", type=number(0, 86400), default=120.0, metavar="S", help=text)

    text = "let runs that failed start again with the next `ifrvis run`"
    parser = add_command(commands, "retry", _retry, text)
    selection_arguments(parser, what="TABLE|ROW|RUN")
    run_arguments(parser, profile=False)
    parser.add_argument("--kind", help="only what failed like this: error, input, memory or nan")


def _logs(arguments: argparse.Namespace) -> int:
    from ifrvis.harness.store.logs import log_lines

    run = run_meant(arguments, arguments.run)
    for line in log_lines(run, arguments.lines, follow=arguments.follow):
        show(line, flush=arguments.follow)
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
    from ifrvis.harness.store.recovery import ask_for_retry, kind_of, why_blocked
    from ifrvis.harness.store.states import FAULTS

    if arguments.kind not in (None, *FAULTS):
        came = f"got {arguments.kind!r}{nearest(arguments.kind, FAULTS)}"
        raise UserError(f"Give --kind one of {', '.join(FAULTS)}: {came}.")
    asked = 0
    for run in _runs_named(arguments):
        attempt = latest(run)
        if attempt is None or arguments.kind not in (None, kind_of(attempt)):
            continue
        why = why_blocked(run)
        if ask_for_retry(run):
            asked += 1
            show(f"{run.name} starts again with the next `ifrvis run`; it failed, {' '.join(why.split())}")
    show(f"{asked} to be tried again" if asked else "nothing of it waits for a retry")
    return 0


def _runs_named(arguments: argparse.Namespace) -> list["Run"]:
    """The runs that are meant, by tables, by rows or by their own names, each once.

    Raises:
        UserError: If a name is none of a table, of a row, or of a run that has begun.
    """
    from ifrvis.harness.plan.planner import make_plan
    from ifrvis.harness.store.paths import Store

    tables, found = _tables_of(arguments), []
    if tables and arguments.seed is not None:
        raise UserError(
            f"Name a row with --seed, or leave it out: {tables[0]} is a table, of which --seeds are the first."
        )
    for name in (each for each in arguments.tables if each not in tables):
        found += runs_meant(arguments, name)
    if tables:
        arguments.tables = tables
        trainings = make_plan(request_of(arguments)[0]).trainings
        found += [each.run(Store(arguments.results)) for each in trainings if each.sig is not None]
    return list({run.folder: run for run in found}.values())


def _tables_of(arguments: argparse.Namespace) -> list[str]:
    from ifrvis.packed import packed_names

    known = {"all", *packed_names("experiments", "tables")}
    return [name for name in arguments.tables if name in known or name.endswith((".yaml", ".yml"))]
