"""What commands that start runs have in common: where and how runs go on, and what is said of it."""

import argparse
import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifrvis.commands.data import make_split
from ifrvis.commands.selection import whole
from ifrvis.commands.terminal import say
from ifrvis.errors import DataMissingError, UserError

if TYPE_CHECKING:
    from rich.console import Console

    from ifrvis.harness.plan.plan import Plan


def launch_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where and how runs go on."""
    text = "GPUs of one run on this machine (default: 1), or processes where it has none"
    parser.add_argument("--gpus-per-run", type=whole(1, 1000), default=1, metavar="N", help=text)
    text = "data loading processes of each process of a run (default: 4 on a GPU, else 0); changes no number"
    parser.add_argument("--workers", type=whole(0, 1000), help=text)
    text = "clips of one forward pass, where memory is short; changes numbers by rounding alone"
    parser.add_argument("--micro-batch", type=whole(), metavar="N", help=text)
    text = "compute activations of the backbone again where memory is short: slower, changes no number"
    parser.add_argument("--checkpoint-backbone", action="store_true", help=text)
    parser.add_argument("--tensorboard", action="store_true", help="write scalars for TensorBoard beside each log")
    text = "submit to SLURM as this YAML file says (or a packed one by name), and return"
    parser.add_argument("--cluster", metavar="FILE", help=text)
    parser.add_argument("--wait", action="store_true", help="with --cluster: stay until all is done, then report")
    text = "with --cluster: write the scripts that would be submitted there, and submit nothing"
    parser.add_argument("--dump-scripts", type=Path, metavar="FOLDER", help=text)


def check_launch(arguments: argparse.Namespace) -> None:
    """Refuse options that do not go together; UserError if some do not."""
    if arguments.tensorboard and find_spec("tensorboard") is None:
        raise UserError("Install TensorBoard (`pip install tensorboard`), or leave out --tensorboard: it is not here.")
    if arguments.jobs is not None and arguments.cluster:
        raise UserError("Leave out --jobs: on a cluster the scheduler says how many runs go on at once.")
    if arguments.gpus_per_run > 1 and arguments.cluster:
        raise UserError("Leave out --gpus-per-run: 'gpus' of the cluster says it.")
    if arguments.dump_scripts and not arguments.cluster:
        raise UserError("Give --cluster FILE with --dump-scripts: without a cluster there are no scripts.")
    if arguments.wait and not arguments.cluster:
        raise UserError("Leave out --wait: without --cluster the command always stays.")


def launch(plan: "Plan", why: str, arguments: argparse.Namespace, console: "Console") -> tuple[bool, bool]:
    """Run what is missing of a plan, which has its profile for this reason, and say how it goes; whether all of it
    succeeded, and whether it has ended. With --cluster and without --wait it was submitted; with --dump-scripts nothing
    was.
    """
    from ifrvis.harness.jobs.cluster import load_cluster
    from ifrvis.harness.jobs.launch import check_precision, jobs_at_once, splits_to_make
    from ifrvis.harness.jobs.local import LocalQueue
    from ifrvis.harness.jobs.slurm import SlurmQueue
    from ifrvis.harness.jobs.view import failure_lines, live_view
    from ifrvis.harness.plan.cost import check_disk, check_links, measure_siblings
    from ifrvis.harness.plan.status import headline, kept_lines, plan_lines, waiting_lines
    from ifrvis.harness.store.lives import Handling
    from ifrvis.worker import run_attempt

    request = plan.request
    cluster = load_cluster(arguments.cluster) if arguments.cluster else None
    if cluster and request.profile.needs_gpu and not cluster.gpus:
        cure = f"Set 'gpus' of cluster {cluster.name}, or choose a --profile that needs none"
        raise UserError(f"{cure}: profile {request.profile.name} needs GPUs.")
    measure_siblings(plan)
    jobs = arguments.jobs or jobs_at_once(plan, gpus_per_run=arguments.gpus_per_run)
    say(console, headline(plan, why, jobs=jobs, cluster=cluster.name if cluster else ""))
    say(console, *kept_lines(plan), *plan_lines(plan))
    if plan.data_missing:
        raise DataMissingError("\n".join(plan.data_missing))
    check_disk(plan)
    if plan.to_run:
        check_links(request.store.root)
    if cluster is None:
        check_precision(plan)
    given = {name: getattr(arguments, name) for name in Handling.model_fields}
    how: Any = {"run_attempt": run_attempt, "handling": Handling(**given), "tell": lambda text: say(console, text)}
    if cluster and cluster.setup:
        say(console, f"each job first runs, as cluster {cluster.name} says:", *(f"  {line}" for line in cluster.setup))
    slurm = SlurmQueue(plan.to_run, request, cluster=cluster, **how) if cluster else None
    queue = slurm or LocalQueue(plan.to_run, request, jobs=jobs, gpus_per_run=arguments.gpus_per_run, **how)
    if slurm and arguments.dump_scripts:
        written = slurm.dump(arguments.dump_scripts)
        say(console, *(f"wrote {path}" for path in written))
        if arguments.json:
            print(json.dumps([str(path) for path in written], indent=1))
        return True, False
    for dataset, role in splits_to_make(plan):
        make_split(dataset, role, console)
    waiting = waiting_lines(plan)
    if slurm:
        say(console, *slurm.launch(leave=not arguments.wait))
    if cluster and not arguments.wait:
        say(console, *failure_lines(queue.items), *waiting, "the jobs need no launcher; `ifrvis status` shows them")
        if arguments.json:
            submitted = [{"name": each.training.name, "state": each.state} for each in queue.items]
            print(json.dumps(submitted, indent=1))
        return not waiting and all(item.state != "failed" for item in queue.items), False
    leaving = "Ctrl-C leaves this view and the jobs go on" if cluster else "Ctrl-C stops at the next safe point"
    with live_view(console, on_interrupt=leaving) as show:
        succeeded = queue.run(show)
    say(console, *failure_lines(queue.items), *waiting)
    return succeeded and not waiting, True
