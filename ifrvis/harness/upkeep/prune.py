"""What can go: checkpoints, predictions that no record was made from, what lay beside records; what jobs have left.

Of itself a run loses something only if a plan knows it and has all records of it, and the weights too that others
start from. What no plan knows (own tables, off-spec runs, a profile whose data are not here) is asked for by name, and
then nothing else goes. A run that lives is left alone. Copies of the code and scripts of arrays stay as long as any job
may begin.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

from ifrvis.files import sha256_file
from ifrvis.harness.plan.plan import Plan, Request
from ifrvis.harness.plan.planner import make_plan
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.spec.tables import load_tables
from ifrvis.harness.store.attempts import checkpoint_folders, latest
from ifrvis.harness.store.paths import Run, Store
from ifrvis.harness.store.records import Records
from ifrvis.harness.store.recovery import kind_of
from ifrvis.harness.store.states import GOES_ON
from ifrvis.packed import packed_names


def known_plans(data_root: Path, store: Store) -> list[Plan]:
    """The plans of all packed tables, under every packed profile."""
    profiles = map(load_profile, packed_names("experiments", "profiles"))
    asked = (Request(tuple(load_tables(["all"], each)), each, data_root=data_root, store=store) for each in profiles)
    return [make_plan(each) for each in asked]


def prunable(store: Store, plans: Iterable[Plan]) -> list[Path]:
    """The files and folders that can go, given the plans of all known tables under every profile."""
    trainings = [each for plan in plans for each in plan.trainings]
    needed = {each.sig for each in trainings if not (each.state == "complete" and each.has_weights(store))}
    done = {each.sig for each in trainings} - needed
    found = prunable_of(store, [run for run in store.runs() if run.train_sig in done])
    if not any(newest.is_alive() for newest in map(latest, store.runs()) if newest):  # one may be about to publish
        found += [path for profile in store.profiles() for path in store.widowed_videos(profile)]
    return found + _left_by_jobs(store)


def prunable_of(store: Store, runs: Iterable[Run]) -> list[Path]:
    """What can go of some runs, complete or not; nothing of one that lives."""
    records = [each for profile in store.profiles() for each in Records(store.records(profile)).all_readable()]
    kept = {record.files.get("predictions") for record in records}
    found: list[Path] = []
    for run in runs:
        newest = latest(run)
        if newest is not None and not newest.is_alive():
            found += sorted(path for each in checkpoint_folders(run) for path in each.glob("*"))
            found += [path.parent for path in run.all_predictions() if sha256_file(path) not in kept]
    return found


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(each.stat().st_size for each in ([path] if path.is_file() else path.rglob("*")) if each.is_file())


def remove(paths: Iterable[Path]) -> None:
    """Remove files and folders, and the folders that are empty then."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        if not any(path.parent.iterdir()):
            path.parent.rmdir()


def _left_by_jobs(store: Store) -> list[Path]:
    """Copies of the code and scripts of arrays, unless a job of a cluster lives or may be requeued."""
    newest = [each for each in map(latest, store.runs()) if each is not None and each.place()]
    if any(each.is_alive() or kind_of(each) in GOES_ON for each in newest):
        return []
    return sorted(path for folder in (store.jobs, store.snapshots) for path in folder.glob("*"))
