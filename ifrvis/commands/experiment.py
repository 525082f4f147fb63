"""`ifrvis run, plan, status, report, bootstrap, rescore`."""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifrvis.commands.data import check_own, held_out_lines
from ifrvis.commands.launching import check_launch, launch, launch_arguments
from ifrvis.commands.selection import add_command, add_selection, number, request_of, whole
from ifrvis.commands.terminal import answer, console_for_tables, say, show
from ifrvis.errors import UserError, printable

if TYPE_CHECKING:
    from ifrvis.harness.plan.plan import Request


def add_commands(commands: Any) -> None:
    """Add the commands about tables."""
    parser = add_command(commands, "run", _run, "train and evaluate what is missing of some tables, then report")
    add_selection(parser)
    text = "runs at once on this machine (default: what its cores or GPUs carry)"
    parser.add_argument("--jobs", type=whole(1, 1000), help=text)
    launch_arguments(parser)

    parser = add_command(commands, "plan", _plan, "show what exists, what would run and what is missing")
    add_selection(parser)
    parser.add_argument("--power", action="store_true", help="say how many seeds the claims of each table need, too")
    text = "how much differences of single seeds vary, as printed (default: as the records say)"
    parser.add_argument("--std", type=number(1e-9, 1e9), help=text)
    parser = add_command(commands, "status", _status, "show the state of every row")
    add_selection(parser)
    parser.add_argument("--seeds-too", action="store_true", help="a line a seed, not one a row")
    text = "show it again every S seconds (default: 2) until nothing runs or is pending"
    parser.add_argument("--watch", type=number(0.01, 86400), nargs="?", const=2.0, metavar="S", help=text)

    text = "write tables and figures from records; of `all`, a page too"
    add_selection(add_command(commands, "report", _report, text))
    text = "make the intervals over videos that reports show of what claims compare, or of any two rows"
    add_selection(add_command(commands, "bootstrap", _bootstrap, text))
    text = "score kept predictions again, for metrics that came after their records"
    parser = add_command(commands, "rescore", _rescore, text, "--jobs")
    add_selection(parser)


def _plan(arguments: argparse.Namespace) -> int:
    from ifrvis.harness.jobs.launch import jobs_at_once, settled_plan
    from ifrvis.harness.plan.cost import measure_siblings
    from ifrvis.harness.plan.status import cost_lines, headline, meanings, plan_lines
    from ifrvis.harness.spec.tables import is_own

    if arguments.std is not None and not arguments.power:
        raise UserError("Add --power to --std, or leave both out.")
    request, why = request_of(arguments)
    plan = settled_plan(request, whole=False)
    if plan.to_run or arguments.json:
        measure_siblings(plan)
    content = plan.as_json()
    lines = [headline(plan, why, jobs=jobs_at_once(plan)), *plan_lines(plan), *cost_lines(plan), *meanings(plan)]
    dataset = plan.trainings[-1].dataset
    if is_own(request.dataset) and not (plan.data_missing or dataset.config.synthetic):
        lines += held_out_lines(dataset)
    if arguments.power:
        from ifrvis.analysis.power import HEAD, need_line, needs
        from ifrvis.reporting.match import make_reports

        for report in make_reports(request, plan.records.all_readable()):
            needed = content.setdefault("power", {})[report.table.name] = [*needs(report, arguments.std)]
            lines += [f"{report.table.name}: {HEAD}", *map(need_line, needed)]
    answer(arguments, content, lines)
    for missing in plan.data_missing:
        print(f"ifrvis: {printable(missing)}", file=sys.stderr)
    return 2 if plan.data_missing else 0


def _status(arguments: argparse.Namespace) -> int:
    from ifrvis.harness.jobs.launch import settled_plan
    from ifrvis.harness.plan.status import meanings, status_lines, status_rows
    from ifrvis.harness.store.states import LIVE

    if arguments.watch is not None and arguments.json:
        raise UserError("Leave out --watch or --json: JSON is printed once.")
    quiet = 0
    while True:
        request, why = request_of(arguments)
        request.store.check_there()
        plan = settled_plan(request, whole=False)
        lines = [f"Profile {request.profile.name} ({why}):", *meanings(plan)]
        lines += status_lines(plan, seeds_too=arguments.seeds_too)
        text = json.dumps(status_rows(plan), indent=1) if arguments.json else "\n".join(lines)
        cleared = "\x1b[H\x1b[2J" * (arguments.watch is not None and sys.stdout.isatty())
        print(cleared + printable(text), flush=True)
        quiet = 0 if any(training.state in LIVE for training in plan.trainings) else quiet + 1
        if arguments.watch is None or quiet == 2:  # a queue may be between two runs
            return 0
        time.sleep(min(arguments.watch, 2.0) if quiet else arguments.watch)


def _run(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from ifrvis.harness.jobs.launch import settled_plan
    from ifrvis.harness.plan.planner import make_plan
    from ifrvis.harness.plan.status import verdicts
    from ifrvis.harness.upkeep.footage import write_scenes

    console = Console(stderr=arguments.json)
    check_launch(arguments)
    request, why = request_of(arguments)
    plan = settled_plan(request)
    if arguments.annotations and plan.to_run:
        lines, sound = check_own(plan.to_run[-1].dataset)
        say(console, *lines)
        if not sound:
            raise UserError(f"Correct {arguments.annotations} or its frames first, as said above.")
    succeeded, ended = launch(plan, why, arguments, console)
    if not ended:
        return 0 if succeeded else 1
    plan = make_plan(request)
    write_scenes(plan)
    lines, learned = verdicts(plan)
    say(console, *lines)
    _write_reports(request, arguments)
    return 0 if succeeded and learned else 1


def _report(arguments: argparse.Namespace) -> int:
    _write_reports(request_of(arguments, of_kept=True)[0], arguments)
    return 0


def _write_reports(request: "Request", arguments: argparse.Namespace) -> None:
    """Write the reports of tables, from records alone, and show them; of `all`, the page too."""
    from ifrvis.harness.spec.tables import is_own
    from ifrvis.harness.store.playback import read_scenes
    from ifrvis.harness.store.records import Records
    from ifrvis.reporting.formats import terminal
    from ifrvis.reporting.match import make_reports
    from ifrvis.reporting.output import write_page, write_report
    from ifrvis.reporting.over_videos import read_kept

    store, profile = request.store, request.profile.name
    records, folder = Records(store.records(profile)), arguments.reports / profile
    reports = make_reports(request, records.all_readable(), read_kept(store.bootstrap(profile)))
    store.check_there()  # mistakes in what is asked come first
    written: list[Path] = []
    for report in reports:
        if not arguments.json:
            console_for_tables().print(terminal(report))
        written += write_report(report, folder)
    if "all" in arguments.tables or is_own(request.dataset):
        written += write_page(reports, read_scenes(store.scenes(profile)), folder)
    paths = [str(path) for path in dict.fromkeys(written)]
    if broken := records.broken:
        text = f"records that make no number, all of which `ifrvis verify` names: {len(broken)}, as this: {broken[0]}"
        say(console_for_tables(stderr=True), text)
    page = next((path for path in paths if path.endswith(".html")), "")
    every = " ".join(["all", *(each for each in arguments.tables if each.endswith((".yaml", ".yml")))])
    look = page or f"{paths[0]}; `ifrvis report {every}` makes the page, of every table"
    answer(arguments, paths, [f"wrote {len(paths)} files to {folder}; look at {look}"])


def _bootstrap(arguments: argparse.Namespace) -> int:
    from ifrvis.evaluation.scores import units_of
    from ifrvis.harness.store.records import Record, Records
    from ifrvis.reporting.match import make_reports
    from ifrvis.reporting.over_videos import Bootstrap, keep
    from ifrvis.reporting.style import interval_text

    request = request_of(arguments, of_kept=True)[0]
    store, records = request.store, Records(request.store.records(request.profile.name)).all_readable()
    wanted: dict[tuple[str, ...], list[list[Record]]] = {}
    for report in make_reports(request, records):
        wanted |= report.comparable
    bootstrap, made = Bootstrap(store), []
    for rows, behind in wanted.items():
        try:
            made.append(bootstrap(rows, behind))
        except UserError as error:
            print(f"ifrvis: left out {' minus '.join(rows)}: {printable(str(error))}", file=sys.stderr)
            continue
        shown = [name for name in made[-1].intervals if name in ("AP", "IDF1", "MOTA", "HOTA", "IDs")]
        texts = [f"{name} {interval_text(name, made[-1].intervals[name])}" for name in shown]
        if not arguments.json:
            show(f"{' minus '.join(rows)}: {', '.join(texts)}", flush=True)
    if not wanted:
        raise UserError("Run the rows first: no two that are compared have the records of all seeds.")
    path = keep(store, request.profile.name, made, records)
    content = [each.model_dump() | {"units": units_of(each.intervals)} for each in made]
    answer(arguments, content, [f"wrote {path}"])
    return 0 if len(made) == len(wanted) else 1


def _rescore(arguments: argparse.Namespace) -> int:
    from ifrvis.harness.plan.planner import make_plan
    from ifrvis.harness.upkeep.rescore import rescore

    found = list(rescore(make_plan(request_of(arguments)[0]), jobs=arguments.jobs))
    content = [{"name": name, "outcome": outcome} for name, outcome in found]
    answer(arguments, content, (f"{name} {outcome}" for name, outcome in found))
    return 0
