"""Records: the immutable results of one run evaluated one way.

A record carries its own digest and the hashes of the files behind it, no host, no user and no absolute path.
Metrics are kept at full precision as fractions; an undefined one is null.
"""

import json
from pathlib import Path
from typing import Any

from ifrvis.errors import UserError
from ifrvis.files import canonical_json, publish_once, read_json, sha256_bytes
from ifrvis.schema import is_number

RECORD_SCHEMA = 1
REQUIRED = {
    "schema": int,
    "digest": str,
    "name": str,
    "profile": str,
    "train_sig": str,
    "eval_sig": str,
    "seed": int,
    "method": str,
    "backbone": str,
    "dataset": str,
    "protocol": str,
    "metrics": dict,
    "files": dict,
    "spec": dict,
    "provenance": dict,
    "attempts": list,
}


def digest_of(record: dict[str, Any]) -> str:
    """SHA-256 of a record without its digest."""
    return sha256_bytes(canonical_json({key: value for key, value in record.items() if key != "digest"}))


def publish_record(path: Path, record: dict[str, Any]) -> bool:
    """Write a record with its digest; the first writer wins. Tells whether it was this call."""
    complete = {**record, "schema": RECORD_SCHEMA}
    complete["digest"] = digest_of(complete)
    return publish_once(path, record_text(complete))


def record_text(record: dict[str, Any]) -> str:
    """A record as it is written."""
    return json.dumps(record, sort_keys=True, indent=1, allow_nan=False) + "\n"


def read_record(path: Path) -> dict[str, Any]:
    """Read and verify one record.

    Raises:
        UserError: If it is not a record, of a newer schema, or changed since it was written.
    """
    record = read_json(path, "a record")
    if not isinstance(record, dict) or not _has_the_fields(record):
        raise UserError(f"Remove {path} and run the row again: it is not a record.")
    if record["schema"] > RECORD_SCHEMA:
        raise UserError(f"Update ifrvis to read {path}: its schema is {record['schema']}, known is {RECORD_SCHEMA}.")
    try:
        sound = record["digest"] == digest_of(record)
    except (RecursionError, ValueError):  # NaN, or nested beyond reason: no record was written so
        sound = False
    if not sound:
        raise UserError(f"Restore {path}, or remove it and run the row again: it was changed after it was written.")
    return record


def _has_the_fields(record: dict[str, Any]) -> bool:
    """Whether what reports read is there and of its type: a digest is no signature, anybody can compute one."""
    if any(type(record.get(key)) is not kind for key, kind in REQUIRED.items()):
        return False
    curve = record.get("curve", {})
    if not isinstance(curve, dict):
        return False
    metrics = [value for value in record["metrics"].values() if not isinstance(value, dict | list)]
    return all(value is None or is_number(value) for value in [*metrics, *curve.values()])


class Records:
    """The records of one profile, listed once and read on demand."""

    def __init__(self, folder: Path) -> None:
        self._paths = {path.stem[-25:]: path for path in folder.glob("*.json")} if folder.is_dir() else {}
        self._read: dict[str, dict[str, Any] | str] = {}

    def find(self, train_sig: str, eval_sig: str) -> dict[str, Any] | None:
        """The verified record of one evaluation; None if there is none that verifies."""
        found = self._load(f"{train_sig[:12]}-{eval_sig[:12]}")
        matches = isinstance(found, dict) and (found["train_sig"], found["eval_sig"]) == (train_sig, eval_sig)
        return found if matches and isinstance(found, dict) else None

    def problem(self, train_sig: str, eval_sig: str) -> str:
        """Why the record that lies there does not count; empty if none lies there or it does."""
        found = self._load(f"{train_sig[:12]}-{eval_sig[:12]}")
        return found if isinstance(found, str) else ""

    def of_training(self, train_sig: str) -> list[dict[str, Any]]:
        """All verified records of one training."""
        found = [self._load(key) for key in sorted(self._paths) if key.startswith(train_sig[:12])]
        return [each for each in found if isinstance(each, dict) and each["train_sig"] == train_sig]

    def one_of_each_training(self) -> dict[str, dict[str, Any]]:
        """A verified record of each training that has one, by its `train_sig`."""
        found: dict[str, dict[str, Any]] = {}
        done: set[str] = set()
        for key in sorted(self._paths):
            record = self._load(key) if key[:12] not in done else None
            if isinstance(record, dict):
                found[record["train_sig"]] = record
                done.add(key[:12])
        return found

    def all_verified(self) -> list[dict[str, Any]]:
        """All records that verify."""
        return [each for each in map(self._load, sorted(self._paths)) if isinstance(each, dict)]

    def _load(self, key: str) -> dict[str, Any] | str | None:
        if key in self._paths and key not in self._read:
            try:
                self._read[key] = read_record(self._paths[key])
            except UserError as error:
                self._read[key] = str(error)
        return self._read.get(key)
