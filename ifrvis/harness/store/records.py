"""Records: the immutable results of one run evaluated one way.

A record carries its own digest and the hashes of the files behind it, no host, no user and no absolute path. What it
says of itself has to agree: its signatures follow from what it holds, its seed and name are those of its run, and its
metrics are what such metrics can be; another is refused on reading. Whether its numbers are those of its predictions
is `ifrvis verify`'s matter.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import from_json

from ifrvis.datasets.catalog import Role
from ifrvis.errors import UserError
from ifrvis.evaluation.scores import Count, Fraction, Scores
from ifrvis.files import canonical_json, publish_once, read_text, sha256_bytes
from ifrvis.harness.spec import signatures
from ifrvis.harness.spec.signatures import Sha256, eval_signature
from ifrvis.harness.spec.tables import Protocol
from ifrvis.harness.store.paths import Store, record_name, record_paths, short
from ifrvis.harness.store.provenance import Provenance
from ifrvis.harness.store.specs import RunName, Spec
from ifrvis.harness.store.states import AttemptState
from ifrvis.schema import Model, Name, validated

RECORD_SCHEMA: Literal[2] = 2
FileKind = Literal["predictions", "weights", "submission", "scores"]
Iteration = Annotated[str, Field(pattern="^(0|[1-9][0-9]{0,11})$")]
Curve = dict[Iteration, Fraction | None]  # AP on the watched videos by iteration, from before the first


class Life(Model):
    """How an attempt of the run ended; the one that made the record, so far."""

    reason: AttemptState
    kind: str
    seconds: float | None


class NotLoaded(Model):
    """What the initial weights left out: names of parameters, and the reasons why some start at random."""

    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()
    reasons: dict[str, tuple[str, ...]] = Field(default={})


class Data(Model):
    """Fingerprints of the splits: trained on (null for `external`), and predicted."""

    train: Sha256 | None
    evaluation: Sha256


class Server(Model):
    """Where a server's scores come from, and its output as it was."""

    address: str
    said: str


class ScoredAgain(Model):
    """The record whose predictions were scored again, and who scored them."""

    of: Sha256
    provenance: Provenance


class Record(Scores):
    """One record.

    Attributes:
        origin: `trained` here; scored by a `server`; `external`, the predictions of another program or of a checkpoint
            from elsewhere, whose SHA-256 stands for `train_sig`, and which has no `spec`.
        role: The evaluation split's.
        init: The name that the recipe's `train.init` gave to the initial weights; `spec.train.init` is what they were.
        inference: How the videos were predicted.
        files: SHA-256 of the files behind the record, kept or not.
        determinism: Whether the same command gives the same bits again, or the same draws alone; null: not known.
        peak_memory_bytes: Of the first process, as `peak_gpu_memory_bytes` is of its GPU.
        waiting_for_data: Share of the last attempt's training time; null where it did not train.
        initial_weights: What `ifrvis weights convert` says of the file that training started from.
    """

    schema_: Literal[2] = Field(default=RECORD_SCHEMA, alias="schema")
    digest: str = ""
    origin: Literal["trained", "external", "server"]
    name: RunName
    profile: Name
    off_spec: bool
    train_sig: Sha256
    eval_sig: Sha256
    seed: Count
    method: Name
    backbone: Name
    dataset: Name
    role: Role
    protocol: Protocol
    init: str | None
    inference: dict[str, Any]
    scoring: Annotated[int, Field(ge=1)]
    spec: Spec | None
    data: Data
    files: dict[FileKind, Sha256]
    provenance: Provenance
    determinism: Literal["bitwise", "seeded"] | None = None
    not_loaded: NotLoaded = NotLoaded()
    initial_weights: Any = None
    curve: Curve = Field(default={})
    attempts: tuple[Life, ...] = ()
    peak_memory_bytes: Count | None = None
    peak_gpu_memory_bytes: Count | None = None
    waiting_for_data: Fraction | None = None
    server: Server | None = None
    rescored: ScoredAgain | None = None

    @property
    def file_name(self) -> str:
        """The name of its file, which no other name may stand for."""
        return record_name(self.name, self.train_sig, self.eval_sig)

    @property
    def hours(self) -> float:
        """What its attempts took, where they say."""
        return sum(each.seconds or 0.0 for each in self.attempts) / 3600

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        wrong = next((what for what, holds in self._what_has_to_hold() if not holds), None)
        if wrong:
            raise ValueError(f"Remove the record and run the row again: {wrong}")
        return self

    def _what_has_to_hold(self) -> list[tuple[str, bool]]:
        spec, trained_on = self.spec, self.spec.train.data if self.spec else None
        by_server = self.protocol == "server"
        scored_on = "server" if by_server else self.data.evaluation
        sig = eval_signature(self.train_sig, self.inference, scored_on, scoring=self.scoring)
        ends = f"-s{self.seed}" if self.method != "pretraining" else ""
        return [
            ("a newer version scored it", self.scoring <= signatures.SCORING_VERSION),
            ("its origin and its spec do not fit", (self.origin == "external") == (spec is None)),
            ("its origin and its protocol do not fit", self.origin != ("trained" if by_server else "server")),
            ("a server's scores are of protocol and role `server`", by_server == (self.server is not None)),
            ("a server's scores are of protocol and role `server`", by_server == (self.role == "server")),
            ("train_sig is not that of its spec", spec is None or self.train_sig == spec.train_sig),
            ("name is not that of its spec", spec is None or self.name == spec.name),
            ("seed is not that of its spec", spec is None or self.seed == spec.train.seed),
            ("data.train is not that of its spec", self.data.train == trained_on),
            ("eval_sig is not that of its inference, split and scoring", self.eval_sig == sig),
            ("name is not that of its method and backbone", self.name.startswith(f"{self.method}-{self.backbone}-")),
            ("name is not that of its seed", spec is None or self.name.endswith(ends)),
        ]


def digest_of(content: dict[str, Any]) -> str:
    """SHA-256 of a record's content without its digest."""
    return sha256_bytes(canonical_json({key: value for key, value in content.items() if key != "digest"}))


def sealed(record: Record) -> Record:
    """A record with its digest."""
    return record.model_copy(update={"digest": digest_of(record.model_dump(by_alias=True))})


def record_text(record: Record) -> str:
    """A record as it is written."""
    return json.dumps(record.model_dump(by_alias=True), sort_keys=True, indent=1, allow_nan=False) + "\n"


def publish_record(store: Store, record: Record) -> bool:
    """Write a record with its digest; the first writer wins. Tells whether it was this call."""
    path = store.record(record.profile, record.name, record.train_sig, record.eval_sig)
    return publish_once(path, record_text(sealed(record)))


def read_record(path: Path) -> Record:
    """Read and check one record.

    Raises:
        UserError: If it is not a record, of another schema, changed since it was written, or under a name that is not
            its own; or if what it says does not agree.
    """
    text = read_text(path, "a record")
    try:
        content = from_json(text)  # in a third of json's time; a plan reads a thousand
    except ValueError as error:
        raise UserError(f"Replace {path}: a record is not valid JSON ({error}).") from error
    if not isinstance(content, dict) or type(content.get("schema")) is not int:
        raise UserError(f"Remove {path} and run the row again: it is not a record.")
    if content["schema"] != RECORD_SCHEMA:
        cure = "Update ifrvis to read" if content["schema"] > RECORD_SCHEMA else "Remove, and run the row again,"
        raise UserError(f"{cure} {path}: its schema is {content['schema']}, known is {RECORD_SCHEMA}.")
    try:
        sound = content.get("digest") == digest_of(content)
    except (RecursionError, ValueError):  # NaN, or nested beyond reason: no record was written so
        sound = False
    if not sound:
        raise UserError(f"Restore {path}, or remove it and run the row again: it was changed after it was written.")
    record = validated(Record, content, str(path), text=text)
    if path.name != record.file_name:
        raise UserError(f"Remove {path}, or rename it to {record.file_name}: the name is not its own.")
    return record


class Records:
    """The records of one profile, listed once and read on demand."""

    def __init__(self, folder: Path) -> None:
        self._paths = record_paths(folder)
        self._read: dict[Path, Record | str] = {}

    def find(self, train_sig: str, eval_sig: str) -> Record | None:
        """The record of one evaluation; None if there is none that can be read."""
        found = (each for each in self._named(short(train_sig), short(eval_sig)) if isinstance(each, Record))
        return next((each for each in found if (each.train_sig, each.eval_sig) == (train_sig, eval_sig)), None)

    def problem(self, train_sig: str, eval_sig: str) -> str:
        """Why what lies there does not count; empty if nothing lies there, or a record that does."""
        found = self._named(short(train_sig), short(eval_sig))
        problems = [each for each in found if isinstance(each, str)]
        return problems[0] if len(problems) == len(found) > 0 else ""

    def of_training(self, train_sig: str) -> list[Record]:
        """All records of one training."""
        found = (each for key in self._paths if key[0] == short(train_sig) for each in self._named(*key))
        return [each for each in found if isinstance(each, Record) and each.train_sig == train_sig]

    def one_of_each_training(self) -> dict[str, Record]:
        """A record of each training that has one, by its `train_sig`."""
        found: dict[str, Record] = {}
        for train, evaluation in self._paths:
            if train not in found:
                records = (each for each in self._named(train, evaluation) if isinstance(each, Record))
                found.update((train, each) for each in records)
        return {each.train_sig: each for each in found.values()}

    def all_verified(self) -> list[Record]:
        """All records that can be read: unchanged, under their own names, and in agreement with themselves."""
        return [each for key in self._paths for each in self._named(*key) if isinstance(each, Record)]

    def _named(self, train: str, evaluation: str) -> list[Record | str]:
        """What lies under names with these digits: records, and why the others are none."""
        for path in (paths := self._paths.get((train, evaluation), [])):
            if path not in self._read:
                try:
                    self._read[path] = read_record(path)
                except UserError as error:
                    self._read[path] = str(error)
        return [self._read[path] for path in paths]
