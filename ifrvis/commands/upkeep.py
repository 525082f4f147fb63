"""`ifrvis verify, prune, doctor, publish`: the state of what is kept, and of the machine; a copy of it for others."""

import argparse
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifrvis.commands.meaning import runs_meant
from ifrvis.commands.selection import ROOTS, RUN, add_command, add_selection, number, refuse, request_of, typed_again
from ifrvis.commands.terminal import answer, console_for_tables, progress, say, show
from ifrvis.errors import UserError, nearest
from ifrvis.files import seen_in

if TYPE_CHECKING:
    from ifrvis.harness.plan.plan import Plan
    from ifrvis.harness.store.finding import Finding
    from ifrvis.harness.store.paths import Store
    from ifrvis.harness.upkeep.doctor import Check


def add_commands(commands: Any) -> None:
    """Add the commands about what is kept and about the machine."""
    text = "check every record, the files kept behind it, its scores and the reports"
    parser = add_command(commands, "verify", _verify, text, "--jobs", "--json", *ROOTS)
    parser.add_argument("--profile", help="records, runs and reports of this profile alone (default: all)")
    parser.add_argument("--all", action="store_true", help="list every file, not only what is wrong")

    text = "show, or remove, checkpoints and predictions that no record or pending row needs"
    parser = add_command(commands, "prune", _prune, text, *RUN, *ROOTS)
    text = "of these alone (rows, names, their beginnings or folders), known to a packed table or not, complete or not"
    parser.add_argument("runs", nargs="*", metavar="RUN", help=text)
    parser.add_argument("--yes", action="store_true", help="remove them; without it they are only listed")

    text = "write records, reports, specifications and environment to a folder for others, with a checklist (RO-Crate)"
    parser = add_command(commands, "publish", _publish, text, *ROOTS)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a new folder, or an empty one")
    text = "one of experiments/profiles, or a YAML file; may be repeated (default: that which has reports, never smoke)"
    parser.add_argument("--profile", action="append", help=text)
    text = "with what is of this data set of your own, or of off-spec runs on this one; may be repeated"
    parser.add_argument("--dataset", action="append", default=[], metavar="NAME", help=text)
    parser.add_argument("--predictions", action="store_true", help="with what the runs predicted, as far as it is kept")

    text = "say whether this machine can run what is planned, and what to do where not"
    parser = add_command(commands, "doctor", _doctor, text)
    add_selection(parser, nargs="*")
    parser.add_argument("--cluster", metavar="FILE", help="look at this cluster instead, also with one tiny job there")
    text = "for that job, at most (default: 300)"
    parser.add_argument("--wait", type=number(0, 86400), default=300.0, metavar="S", help=text)


def _verify(arguments: argparse.Namespace) -> int:
    from ifrvis.harness.store.finding import MEANING
    from ifrvis.harness.store.paths import Store
    from ifrvis.harness.upkeep.verify import verify_records, verify_runs
    from ifrvis.reporting.audit import verify_reports
    from ifrvis.reporting.crate import verify_described
    from ifrvis.reporting.over_videos import verify_kept

    store = Store(arguments.results)
    store.check_there()
    profiles = _profiles(arguments, store)
    of_records = verify_records(store, arguments.data_root, profiles=profiles, jobs=arguments.jobs)
    found = [*_at_work("verifying records", of_records, store, profiles)]
    found += [*verify_runs(store, profile=arguments.profile), *verify_described(store.root.parent)]
    for profile in profiles:
        found += [*verify_kept(store, profile), *verify_reports(arguments.reports / profile, store)]
    counts = {outcome: sum(each.outcome == outcome for each in found) for outcome in MEANING}
    findings = [{**vars(each), "path": str(each.path)} for each in found]
    listed = [each for each in found if arguments.all or each.outcome == "wrong"]
    lines = [f"{each.outcome:11} {each.path}" + f" ({each.why})" * bool(each.why) for each in listed]
    lines += [f"{name}: {MEANING[name]}" for name, number in counts.items() if number and not arguments.all]
    lines.append(", ".join(f"{number} {outcome}" for outcome, number in counts.items()))
    answer(arguments, {"counts": counts, "findings": findings}, lines)
    return 1 if counts["wrong"] else 0


def _at_work(text: str, found: "Iterable[Finding]", store: "Store", profiles: list[str]) -> "Iterator[Finding]":
    """What is found of records, with a bar over these."""
    paths = {path for profile in profiles for path in seen_in(store.records(profile), ".json")}
    seen = set[Path]()
    with progress(text) as on_record:
        for each in found:
            seen |= {each.path} & paths
            on_record(len(seen), len(paths))
            yield each


def _profiles(arguments: argparse.Namespace, store: "Store") -> list[str]:
    """The profiles that have records or reports; of them the one asked for."""
    known = sorted({*store.profiles(), *(path.parent.name for path in arguments.reports.glob("*/manifest.json"))})
    if arguments.profile is None:
        return known
    if arguments.profile not in known:
        names = ", ".join(known) or "those that are run first"
        near = nearest(arguments.profile, known)
        raise UserError(f"Give --profile one of {names}: nothing is kept of {arguments.profile!r}{near}.")
    return [arguments.profile]


def _prune(arguments: argparse.Namespace) -> int:
    from ifrvis.harness.plan.cost import size_text
    from ifrvis.harness.store.paths import Store
    from ifrvis.harness.upkeep.prune import known_plans, prunable, prunable_of, remove, size_of

    if not arguments.runs:
        refuse(arguments, "it says which run of a row is meant, and no row is named", "--seed", "--profile")
    store = Store(arguments.results)
    named = {run.folder.resolve(): run for name in arguments.runs for run in runs_meant(arguments, name)}
    paths = prunable_of(store, named.values()) if named else prunable(store, known_plans(arguments.data_root, store))
    size = size_text(sum(map(size_of, paths)))
    for path in paths:
        show(f"{size_text(size_of(path)):>8} {path}")
    if arguments.yes:
        remove(paths)
    said = "removed" if arguments.yes else "can go; add --yes to remove them"
    show(f"{len(paths)} paths, {size}: {said}" if paths else "nothing can go that no record and no row may need")
    return 0


def _publish(arguments: argparse.Namespace) -> int:
    from ifrvis.harness.store.paths import Store
    from ifrvis.harness.upkeep.verify import verify_records, verify_runs
    from ifrvis.reporting.crate import describe, make_crate

    folder, store = arguments.folder, Store(arguments.results)
    store.check_there()
    try:
        why = "something is in it" * any(folder.iterdir())
    except OSError as error:
        why = "" if isinstance(error, FileNotFoundError) else str(error.strerror)
    if why:
        raise UserError(f"Choose a new folder, or an empty one: {folder} is neither ({why}).")
    given = arguments.profile or [_profile_to_publish(arguments, store)]
    try:
        took, left = make_crate(folder, store, given, predictions=arguments.predictions, named=arguments.dataset)
        made = Store(folder / "results")
        profiles = made.profiles()
        of_records = verify_records(made, folder / "data", profiles=profiles)
        found = [*_at_work("verifying what was copied", of_records, made, profiles), *verify_runs(made)]
        if wrong := next((each for each in found if each.outcome == "wrong"), None):
            copied = wrong.path.is_relative_to(made.root)  # and none of the weights that come with the program
            path = store.root / wrong.path.relative_to(made.root) if copied else wrong.path
            raise UserError(f"Restore {path}, or remove it: {wrong.why}.")
        describe(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    show("\n".join(took))
    left += [f"profile {name} (--profile)" for name in store.profiles() if name not in made.profiles()]
    if left:
        show(f"left out, unless named by --dataset: {'; '.join(left)}")
    predicted = "what was predicted" if arguments.predictions else "nothing that was predicted (--predictions)"
    show(f"wrote {folder}, with {predicted}; its README.md says how to make the tables again")
    return 0


def _profile_to_publish(arguments: argparse.Namespace, store: "Store") -> str:
    """The profile that has records and reports, or records alone; never smoke, whose numbers mean nothing."""
    kept = store.profiles()
    if not kept:
        raise UserError(f"Run rows first: there is no record in {store.root}.")
    meant = [name for name in kept if name != "smoke"]
    reported = [name for name in meant if (arguments.reports / name / "manifest.json").is_file()]
    if len(reported or meant) != 1:
        raise UserError(f"Say with --profile what to publish: {store.root} has records of {', '.join(kept)}.")
    return (reported or meant)[0]


def _doctor(arguments: argparse.Namespace) -> int:
    from ifrvis.harness.plan.cost import measure_siblings
    from ifrvis.harness.plan.planner import make_plan
    from ifrvis.harness.upkeep.doctor import examine

    arguments.tables = arguments.tables or ["all"]
    looking = "looking, also at what a process says that imports torch, which may take minutes"
    say(console_for_tables(stderr=True), looking)
    request, why = request_of(arguments)
    plan = make_plan(request)
    measure_siblings(plan)
    checks = _examine_cluster(plan, arguments) if arguments.cluster else examine(plan)
    on = f" on {arguments.cluster}" * bool(arguments.cluster)
    if not arguments.json:
        show(f"For {' '.join(arguments.tables)} under profile {request.profile.name} ({why}){on}:", flush=True)
    found = list["Check"]()
    for each in checks:
        found.append(each)
        if not arguments.json:
            cure = f"\n        {each.cure}" * bool(each.cure)
            show(f"  {each.state:5} {each.name:22} {each.found}{cure}", flush=True)
    if arguments.json:
        show(json.dumps([vars(each) for each in found], indent=1))
    return 1 if any(each.state == "no" for each in found) else 0


def _examine_cluster(plan: "Plan", arguments: argparse.Namespace) -> Iterator["Check"]:
    from ifrvis.harness.jobs.cluster import load_cluster
    from ifrvis.harness.upkeep.doctor_cluster import examine_cluster

    cluster = load_cluster(arguments.cluster)
    if cluster.setup and not arguments.json:
        show("\n".join(["each job first runs:", *(f"  {line}" for line in cluster.setup)]))
    arguments.profile = arguments.profile or plan.request.profile.name
    return examine_cluster(cluster, plan, typed_again(arguments), patience_s=arguments.wait)
