"""Where everything of a run lies. One class derives every path.

results/runs/<name>-<train12>/
  spec.json                                          written once: the whole resolved configuration
  attempts/0001/                                     see `attempts`
  predictions/<inference>-<split12>/predictions.json.gz
results/records/<profile>/<name>-<train12>-<eval12>.json
results/scenes/<profile>/                             see `playback`
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ifrvis.errors import UserError
from ifrvis.files import canonical_json, publish_once, read_json, sha256_bytes
from ifrvis.harness.spec.signatures import TrainSpec
from ifrvis.harness.store.specs import Spec
from ifrvis.schema import validated

RECORD = re.compile(r".+-([0-9a-f]{12})-([0-9a-f]{12})\.json")


def short(signature: str) -> str:
    """The 12 hex digits of a signature that names carry."""
    return signature[:12]


def record_name(name: str, train_sig: str, eval_sig: str) -> str:
    """The name of a record's file."""
    return f"{name}-{short(train_sig)}-{short(eval_sig)}.json"


def record_paths(folder: Path) -> dict[tuple[str, str], list[Path]]:
    """The files of a folder whose names end as records' do, by the digits of both signatures."""
    found: dict[tuple[str, str], list[Path]] = {}
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        if match := RECORD.fullmatch(path.name):
            found.setdefault((match[1], match[2]), []).append(path)
    return found


@dataclass(frozen=True)
class Store:
    """The folder of all results, whose every path and name come from here."""

    root: Path

    def run(self, name: str, train_sig: str) -> "Run":
        """The run with this identity; its folder need not exist."""
        return Run(self, name, train_sig)

    def record(self, profile: str, name: str, train_sig: str, eval_sig: str) -> Path:
        """The only home of one record."""
        return self.records(profile) / record_name(name, train_sig, eval_sig)

    def records(self, profile: str) -> Path:
        """The folder of a profile's records."""
        return self.root / "records" / profile

    def scenes(self, profile: str) -> Path:
        """The folder of what the page of a profile plays."""
        return self.root / "scenes" / profile

    def profiles(self) -> list[str]:
        """The profiles that have records."""
        return sorted({path.parent.name for path in (self.root / "records").glob("*/*.json")})

    def run_folders(self) -> dict[str, Path]:
        """Every run's folder by the 12 digits of its identity, from one listing."""
        folder = self.root / "runs"
        return {path.name[-12:]: path for path in folder.iterdir()} if folder.is_dir() else {}

    def runs_named(self, name: str) -> list["Run"]:
        """The runs of this name, which differ in what is not in a name; else those whose names begin with it."""
        found = sorted(path.name for path in self.run_folders().values() if path.name.startswith(name))
        exact = [each for each in found if each.rpartition("-")[0] == name]
        return [self.run(each.rpartition("-")[0], each.rpartition("-")[2]) for each in exact or found]

    def runs_beginning(self, name: str) -> list["Run"]:
        """The same; there must be one.

        Raises:
            UserError: If there is none.
        """
        found = self.runs_named(name)
        if not found:
            raise UserError(f"Name tables or runs: {name!r} is no table, and no run in {self.root} begins so.")
        return found

    def one_run_named(self, name: str) -> "Run":
        """The run whose folder's name begins with `name`.

        Raises:
            UserError: If no run or more than one does.
        """
        found = self.runs_named(name)
        if len(found) != 1:
            known = ", ".join(run.folder.name for run in found) or "none"
            raise UserError(f"Name one run: those in {self.root / 'runs'} that begin with {name!r} are {known}.")
        return found[0]


@dataclass(frozen=True)
class Run:
    """One training of one model with one seed."""

    store: Store
    name: str
    train_sig: str

    @property
    def folder(self) -> Path:
        """Everything of this run but its records."""
        return self.store.root / "runs" / f"{self.name}-{short(self.train_sig)}"

    @property
    def attempts(self) -> Path:
        """The folder of the attempts."""
        return self.folder / "attempts"

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
        return self.folder / "predictions" / f"{inference['mode']}-{digest}-{short(split)}" / "predictions.json.gz"

    def write_spec(self, train: TrainSpec) -> None:
        """Write `spec.json` once; a second writer must bring the same.

        Raises:
            UserError: If another configuration stands there already.
        """
        spec, path = Spec(name=self.name, train_sig=self.train_sig, train=train), self.folder / "spec.json"
        if not publish_once(path, spec.text()) and self.read_spec() != spec:
            raise UserError(
                f"Move {self.folder} away: its spec.json is not the configuration that its name stands for."
            )

    def read_spec(self) -> Spec:
        """The content of `spec.json`, whose signature is checked.

        Raises:
            UserError: If the file is missing, broken, or not what its folder's name says.
        """
        path = self.folder / "spec.json"
        content = read_json(path, "the configuration of a run")
        try:
            spec = validated(Spec, content, str(path))
        except UserError as error:
            raise UserError(f"Restore {path} or move {self.folder} away: {error}") from error
        if (spec.name, spec.train_sig) != (self.name, self.train_sig):
            raise UserError(f"Restore {path} or move {self.folder} away: it does not match its signature.")
        return spec
