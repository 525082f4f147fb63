"""What can go: checkpoints and predictions that no record and no row that is still to run needs.

A row that is not complete, for whatever reason, needs the checkpoints and predictions of its run; a record needs the
predictions that it was made from. A run that lives is left alone, and so is all of a profile whose data are not here,
because without them nobody knows which runs its rows mean.
"""

from collections.abc import Iterable
from pathlib import Path

from ifrvis.errors import UserError
from ifrvis.files import sha256_file
from ifrvis.harness.attempts import latest
from ifrvis.harness.plan import Plan
from ifrvis.harness.records import Records
from ifrvis.harness.runs import Results, Run, short

__all__ = ["prunable", "remove"]


def prunable(results: Results, plans: Iterable[Plan]) -> list[Path]:
    """The files that can go, given the plans of all tables under every profile."""
    needed, unknown = set(), set()
    for plan in plans:
        needed |= {short(each.sig) for each in plan.trainings if each.sig is not None and each.state != "complete"}
        if plan.data_missing:
            unknown.add(plan.request.profile.name)
    kept = _predictions_of_records(results)
    found: list[Path] = []
    for digits, folder in sorted(results.run_folders().items()):
        run = results.run(folder.name.rpartition("-")[0], digits)
        if digits not in needed and not _is_left_alone(run, unknown):
            found += sorted(folder.glob("attempts/*/checkpoints/*"))
            predictions = sorted(folder.glob("predictions/*/predictions.json.gz"))
            found += [path for path in predictions if sha256_file(path) not in kept]
    return found


def remove(paths: Iterable[Path]) -> None:
    """Remove files, and the folders that are empty then."""
    for path in paths:
        path.unlink(missing_ok=True)
        if not any(path.parent.iterdir()):
            path.parent.rmdir()


def _predictions_of_records(results: Results) -> set[str]:
    """SHA-256 of all predictions that any record was made from."""
    folder = results.root / "records"
    records = [each for profile in sorted(folder.glob("*")) for each in Records(profile).all_verified()]
    return {str(record["files"].get("predictions")) for record in records}


def _is_left_alone(run: Run, unknown: set[str]) -> bool:
    newest = latest(run)
    if newest is None:
        return True
    try:
        return newest.is_alive() or newest.submission().get("profile") in {*unknown, None}
    except UserError:
        return True
