"""Whether records, and the files that are kept of their runs, are what was written.

A finding is `verified`, `not kept` (a file that a record speaks of, or what scoring it again takes, is not here) or
`CHANGED`. Predictions that are here are scored again. Reports are `reporting.verify`'s matter.
"""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ifrvis.datasets.catalog import Split, load_dataset
from ifrvis.errors import UserError
from ifrvis.evaluation.scoring import scores_of_file
from ifrvis.files import canonical_json, read_json, sha256_file
from ifrvis.harness.spec.signatures import SCORING_VERSION
from ifrvis.harness.spec.weights import shipped_weights
from ifrvis.harness.store.finding import Finding
from ifrvis.harness.store.paths import Run, Store, short
from ifrvis.harness.store.records import Record, read_record, record_text
from ifrvis.packed import packed


def verify_records(store: Store, data_root: Path, *, profile: str = "*", jobs: int = 1) -> Iterator[Finding]:
    """Check every record, the files that it names, and its scores.

    Args:
        store: The folder of all store.
        data_root: Where the ground truth lies, without which nothing is scored again.
        profile: Check the records of this profile only.
        jobs: Processes that share the videos of a split when it is scored.
    """
    for path in sorted((store.root / "records").glob(f"{profile}/*.json")):
        try:
            record = read_record(path)
        except UserError as error:
            yield Finding("CHANGED", path, str(error))
            continue
        home = store.record(record.profile, record.name, record.train_sig, record.eval_sig)
        if path.read_text(encoding="utf-8") != record_text(record) or path != home:
            yield Finding("CHANGED", path, "it is not as it was written, or not where")
            continue
        yield Finding("verified", path)
        yield from _verify_files(record, path, store, data_root, jobs)


def _verify_files(record: Record, path: Path, store: Store, data_root: Path, jobs: int) -> Iterator[Finding]:
    run, split = store.run(record.name, record.train_sig), record.data.evaluation
    places: dict[str, Path] = {"weights": run.weights, "predictions": run.predictions(record.inference, split)}
    for name, digest in record.files.items():
        place = places.get(name)
        if place is None or not place.is_file():
            yield Finding("not kept", place or path, f"the {name} of {path.name}")
        elif sha256_file(place) != digest:
            yield Finding("CHANGED", place, f"it is not what {path.name} was made from")
        else:
            yield Finding("verified", place)
            if name == "predictions":
                yield _verify_scores(record, path, place, _split(record.dataset, split, data_root), jobs)
    if run.curve.is_file() and record.curve:
        same = run.curve.read_bytes() == canonical_json(record.curve)
        yield Finding("verified", run.curve) if same else Finding("CHANGED", run.curve, f"{path.name} has another")


def _verify_scores(record: Record, path: Path, predictions: Path, split: Split | None, jobs: int) -> Finding:
    if split is None or record.scoring != SCORING_VERSION:
        why = "its ground truth is not here" if split is None else "another version scored it"
        return Finding("not kept", path, f"not scored again: {why}")
    annotations = split.read()
    scores = scores_of_file(annotations, predictions, jobs=jobs).model_dump()
    other = [name for name, value in scores.items() if not _same(record.model_dump(include={name})[name], value)]
    if other:
        return Finding("CHANGED", path, f"its predictions give other {', '.join(other)}")
    return Finding("verified", path, "scored again")


def _same(one: Any, other: Any) -> bool:
    """Equal, floats to rounding: another version of numpy may sum in another order."""
    if isinstance(one, dict) and isinstance(other, dict):
        return all(_same(one[key], other[key]) for key in one.keys() & other.keys())  # an extra may not be installed
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    return bool(one == other)


def _split(dataset: str, fingerprint: str, data_root: Path) -> Split | None:
    """The split with this fingerprint, if its ground truth is here."""
    with contextlib.suppress(UserError):
        found = load_dataset(dataset, data_root)
        for split in (found.split("heldout"), found.split("dev")):
            if split.fingerprint == fingerprint and not split.makeable:
                return split
    return None


def verify_runs(store: Store) -> Iterator[Finding]:
    """Check what vouches for itself: each run's specification, its checkpoints, and the weights that are shipped."""
    for digits, folder in sorted(store.run_folders().items()):
        yield from _verify_spec(store, folder.name.rpartition("-")[0], digits)
        for checkpoint in sorted(folder.glob("attempts/*/checkpoints/*.pth")):
            with contextlib.suppress(FileNotFoundError):  # a run that is alive replaces its checkpoints
                yield from _verify_checkpoint(checkpoint)
    for description in sorted(packed("experiments", "weights").glob("*.json")):
        try:
            shipped_weights(read_json(description)["train_sig"])
        except UserError as error:
            yield Finding("CHANGED", description.with_suffix(".pth"), str(error))


def _verify_spec(store: Store, name: str, digits: str) -> Iterator[Finding]:
    path = Run(store, name, digits).folder / "spec.json"
    if not path.is_file():
        return
    try:
        sig = str(read_json(path)["train_sig"])
        spec = Run(store, name, sig).read_spec() if short(sig) == digits else None
    except (LookupError, TypeError, UserError):
        spec = None
    sound = spec is not None and path.read_bytes() == spec.text()
    yield Finding("verified", path) if sound else Finding("CHANGED", path, "it does not match its signature")


def _verify_checkpoint(path: Path) -> Iterator[Finding]:
    sealed = path.with_suffix(".json")
    if not sealed.is_file():
        return  # it was cut short and does not count
    try:
        seal = read_json(sealed)
        sound = sealed.read_bytes() == canonical_json(seal)
    except (UserError, ValueError):
        sound = False
    if not sound:
        yield Finding("CHANGED", sealed, "it is no seal of a checkpoint")
    elif seal == {"bytes": path.stat().st_size, "sha256": sha256_file(path)}:
        yield Finding("verified", path)
    else:
        yield Finding("CHANGED", path, f"it does not match {sealed}")
