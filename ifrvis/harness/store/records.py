"""Records: the immutable results of one run evaluated one way.

A record carries its own digest and the hashes of the files behind it, no host, no user and no absolute path. What it
says of itself has to agree: its signatures follow from what it holds, its seed and name are those of its run, and its
metrics are what such metrics can be; another is refused on reading. Whether its numbers are those of its predictions,
or of what lies beside it (`evaluation.videos`), is `ifrvis verify`'s matter.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Self, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import from_json

from ifrvis.datasets.catalog import WHOLE, Part, Role
from ifrvis.errors import UserError
from ifrvis.evaluation.scores import Count, Fraction, Scores
from ifrvis.files import canonical_json, publish_once, read_json, read_text, seen_in, sha256_bytes, write_atomically
from ifrvis.harness.spec import signatures
from ifrvis.harness.spec.profiles import PRETRAINING
from ifrvis.harness.spec.signatures import Sha256, eval_signature
from ifrvis.harness.spec.tables import Protocol
from ifrvis.harness.store.lives import Life
from ifrvis.harness.store.paths import Run, RunName, Spec, Store, record_name, videos_beside
from ifrvis.harness.store.provenance import Provenance
from ifrvis.schema import NAME, Model, Name, validated

if TYPE_CHECKING:
    from ifrvis.evaluation.videos import Videos  # numpy, which a plan does without

R = TypeVar("R")
RECORD_SCHEMA: Literal[3] = 3
FileKind = Literal["predictions", "weights", "submission", "scores", "videos"]
Iteration = Annotated[str, Field(pattern="^(0|[1-9][0-9]{0,11})$")]
Seconds = Annotated[float, Field(ge=0, lt=1e12)]
Curve = dict[Iteration, Fraction | None]  # AP on the watched videos by iteration, from before the first


class NotLoaded(Model):
    """What the initial weights left out, in numbers of parameters; `reasons` why some start at random, by part."""

    missing: Count = 0
    unexpected: Count = 0
    mismatched: Count = 0
    reasons: dict[str, Count] = Field(default={})


class Cost(Model):
    """What a record took; null where that is not known."""

    parameters: Count | None = None  # of the model
    # Of the iterations behind the final weights, in all attempts; not watching, nor checkpoints.
    training_seconds: Seconds | None = None
    # Of the evaluation's frames, from reading them to their masks, of all processes together.
    prediction_seconds: Seconds | None = None
    frames: Count | None = None  # that were predicted
    device: str | None = None  # on which: the GPU, or the processor


class Data(Model):
    """Fingerprints of the splits: trained on (null for `external`), and predicted, which is a part of its role's."""

    train: Sha256 | None
    evaluation: Sha256
    part: Part = WHOLE


class Server(Model):
    """Where a server's scores come from, its output as it was, and what of it was taken (`read_server_scores`)."""

    address: str
    said: str
    half: Literal["short", "long", "sizes"] | None = None


class ScoredAgain(Model):
    """The record whose predictions were scored again, and who scored them."""

    of: Sha256
    provenance: Provenance


class Measured(Model):
    """What the attempt that made a record saw while it trained; null where it did not, or had no GPU."""

    waiting_for_data: Fraction | None = None  # share of the time
    gpus: tuple[str, ...] = ()  # names, one for each process
    peak_gpu_memory_bytes: Count | None = None  # of the first process's
    cuda: str | None = None  # version that torch was built for; `cudnn` and `nccl` likewise
    cudnn: str | None = None
    nccl: str | None = None
    tf32: bool | None = None  # whether products and convolutions of float32 may be rounded to TF32
    # Whether deformable attention is mmcv's compiled operator, and not torch's operations.
    attention: bool | None = None


class Record(Scores):
    """One record."""

    schema_: Literal[3] = Field(default=RECORD_SCHEMA, alias="schema")
    digest: str = ""
    # `trained` here; scored by a `server`; `external`, the predictions of another program or of a checkpoint from
    # elsewhere, whose SHA-256 stands for `train_sig`, and which has no `spec`.
    origin: Literal["trained", "external", "server"]
    name: RunName
    profile: Name
    # Whether `--set`, `--dataset` or `--init` made this of the rows that it was run for. It is no part of the identity:
    # a row has the records that fit it, whoever ran them.
    off_spec: bool
    train_sig: Sha256
    eval_sig: Sha256
    seed: Count
    method: Name
    backbone: Name
    dataset: Name
    role: Role  # the evaluation split's
    protocol: Protocol
    # The name that the recipe's `train.init` gave to the initial weights; `spec.train.init` is what they were.
    init: str | None
    inference: dict[str, Any]  # how the videos were predicted
    scoring: Annotated[int, Field(ge=1)]
    spec: Spec | None
    data: Data
    files: dict[FileKind, Sha256]  # SHA-256 of the files behind the record, kept or not
    provenance: Provenance
    # Whether the same command gives the same bits again, or the same draws alone; null: not known.
    determinism: Literal["bitwise", "seeded"] | None = None
    # SHA-256 of the file of the initial weights: a pretraining made again has other bits.
    started_from: Sha256 | None = None
    final_weights: Sha256 | None = None  # digest of the tensors that were evaluated (`training.facts`)
    not_loaded: NotLoaded = NotLoaded()
    initial_weights: Any = None  # what `ifrvis weights convert` says of the file that training started from
    cost: Cost = Cost()
    # Its means over at most 60 equal parts of the training, by the last iteration of each.
    loss: dict[Iteration, float] = Field(default={}, max_length=60)
    curve: Curve = Field(default={})
    attempts: tuple[Life, ...] = ()
    peak_memory_bytes: Count | None = None  # of the first process
    measured: Measured = Measured()
    server: Server | None = None
    rescored: ScoredAgain | None = None

    @property
    def file_name(self) -> str:
        """The name of its file, which no other name may stand for."""
        return record_name(self.name, self.train_sig, self.eval_sig)

    def path(self, store: Store) -> Path:
        """Its only home."""
        return store.records(self.profile) / self.file_name

    def predictions(self, store: Store) -> Path:
        """What it was scored by, where that is kept."""
        return store.run(self.name, self.train_sig).predictions(self.inference, self.data.evaluation)

    @property
    def shown(self) -> dict[str, int | float | None]:
        """What any scores show, and what is known of costs."""
        cost = self.cost
        fps = cost.frames / cost.prediction_seconds if cost.frames and cost.prediction_seconds else None
        costs = {"Parameters": cost.parameters, "FPS": fps}
        return super().shown | {name: value for name, value in costs.items() if value is not None}

    @property
    def hours(self) -> float:
        """What its attempts took, where they say."""
        return math.fsum(each.seconds or 0.0 for each in self.attempts) / 3600  # the same in every version of Python

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
        ends = f"-s{self.seed}" if not self.method.startswith(PRETRAINING) else ""
        return [
            ("a newer version scored it", self.scoring <= signatures.SCORING_VERSION),
            ("its inference has no mode that can be a name", bool(NAME.fullmatch(str(self.inference.get("mode"))))),
            ("its origin and its spec do not fit", (self.origin == "external") == (spec is None)),
            ("its origin and its protocol do not fit", self.origin != ("trained" if by_server else "server")),
            ("a server's scores are of protocol and role `server`", by_server == (self.server is not None)),
            ("a server's scores are of protocol and role `server`", by_server == (self.role == "server")),
            ("train_sig is not that of its spec", spec is None or self.train_sig == spec.train_sig),
            ("name is not that of its spec", spec is None or self.name == spec.name),
            ("seed is not that of its spec", spec is None or self.seed == spec.train.seed),
            ("data.train is not that of its spec", self.data.train == trained_on),
            ("started_from is not that of its spec", spec is None or self._starts_as(spec)),
            ("eval_sig is not that of its inference, split and scoring", self.eval_sig == sig),
            ("name is not that of its method and backbone", self.name.startswith(f"{self.method}-{self.backbone}-")),
            ("name is not that of its seed", spec is None or self.name.endswith(ends)),
        ]

    def _starts_as(self, spec: Spec) -> bool:
        """Whether it started from the weights of its spec, which knows those of a pretraining by a signature alone."""
        return self.init == PRETRAINING or self.started_from in (None, spec.train.init)


def digest_of(content: dict[str, Any]) -> str:
    """SHA-256 of the content of a record, or of another file, without its digest."""
    return sha256_bytes(canonical_json({key: value for key, value in content.items() if key != "digest"}))


def record_text(record: Record) -> str:
    """A record as it is written."""
    return json.dumps(record.model_dump(by_alias=True), sort_keys=True, indent=1, allow_nan=False) + "\n"


def publish_record(store: Store, record: Record, videos: "Videos | None" = None) -> bool:
    """Write a record with its digest; the first writer wins. Tells whether it was this call.

    What its videos add is written before, so that no record is ever without: a record that is there stays with its own.
    """
    path = record.path(store)
    if videos is not None and not path.exists():
        packed = videos.packed()
        record = record.model_copy(update={"files": {**record.files, "videos": sha256_bytes(packed)}})
        write_atomically(videos_beside(path), packed)
    digest = digest_of(record.model_dump(by_alias=True))
    return publish_once(path, record_text(record.model_copy(update={"digest": digest})))


class Seal(NamedTuple):
    """Whose record it is that has not changed since it was written; what else it says was not looked at."""

    train_sig: Any
    eval_sig: Any


def read_seal(path: Path) -> Seal:
    """The seal of a record, in half of the time of `read_record`, for whoever shows none of its numbers; UserError if
    it is not a record, of another schema, or changed since it was written.
    """
    content, _ = _read_sealed(path)
    return Seal(content.get("train_sig"), content.get("eval_sig"))


def read_record(path: Path) -> Record:
    """Read and check one record; UserError as `read_seal`, or if it is not at its own place, or contradicts itself."""
    content, text = _read_sealed(path)
    record = validated(Record, content, str(path), text=text)
    own = f"{record.profile}/{record.file_name}"
    if f"{path.parent.name}/{path.name}" != own:
        raise UserError(f"Remove {path}, or move it to {own}: no other name or place stands for it.")
    return record


def _read_sealed(path: Path) -> tuple[dict[str, Any], str]:
    """What a record says, and its text; UserError as `read_seal`."""
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
    return content, text


_CURVE = TypeAdapter(Curve, config=ConfigDict(strict=True, allow_inf_nan=False))


def read_curve(path: Path) -> Curve:
    """The curve of a run; empty if it is not there yet, or cannot be used: its start is lost, no more."""
    try:
        return _CURVE.validate_python(read_json(path))
    except (UserError, ValidationError):
        return {}


class Records:
    """The records of one profile, or those whose names begin so, listed once, and each read at most once."""

    def __init__(self, folder: Path, beginning: str = "") -> None:
        self._paths = {path: None for path in seen_in(folder, ".json") if path.name.startswith(beginning)}
        self._folder, self._read = folder, dict[Path, Record | str]()

    def find(self, name: str, train_sig: str, eval_sig: str, *, whole: bool = True) -> Record | Seal | str:
        """The record of one evaluation of a run, or its seal; else why what lies there does not count, or nothing."""
        path = self._folder / record_name(name, train_sig, eval_sig)
        found = "" if path not in self._paths else self._load(path) if whole else _or_why_not(read_seal, path)
        same = isinstance(found, str) or (found.train_sig, found.eval_sig) == (train_sig, eval_sig)
        return found if same else f"Move {path} away: it is the record of another evaluation."

    def all_readable(self) -> list[Record]:
        """All records that can be read: unchanged, under their own names, and in agreement with themselves."""
        return [each for each in map(self._load, self._paths) if isinstance(each, Record)]

    @property
    def broken(self) -> list[str]:
        """Why those that were read and cannot be used do not count."""
        return [each for each in self._read.values() if isinstance(each, str)]

    def _load(self, path: Path) -> Record | str:
        if path not in self._read:
            self._read[path] = _or_why_not(read_record, path)
        return self._read[path]


def _or_why_not(read: Callable[[Path], R], path: Path) -> R | str:
    try:
        return read(path)
    except UserError as error:
        return str(error)


def records_of(run: Run) -> list[Record]:
    """The records of a run, of every profile, that can be read."""
    folders = [run.store.records(profile) for profile in run.store.profiles()]
    found = [each for folder in folders for each in Records(folder, run.folder.name).all_readable()]
    return [each for each in found if each.train_sig == run.train_sig]
