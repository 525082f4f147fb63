"""Whether records, and the files that are kept of their runs, are what was written.

A finding is `verified`, `not kept` (a file that a record speaks of, or what scoring it again takes, is not here) or
`CHANGED`. Predictions that are here are scored again. Reports are `reporting.verify`'s matter.
"""

import contextlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ifrvis.datasets.catalog import Split, load_dataset
from ifrvis.errors import UserError
from ifrvis.evaluation.scores import scores_of_file
from ifrvis.files import canonical_json, read_json, sha256_file
from ifrvis.harness.spec.shipped import shipped_weights
from ifrvis.harness.spec.signatures import SCORING_VERSION
from ifrvis.harness.store.records import read_record, record_text
from ifrvis.harness.store.runs import Results, Run, short
from ifrvis.packed import packed

SCORES = ("metrics", "tracking", "identity")


@dataclass(frozen=True)
class Finding:
    """What was found of one file."""

    outcome: Literal["verified", "not kept", "CHANGED"]
    path: Path
    why: str = ""


def verify_records(results: Results, data_root: Path, *, profile: str = "*", jobs: int = 1) -> Iterator[Finding]:
    """Check every record, the files that it names, and its scores.

    Args:
        results: The folder of all results.
        data_root: Where the ground truth lies, without which nothing is scored again.
        profile: Check the records of this profile only.
        jobs: Processes that share the videos of a split when it is scored.
    """
    for path in sorted((results.root / "records").glob(f"{profile}/*.json")):
        try:
            record = read_record(path)
        except UserError as error:
            yield Finding("CHANGED", path, str(error))
            continue
        home = results.record(record["profile"], record["name"], record["train_sig"], record["eval_sig"])
        if path.read_text(encoding="utf-8") != record_text(record) or path != home:
            yield Finding("CHANGED", path, "it is not as it was written, or not where")
            continue
        yield Finding("verified", path)
        try:
            yield from _verify_files(record, path, results, data_root, jobs)
        except (AttributeError, LookupError, TypeError, ValueError) as error:  # a digest is no signature
            yield Finding("CHANGED", path, f"no worker wrote it: {error}")


def _verify_files(
    record: dict[str, Any], path: Path, results: Results, data_root: Path, jobs: int
) -> Iterator[Finding]:
    run = results.run(record["name"], record["train_sig"])
    split = record["provenance"].get("data", {}).get("evaluation")
    places = {"weights": run.weights}
    if split and "inference" in record:
        places["predictions"] = run.predictions(record["inference"], split)
    for name, digest in record["files"].items():
        place = places.get(name)
        if place is None or not place.is_file():
            yield Finding("not kept", place or path, f"the {name} of {path.name}")
        elif sha256_file(place) != digest:
            yield Finding("CHANGED", place, f"it is not what {path.name} was made from")
        else:
            yield Finding("verified", place)
            if name == "predictions":
                yield _verify_scores(record, path, place, _split(record["dataset"], split, data_root), jobs)
    if run.curve.is_file() and "curve" in record:
        same = run.curve.read_bytes() == canonical_json(record["curve"])
        yield Finding("verified", run.curve) if same else Finding("CHANGED", run.curve, f"{path.name} has another")


def _verify_scores(record: dict[str, Any], path: Path, predictions: Path, split: Split | None, jobs: int) -> Finding:
    if split is None or record.get("scoring") != SCORING_VERSION:
        why = "its ground truth is not here" if split is None else "another version scored it"
        return Finding("not kept", path, f"not scored again: {why}")
    annotations = split.read()
    scores = scores_of_file(annotations, predictions, jobs=jobs)
    other = [
        name for name in SCORES if name in record and not _same(record[name], json.loads(json.dumps(scores[name])))
    ]
    if other:
        return Finding("CHANGED", path, f"its predictions give other {', '.join(other)}")
    return Finding("verified", path, "scored again")


def _same(one: Any, other: Any) -> bool:
    """Equal, floats to rounding: another version of numpy may sum in another order."""
    if isinstance(one, dict) and isinstance(other, dict):
        return all(_same(one[key], other[key]) for key in one.keys() & other.keys())  # an extra may not be installed
    if isinstance(one, list) and isinstance(other, list):
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


def verify_runs(results: Results) -> Iterator[Finding]:
    """Check what vouches for itself: each run's specification, its checkpoints, and the weights that are shipped."""
    for digits, folder in sorted(results.run_folders().items()):
        yield from _verify_spec(results, folder.name.rpartition("-")[0], digits)
        for checkpoint in sorted(folder.glob("attempts/*/checkpoints/*.pth")):
            with contextlib.suppress(FileNotFoundError):  # a run that is alive replaces its checkpoints
                yield from _verify_checkpoint(checkpoint)
    for description in sorted(packed("experiments", "weights").glob("*.json")):
        try:
            shipped_weights(read_json(description)["train_sig"])
        except UserError as error:
            yield Finding("CHANGED", description.with_suffix(".pth"), str(error))


def _verify_spec(results: Results, name: str, digits: str) -> Iterator[Finding]:
    path = Run(results, name, digits).folder / "spec.json"
    if not path.is_file():
        return
    try:
        sig = str(read_json(path)["train_sig"])
        spec = Run(results, name, sig).read_spec() if short(sig) == digits else None
    except (LookupError, TypeError, UserError):
        spec = None
    sound = spec is not None and path.read_bytes() == canonical_json(spec) + b"\n"
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
