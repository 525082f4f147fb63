"""Where everything that is kept lies: no other module knows the name of a folder, or how names are made of signatures.

results/
  runs/<name>-<train12>/
    spec.json                  written once: the whole resolved configuration
    attempts/0001/             see `attempts`
    predictions/<inference>-<split12>/predictions.json.gz, cost.json
    curve.json, weights.pth    of a run that is watched, and of a pretraining
  records/<profile>/<name>-<train12>-<eval12>.json, and beside it .videos.json.gz
  scenes/<profile>/            what the page's viewer plays
  bootstrap/<profile>.json     intervals over videos
  jobs/<array>/                what was submitted to a cluster
  snapshots/<code12>/          copies of the code

Names carry 12 hex digits of a signature; everywhere else signatures are whole.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ifrvis.errors import UserError
from ifrvis.files import canonical_json, publish_once, seen_in, sha256_bytes
from ifrvis.harness.spec.signatures import Sha256, TrainSpec, train_signature
from ifrvis.schema import Model, read_model

SPEC = "spec.json"
# Of runs: a part of paths, made of the names of method, backbone and data set, and of what a row changes.
RunName = Annotated[str, Field(pattern=r"^[^/.\x00-\x1f][^/\x00-\x1f]*$", max_length=200)]


class Spec(Model):
    """`spec.json`: what one run trains, under the name and the signature that follow from it."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    name: RunName
    train_sig: Sha256
    train: TrainSpec

    @model_validator(mode="after")
    def _is_its_own(self) -> Self:
        if self.train_sig != train_signature(self.train):
            raise ValueError("Restore the configuration of this run: it does not match its signature")
        return self

    def text(self) -> bytes:
        """The file as it is written."""
        return canonical_json(self.model_dump(by_alias=True)) + b"\n"


def _short(signature: str) -> str:
    return signature[:12]


def record_name(name: str, train_sig: str, eval_sig: str) -> str:
    """The name of a record's file."""
    return f"{name}-{_short(train_sig)}-{_short(eval_sig)}.json"


def videos_beside(record: Path) -> Path:
    """The file of what each video adds to a record's numbers, wherever the record lies."""
    return record.with_suffix(".videos.json.gz")


@dataclass(frozen=True)
class Store:
    """The folder of all results."""

    root: Path

    @property
    def jobs(self) -> Path:
        """The folder of what was submitted to a cluster: absolute, because jobs begin elsewhere."""
        return self.root.resolve() / "jobs"

    @property
    def snapshots(self) -> Path:
        """The folder of the copies of the code, absolute too."""
        return self.root.resolve() / "snapshots"

    def snapshot(self, digest: str) -> Path:
        """The copy of the code with this SHA-256."""
        return self.snapshots / _short(digest)

    def scenes(self, profile: str) -> Path:
        """The folder of what a profile's page plays."""
        return self.root / "scenes" / profile

    def bootstrap(self, profile: str) -> Path:
        """The intervals over videos of a profile's records."""
        return self.root / "bootstrap" / f"{profile}.json"

    def records(self, profile: str) -> Path:
        """The folder of a profile's records."""
        return self.root / "records" / profile

    def record(self, profile: str, name: str, train_sig: str, eval_sig: str) -> Path:
        """The only home of one record."""
        return self.records(profile) / record_name(name, train_sig, eval_sig)

    def widowed_videos(self, profile: str) -> list[Path]:
        """Files of what videos add whose records are gone, or not yet there."""
        found = {videos_beside(path) for path in seen_in(self.records(profile), ".json")}
        return sorted(set(seen_in(self.records(profile), ".videos.json.gz")) - found)

    def check_there(self) -> None:
        """UserError if there is no such folder: what is asked of it would be answered by nothing."""
        if not self.root.is_dir():
            cure = "Run rows first, or give with --results (or IFRVIS_RESULTS) the folder that others are in"
            raise UserError(f"{cure}: there is none at {self.root}.")

    def profiles(self) -> list[str]:
        """The profiles of which there are records."""
        return [path.name for path in seen_in(self.records("")) if path.is_dir()]

    def run(self, name: str, train_sig: str) -> "Run":
        """The run with this identity; its folder need not exist."""
        return Run(self, name, train_sig)

    def run_folders(self) -> list[Path]:
        """The folders of all runs, from one listing."""
        return seen_in(self.root / "runs")

    def runs(self) -> list["Run"]:
        """All runs whose `spec.json` can be used."""
        found = []
        for folder in self.run_folders():
            try:
                found.append(run_at(folder))
            except UserError:
                continue
        return found


@dataclass(frozen=True)
class Run:
    """One training of one model with one seed."""

    store: Store
    name: str
    train_sig: str

    @property
    def folder(self) -> Path:
        """Everything of this run but its records."""
        return self.store.root / "runs" / _run_folder(self.name, self.train_sig)

    @property
    def attempts(self) -> Path:
        """The folder of the attempts."""
        return self.folder / "attempts"

    @property
    def spec(self) -> Path:
        """The specification's file."""
        return self.folder / SPEC

    @property
    def curve(self) -> Path:
        """AP on the watched videos by iteration, from before the first."""
        return self.folder / "curve.json"

    @property
    def weights(self) -> Path:
        """What a pretraining publishes for the runs that start from it."""
        return self.folder / "weights.pth"

    def predictions(self, inference: dict[str, Any], split: str) -> Path:
        """The predictions of this run under one inference on one split (a fingerprint)."""
        digest = sha256_bytes(canonical_json(inference))[:8]
        return self.folder / "predictions" / f"{inference['mode']}-{digest}-{_short(split)}" / "predictions.json.gz"

    def prediction_cost(self, inference: dict[str, Any], split: str) -> Path:
        """What these predictions took."""
        return self.predictions(inference, split).with_name("cost.json")

    def all_predictions(self) -> list[Path]:
        """The predictions that are here."""
        return sorted(self.folder.glob("predictions/*/predictions.json.gz"))

    def write_spec(self, train: TrainSpec) -> None:
        """Write `spec.json` once; UserError if another configuration stands there already."""
        spec = Spec(name=self.name, train_sig=self.train_sig, train=train)
        if not publish_once(self.spec, spec.text()) and self.read_spec() != spec:
            raise UserError(
                f"Move {self.folder} away: its spec.json is not the configuration that its name stands for."
            )

    def read_spec(self) -> Spec:
        """The content of `spec.json`; UserError as `run_at`."""
        return _spec_in(self.folder)


def run_holding(path: Path) -> Run | None:
    """The run in whose folder a file lies, if it does in any; UserError as `run_at`."""
    return next((run_at(each) for each in path.resolve().parents if (each / SPEC).is_file()), None)


def run_at(folder: Path) -> Run:
    """The run of a folder; UserError if its `spec.json` is missing, broken, or not what the folder's name says."""
    spec = _spec_in(folder)
    return Run(Store(folder.parents[1]), spec.name, spec.train_sig)


def _run_folder(name: str, train_sig: str) -> str:
    return f"{name}-{_short(train_sig)}"


def _spec_in(folder: Path) -> Spec:
    path, cure = folder / SPEC, f"Restore {folder / SPEC} or move {folder} away"
    try:
        spec = read_model(Spec, path, "the configuration of a run")
    except UserError as error:
        raise UserError(f"{cure}: {error}") from error
    if folder.name != _run_folder(spec.name, spec.train_sig):
        raise UserError(f"{cure}: it is not what the name stands for.")
    return spec
