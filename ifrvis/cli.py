"""The commands of `ifrvis`. Heavy things are imported inside the command that needs them.

Exit status: 0 done, 1 a run failed, 2 the user's mistake, 130 interrupted.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifrvis.errors import DataMissingError, UserError

if TYPE_CHECKING:
    from ifrvis.harness.compose import Profile
    from ifrvis.harness.plan import Plan, Request

__all__ = ["main"]

Command = Callable[[argparse.Namespace], int]


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parsed = _parser().parse_args(arguments)
    try:
        command: Command = parsed.command
        return command(parsed)
    except UserError as error:
        print(f"ifrvis: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ifrvis: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("ifrvis", description="Reproduce the tables of the IFR paper, row by row.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add(commands, "run", _run, "train and evaluate what is missing of some tables, then report", _run_arguments)
    _add(commands, "plan", _plan, "show what exists, what would run and what is missing", _selection_arguments)
    _add(commands, "status", _status, "show the state of every row and seed", _selection_arguments)
    _add(commands, "report", _report, "write tables from the records that exist", _selection_arguments)
    _add(commands, "logs", _logs, "print the log of a run's last attempt", _logs_arguments)
    evaluate = commands.add_parser("evaluate", help="score a results file").add_subparsers(
        required=True, metavar="METRIC"
    )
    _add(evaluate, "ap", _evaluate_ap, "AP and AR as the official YouTube-VIS evaluator computes them", _ap_arguments)
    data = commands.add_parser("data", help="make and look at data").add_subparsers(required=True, metavar="ACTION")
    _add(data, "make-mini", _make_mini, "make a synthetic set", _make_mini_arguments)
    return parser


def _add(commands: Any, name: str, command: Command, text: str, arguments: Callable[[Any], None]) -> None:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    arguments(parser)
    parser.set_defaults(command=command)


def _selection_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tables", nargs="+", metavar="TABLE", help="table1, figure4, ..., `all`, or a YAML file")
    parser.add_argument("--profile", help="paper, mini, smoke, or a YAML file")
    parser.add_argument("--rows", help="row ids, with commas between them")
    parser.add_argument("--seeds", type=int, help="the first N declared seeds (default: all)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe (off-spec)")
    parser.add_argument("--dataset", help="another dataset for every row (off-spec)")
    parser.add_argument("--init", type=Path, help="other initial weights for every row (off-spec)")
    parser.add_argument("--no-shipped-weights", action="store_true", help="make pretrained weights that are shipped")
    _root_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON alone on standard output")


def _root_arguments(parser: argparse.ArgumentParser) -> None:
    root = os.environ.get
    parser.add_argument("--data-root", type=Path, default=Path(root("IFRVIS_DATA", "data")), help="default: ./data")
    parser.add_argument(
        "--results", type=Path, default=Path(root("IFRVIS_RESULTS", "results")), help="default: ./results"
    )
    parser.add_argument("--reports", type=Path, default=Path("reports"), help="default: ./reports")


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    _selection_arguments(parser)
    parser.add_argument("--jobs", type=int, help="runs at once on this machine (default: what its cores or GPUs carry)")
    parser.add_argument("--workers", type=int, default=0, help="data loading processes a run; changes no number")


def _logs_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="the name of a run, or the beginning of it")
    parser.add_argument("-n", "--lines", type=int, default=50)
    _root_arguments(parser)


def _ap_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--gt", type=Path, required=True, help="ground truth, YouTube-VIS JSON")
    parser.add_argument("--pred", type=Path, required=True, help="results.json, or predictions.json.gz of a run")
    parser.add_argument("--official-quirks", action="store_true", help="do what the official code does on odd input")
    parser.add_argument("--json", action="store_true")


def _make_mini_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sets", nargs="+", metavar="SET", help="mini19, mini21, smoke19, smoke21, or a YAML file")
    parser.add_argument("--contact-sheet", type=Path, metavar="PNG", help="draw some of the held-out videos")
    _root_arguments(parser)


def _request(arguments: argparse.Namespace) -> tuple["Request", str]:
    """What is asked for, and why in this profile."""
    from ifrvis.harness.compose import parse_override
    from ifrvis.harness.plan import Request
    from ifrvis.harness.runs import Results
    from ifrvis.harness.tables import load_tables

    profile, why = _profile(arguments)
    request = Request(
        tables=tuple(load_tables(arguments.tables)),
        profile=profile,
        data_root=arguments.data_root,
        results=Results(arguments.results),
        rows=tuple(arguments.rows.split(",")) if arguments.rows else None,
        num_seeds=arguments.seeds,
        overrides=dict(parse_override(text) for text in arguments.set),
        dataset=arguments.dataset,
        init=arguments.init,
        no_shipped_weights=arguments.no_shipped_weights,
    )
    return request, why


def _profile(arguments: argparse.Namespace) -> tuple["Profile", str]:
    """The profile asked for; else `paper` where its data and a GPU are, else `mini`."""
    from ifrvis.datasets.catalog import load_dataset
    from ifrvis.harness.compose import load_profile
    from ifrvis.harness.machine import gpus

    if arguments.profile:
        return load_profile(arguments.profile), "as asked"
    if not gpus():
        return load_profile("mini"), "no GPU here"
    paper = load_profile("paper")
    for name in sorted(set(paper.datasets.values())):
        missing = load_dataset(name, arguments.data_root).split("train").missing
        if missing:
            return load_profile("mini"), f"the data of profile paper are not all here: {missing}"
    return paper, "its data and a GPU are here"


def _headline(plan: "Plan", why: str, jobs: int) -> str:
    from ifrvis.harness.live import duration

    profile, to_run = plan.request.profile, plan.to_run
    line = f"Profile {profile.name} ({why}): {len(plan.trainings)} trainings, {len(to_run)} to run"
    if to_run and plan.est_hours is not None:
        rounds = max(1, -(-len(to_run) // jobs)) / len(to_run)
        line += f", about {duration(plan.est_hours * rounds * 3600)} with {jobs} at once (an estimate)"
    return line + (". Off-spec: not the tables' own runs." if plan.request.off_spec else ".")


def _plan(arguments: argparse.Namespace) -> int:
    from ifrvis.harness.machine import default_jobs
    from ifrvis.harness.planner import make_plan
    from ifrvis.harness.status import plan_lines

    request, why = _request(arguments)
    plan = make_plan(request)
    if arguments.json:
        print(json.dumps(plan.as_json(), indent=1))
    else:
        print("\n".join([_headline(plan, why, default_jobs(1)), *plan_lines(plan)]))
    for missing in plan.data_missing:
        print(f"ifrvis: {missing}", file=sys.stderr)
    return 2 if plan.data_missing else 0


def _status(arguments: argparse.Namespace) -> int:
    from ifrvis.harness.planner import make_plan
    from ifrvis.harness.status import status_lines, status_rows

    plan = make_plan(_request(arguments)[0])
    print(json.dumps(status_rows(plan), indent=1) if arguments.json else "\n".join(status_lines(plan)))
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from ifrvis.harness.live import LiveView
    from ifrvis.harness.local import LocalQueue
    from ifrvis.harness.machine import default_jobs
    from ifrvis.harness.planner import make_plan
    from ifrvis.harness.status import plan_lines
    from ifrvis.worker import run_attempt

    console = Console(stderr=arguments.json)
    request, why = _request(arguments)
    plan = make_plan(request)
    jobs = arguments.jobs or default_jobs(max((int(each.spec["threads"]) for each in plan.to_run), default=1))
    console.print("\n".join([_headline(plan, why, jobs), *plan_lines(plan)]), highlight=False, soft_wrap=True)
    if plan.data_missing:
        raise DataMissingError("\n".join(plan.data_missing))
    if jobs < 1 or arguments.workers < 0:
        raise UserError("Give --jobs 1 or more and --workers 0 or more.")
    _make_data(plan, console)
    queue = LocalQueue(plan.to_run, request, jobs=jobs, run_attempt=run_attempt, workers=arguments.workers)
    with LiveView(console) as view:
        succeeded = queue.run(view.update)
    for item in queue.items:
        if item.state == "failed" and item.attempt:
            console.print(
                f"{item.training.name} failed: {item.message}\n  see {item.attempt.log}",
                highlight=False,
                soft_wrap=True,
            )
    _write_reports(make_plan(request), arguments)
    return 0 if succeeded else 1


def _make_data(plan: "Plan", console: Any) -> None:
    """Make the synthetic splits that the plan needs and that are not there."""
    needed = {(t.dataset.name, t.split.role): t.dataset for t in plan.to_run}
    needed.update(
        {(e.training.dataset.name, e.split.role): e.training.dataset for t in plan.to_run for e in t.evaluations}
    )
    for (_, role), dataset in needed.items():
        if dataset.split(role).makeable:
            _make_split(dataset, role, console)


def _make_split(dataset: Any, role: Any, console: Any) -> None:
    from rich.progress import Progress

    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"making {dataset.name} {role}", total=None)
        dataset.make(role, lambda done, total: bar.update(task, completed=done, total=total))
    console.print(f"made {dataset.split(role).annotation}", highlight=False, soft_wrap=True)


def _report(arguments: argparse.Namespace) -> int:
    from ifrvis.harness.planner import make_plan

    _write_reports(make_plan(_request(arguments)[0]), arguments)
    return 0


def _write_reports(plan: "Plan", arguments: argparse.Namespace) -> None:
    from ifrvis.reporting.frame import table_states
    from ifrvis.reporting.report import write_report
    from ifrvis.reporting.tables import render_terminal

    written: list[Path] = []
    for state in table_states(plan):
        if not arguments.json:
            print(render_terminal(state))
        written += write_report(state, arguments.reports / state.profile)
    paths = [str(path) for path in dict.fromkeys(written)]
    print(json.dumps(paths) if arguments.json else "\n".join(f"wrote {path}" for path in paths))


def _logs(arguments: argparse.Namespace) -> int:
    from ifrvis.harness.status import log_of

    print("\n".join(log_of(arguments.results, arguments.run, arguments.lines)))
    return 0


def _evaluate_ap(arguments: argparse.Namespace) -> int:
    from ifrvis.datasets.ytvis import read_annotations
    from ifrvis.evaluation.ap import average_precision
    from ifrvis.evaluation.predictions import read_predictions, read_results, results_of

    annotations = read_annotations(arguments.gt)
    if arguments.pred.suffix == ".gz":
        results = results_of(read_predictions(arguments.pred, annotations))
    else:
        results = read_results(arguments.pred, annotations, official_quirks=arguments.official_quirks)
    scores = average_precision(annotations, results, official_quirks=arguments.official_quirks)
    if arguments.json:
        print(json.dumps(scores, indent=1))
    else:
        shown = {name: value for name, value in scores.items() if value is None or isinstance(value, float)}
        print("\n".join(f"{name:6} {'-' if value is None else f'{100 * value:.2f}'}" for name, value in shown.items()))
    return 0


def _make_mini(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from ifrvis.datasets.catalog import load_dataset

    console = Console()
    for name in arguments.sets:
        dataset = load_dataset(name, arguments.data_root)
        if dataset.config.synthetic is None:
            raise UserError(f"Choose a synthetic set: {name} is made of files that nobody can make here.")
        for role in ("train", "heldout"):
            _make_split(dataset, role, console)
        if arguments.contact_sheet:
            from ifrvis.datasets.contact_sheet import contact_sheet

            split = dataset.split("heldout")
            contact_sheet(split.annotation, split.frames, arguments.contact_sheet)
            console.print(f"drew {arguments.contact_sheet}", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
