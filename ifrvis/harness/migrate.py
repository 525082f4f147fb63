"""Runs and records under a changed rule of identity: new signatures from what is stored, without training again.

To change the rule, change the keys in `identity` and say in `identity.BEFORE` what a new key was before it existed.
Every run's folder and specification then get the signature that the new rule gives, and its records are published again
under it, each with `migrated`, which names the old one. Old records stay as they were.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ifrvis.errors import UserError
from ifrvis.files import canonical_json, read_json, write_atomically
from ifrvis.harness.attempts import latest
from ifrvis.harness.identity import eval_signature, train_signature, upgraded_spec
from ifrvis.harness.records import publish_record, read_record
from ifrvis.harness.runs import Results

__all__ = ["migrate"]


def migrate(results: Results, resign: Callable[[Path, str], None]) -> Iterator[str]:
    """Bring all runs and records to today's rule of identity; a line about each that changed.

    Args:
        results: The folder of all results.
        resign: Gives the checkpoint at a path, which names its training, a new `train_sig`.

    Raises:
        UserError: If a run is alive, or a record is broken.
    """
    records = {path: read_record(path) for path in sorted((results.root / "records").glob("*/*.json"))}
    folders = list(results.run_folders().values())
    specs = {folder: read_json(folder / "spec.json", "the configuration of a run") for folder in folders}
    new = _new_signatures([each["spec"] for each in records.values()] + list(specs.values()))
    for folder, spec in specs.items():
        if spec["train_sig"] != new[spec["train_sig"]]:
            yield _move(results, folder, _upgraded(spec, new), resign)
    for path, record in records.items():
        yield from _publish(results, path, record, new)


def _upgraded(spec: dict[str, Any], new: dict[str, str]) -> dict[str, Any]:
    train = upgraded_spec(spec["train"])
    return {
        **spec,
        "train": {**train, "init": new.get(train["init"], train["init"])},
        "train_sig": new[spec["train_sig"]],
    }


def _new_signatures(specs: list[dict[str, Any]]) -> dict[str, str]:
    """Old signature to new; a pretraining's changes those of the runs that start from it."""
    waiting = {spec["train_sig"]: upgraded_spec(spec["train"]) for spec in specs}
    new: dict[str, str] = {}
    while waiting:
        ready = {sig: train for sig, train in waiting.items() if train["init"] not in waiting}
        for sig, train in ready.items():
            new[sig] = train_signature({**train, "init": new.get(train["init"], train["init"])})
            del waiting[sig]
    return new


def _move(results: Results, folder: Path, spec: dict[str, Any], resign: Callable[[Path, str], None]) -> str:
    run = results.run(spec["name"], spec["train_sig"])
    newest = latest(results.run(spec["name"], folder.name[-12:]))
    if newest is not None and newest.is_alive():
        raise UserError(f"Cancel {folder.name} first, or wait until it ends: runs that are alive cannot be migrated.")
    folder.rename(run.folder)
    write_atomically(run.folder / "spec.json", canonical_json(spec) + b"\n")
    for checkpoint in sorted(run.folder.glob("attempts/*/checkpoints/*.pth")):
        resign(checkpoint, run.train_sig)
    return f"{folder.name} is now {run.folder.name}"


def _publish(results: Results, path: Path, record: dict[str, Any], new: dict[str, str]) -> Iterator[str]:
    train_sig, inference = new[record["train_sig"]], record.get("inference", {})
    split = "server" if record.get("external") else record["provenance"].get("data", {}).get("evaluation", "")
    moved = {
        **record,
        "spec": _upgraded(record["spec"], new),
        "train_sig": train_sig,
        "eval_sig": eval_signature(train_sig, inference, split, scoring=record.get("scoring")),
        "migrated": {key: record[key] for key in ("train_sig", "eval_sig", "digest")},
    }
    home = results.record(record["profile"], record["name"], train_sig, moved["eval_sig"])
    if train_sig != record["train_sig"] and publish_record(home, moved):
        yield f"{path.name} is now {home.name}"
