"""Intervals over videos, kept: `ifrvis bootstrap` makes them once of what lies beside records, reports read them.

results/bootstrap/<profile>.json

Each says of which records it was made; where these are others than a report's, it is not shown.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ifrvis.errors import UserError
from ifrvis.evaluation.bootstrap import RESAMPLES, SEED, Values, intervals_of, values_of
from ifrvis.evaluation.scores import Count
from ifrvis.evaluation.videos import Videos, read_videos
from ifrvis.files import canonical_json, sha256_bytes, sha256_file, write_atomically
from ifrvis.harness.spec.signatures import Sha256
from ifrvis.harness.store.finding import Finding, same_to_rounding
from ifrvis.harness.store.paths import Store, videos_beside
from ifrvis.harness.store.records import Record, Records
from ifrvis.schema import Model, read_model

Key = tuple[tuple[str, ...], ...]  # digests of the records of each row, in the order of seeds


class Kept(Model):
    """The intervals of one difference."""

    # What the first has more than the second; of four, beside what the third has more than the fourth.
    rows: tuple[str, ...]
    # The digests of their records, in the order of seeds.
    records: Annotated[tuple[Annotated[tuple[Sha256, ...], Field(min_length=1)], ...], Field(min_length=2)]
    resamples: Count  # of the videos
    seed: Count  # of the draws
    intervals: dict[str, tuple[float, float]]  # at 95 %, by metric, as stored

    @property
    def digest(self) -> str:
        """SHA-256 of its content."""
        return sha256_bytes(canonical_json(self.model_dump()))


class _File(Model):
    schema_: Literal[1] = Field(default=1, alias="schema")
    digest: Sha256
    kept: tuple[Kept, ...]

    @model_validator(mode="after")
    def _is_its_own(self) -> "_File":
        if self.digest != _digest(self.kept):
            raise ValueError("Remove the file and run `ifrvis bootstrap` again: it was changed after it was written")
        return self


def _digest(kept: Iterable[Kept]) -> str:
    return sha256_bytes(canonical_json([each.digest for each in kept]))


def read_kept(path: Path) -> tuple[Kept, ...]:
    """What is kept of a profile; UserError if the file is broken or was changed."""
    return read_model(_File, path, "the intervals over videos").kept if path.exists() else ()


def keep(store: Store, profile: str, made: Sequence[Kept], records: Iterable[Record]) -> Path:
    """Keep intervals beside those of other records that are still there; returns the file."""
    path, there = store.bootstrap(profile), {record.digest for record in records}
    old = {each.records: each for each in read_kept(path) if there.issuperset(chain(*each.records))}
    kept = tuple((old | {each.records: each for each in made}).values())
    content = _File(digest=_digest(kept), kept=kept).model_dump(by_alias=True)
    write_atomically(path, json.dumps(content, indent=1) + "\n")
    return path


def key_of(records: Iterable[Iterable[Record]]) -> Key:
    """What the intervals of some rows' records are found by."""
    return tuple(tuple(record.digest for record in of_row) for of_row in records)


class Bootstrap:
    """Makes intervals of records, each of which is resampled once."""

    def __init__(self, store: Store) -> None:
        self._store, self._values = store, dict[str, Values]()

    def __call__(self, rows: Sequence[str], records: Sequence[Sequence[Record]]) -> Kept:
        """The intervals of what one row has more than another, by their names and records in the order of seeds;
        UserError if what lies beside a record is not there, or is of too few videos.
        """
        found = intervals_of([[self._values_of(record) for record in of_row] for of_row in records])
        return Kept(rows=tuple(rows), records=key_of(records), resamples=RESAMPLES, seed=SEED, intervals=found)

    def _values_of(self, record: Record) -> Values:
        if record.digest not in self._values:
            self._values[record.digest] = values_of(read_beside(self._store, record), record.dataset)
        return self._values[record.digest]


def read_beside(store: Store, record: Record) -> Videos:
    """What each video adds to a record; UserError if it is not beside the record as it was written."""
    path = videos_beside(record.path(store))
    if not path.is_file() or sha256_file(path) != record.files.get("videos"):
        raise UserError(f"Restore {path}, or run the row again: what its videos add is not there.")
    return read_videos(path)


def verify_kept(store: Store, profile: str) -> Iterator[Finding]:
    """Make what is kept of a profile again of what lies beside its records, and compare."""
    path, again = store.bootstrap(profile), Bootstrap(store)
    try:
        kept = read_kept(path)
    except UserError as error:
        yield Finding("wrong", path, str(error))
        return
    known = Records(store.records(profile)).all_readable() if kept else []
    records = {record.digest: record for record in known}
    for each in kept:
        of = " minus ".join(each.rows)
        try:
            made = again(each.rows, [[records[digest] for digest in of_row] for of_row in each.records])
        except (KeyError, UserError):
            yield Finding("not kept", path, f"what lies behind {of}")
        else:
            same = same_to_rounding(made.model_dump(), each.model_dump())
            yield Finding("from videos", path, of) if same else Finding("wrong", path, f"{of} is another")
