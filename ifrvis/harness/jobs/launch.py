"""What is decided before a queue: the profile, what the scheduler says of older jobs, which data are made."""

from pathlib import Path

from ifrvis.datasets.catalog import Dataset, Role, load_dataset
from ifrvis.errors import UserError
from ifrvis.harness.jobs.machine import gpus, num_cores
from ifrvis.harness.plan.plan import Plan, Request
from ifrvis.harness.plan.planner import make_plan
from ifrvis.harness.spec.profiles import Profile, default_profiles


def choose_profile(data_root: Path, *, on_cluster: bool) -> tuple[Profile, str]:
    """The first profile whose data, and GPU or cluster if need be, are here; and why. UserError if there is none."""
    why = ""
    for profile in default_profiles():
        if profile.needs_gpu and not (on_cluster or gpus()):
            why = "no GPU here"
            continue
        splits = [load_dataset(name, data_root).split("train") for name in sorted(set(profile.datasets.values()))]
        missing = [split.missing for split in splits if split.fingerprint is None]
        if not missing:
            here = f"its data are here, and a {'cluster was given' if on_cluster else 'GPU is'}"
            return profile, here if profile.needs_gpu else why
        why = f"the data of profile {profile.name} are not all here: {missing[0]}"
    raise UserError(f"Choose a --profile: {why}.")


def settled_plan(request: Request, *, whole: bool = True) -> Plan:
    """The plan of a request (`make_plan`), once the scheduler has said which jobs of its runs on a cluster are gone."""
    plan = make_plan(request, whole=whole)
    on_cluster = [each.attempt for each in plan.trainings if each.attempt is not None and each.attempt.place()]
    if not on_cluster:
        return plan
    from ifrvis.harness.jobs.scheduler import settle  # submitit, which most plans do without

    settle(on_cluster)
    return make_plan(request, whole=whole)


def jobs_at_once(plan: Plan, *, gpus_per_run: int = 1) -> int:
    """How many runs of a plan go on at once on this machine: as many as its GPUs, else its cores carry."""
    threads = max((each.spec.threads for each in plan.to_run), default=1)
    return max(1, (len(gpus()) or num_cores() // threads) // gpus_per_run)


def check_precision(plan: Plan) -> None:
    """Refuse, on this machine, runs that could not train here: UserError if mixed precision lacks its GPU."""
    mixed = next((each.name for each in plan.to_run if each.spec.precision == "amp"), None)
    if mixed is not None and not gpus():
        raise UserError(f"Set train.precision=fp32, or run where a GPU is: {mixed} needs one, none is visible here.")


def splits_to_make(plan: Plan) -> list[tuple[Dataset, Role]]:
    """The synthetic splits that the runs of a plan need and that are not there."""
    needed = [(each.dataset, each.split) for each in plan.to_run]
    needed += [(each.dataset, evaluation.split) for each in plan.to_run for evaluation in each.evaluations]
    from ifrvis.datasets.coco import MadeStills, load_stills  # numpy, which a plan does without

    stills = [load_stills(each.stills.dataset, each.dataset) for each in plan.to_run if each.stills]
    needed += [(each.dataset, each.split) for each in stills if isinstance(each, MadeStills)]
    found = {(dataset.source, split.role): (dataset, split.role) for dataset, split in needed if split.makeable}
    return list(found.values())
