"""The plan: which trainings and evaluations some tables need, what exists and what is missing.

Rows that train the same model with the same seed share the training. Nothing here starts anything.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ifrvis.datasets.catalog import Dataset, Role, Split, load_dataset
from ifrvis.errors import UserError
from ifrvis.files import sha256_file
from ifrvis.harness.attempts import latest
from ifrvis.harness.compose import Composed, Profile, compose
from ifrvis.harness.identity import eval_signature, run_name, train_signature, train_spec
from ifrvis.harness.records import Records
from ifrvis.harness.runs import Results, Run, short
from ifrvis.harness.tables import Protocol, Row, Table

__all__ = ["Evaluation", "Plan", "PlannedRow", "Request", "State", "Training", "make_plan"]

State = Literal[
    "not run", "not implemented", "data missing", "pending", "running", "failed", "other protocol", "complete"
]
WORST_FIRST: tuple[State, ...] = ("not implemented", "data missing", "failed", "running", "pending", "not run")


@dataclass(frozen=True)
class Request:
    """What a user asks for: tables at a scale, with seeds, and what takes the runs off their specification."""

    tables: tuple[Table, ...]
    profile: Profile
    data_root: Path
    results: Results
    rows: tuple[str, ...] | None = None
    num_seeds: int | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    dataset: str | None = None
    init: Path | None = None

    @property
    def off_spec(self) -> bool:
        """Whether `--set`, `--dataset` or `--init` make these other runs than the tables'."""
        return bool(self.overrides or self.dataset or self.init)

    def seeds(self, table: Table) -> tuple[int, ...]:
        """The first N declared seeds of a table.

        Raises:
            UserError: If N is not between 1 and the number of declared seeds.
        """
        if self.num_seeds is None:
            return table.seeds
        if not 1 <= self.num_seeds <= len(table.seeds):
            raise UserError(f"Give --seeds a number from 1 to {len(table.seeds)}: {table.name} declares {table.seeds}.")
        return table.seeds[: self.num_seeds]


@dataclass
class Evaluation:
    """One training evaluated one way; one record."""

    training: "Training"
    inference: dict[str, Any]
    split: Split
    protocol: Protocol
    sig: str | None
    rows: list[str] = field(default_factory=list)
    state: State = "not run"
    record: dict[str, Any] | None = None
    problem: str = ""


@dataclass
class Training:
    """One training of one model with one seed."""

    name: str
    method: str
    backbone: str
    dataset: Dataset
    split: Split
    spec: dict[str, Any]
    sig: str | None
    est_hours: float | None
    init_path: Path | None = None
    rows: list[str] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    state: State = "not run"
    missing: str = ""

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.spec["seed"])

    def run(self, results: Results) -> Run:
        """The run that this training is."""
        assert self.sig is not None
        return results.run(self.name, self.sig)


@dataclass
class PlannedRow:
    """A row of a table with one evaluation for each seed asked for."""

    table: Table
    row: Row
    reason: str = ""  # why it cannot run, where it cannot
    evaluations: dict[int, Evaluation] = field(default_factory=dict)
    unavailable: State | None = None

    @property
    def state(self) -> State:
        """Complete if every seed is; else the state that says most about what is missing."""
        if self.unavailable:
            return self.unavailable
        states = {evaluation.state for evaluation in self.evaluations.values()}
        return next((state for state in WORST_FIRST if state in states), "complete")


@dataclass
class Plan:
    """All that some tables need."""

    request: Request
    rows: list[PlannedRow]
    trainings: list[Training]

    @property
    def evaluations(self) -> list[Evaluation]:
        """The evaluations of all trainings."""
        return [evaluation for training in self.trainings for evaluation in training.evaluations]

    @property
    def to_run(self) -> list[Training]:
        """Trainings of which some record is not there yet and can be made."""
        return [training for training in self.trainings if training.state not in ("complete", "data missing")]

    @property
    def data_missing(self) -> list[str]:
        """What has to be put somewhere before everything can run, each once."""
        return list(dict.fromkeys(training.missing for training in self.trainings if training.missing))

    @property
    def est_hours(self) -> float | None:
        """Estimated hours of all trainings that are still to run, if each has an estimate."""
        known = [training.est_hours for training in self.to_run]
        return None if None in known else sum(hours for hours in known if hours is not None)

    def as_json(self) -> dict[str, Any]:
        """The shape that `plan --json` prints."""
        tables = [
            {"name": table.name, "rows": [_row_json(planned) for planned in self.rows if planned.table is table]}
            for table in self.request.tables
        ]
        return {
            "tables": tables,
            "trainings": [_training_json(training) for training in self.trainings],
            "evaluations": [_evaluation_json(evaluation) for evaluation in self.evaluations],
        }


def make_plan(request: Request) -> Plan:
    """Plan every row and seed that is asked for, and look up what exists.

    Raises:
        UserError: If a row, an override or a dataset is wrong.
    """
    builder = _Builder(request)
    rows = [builder.planned(table, row) for table in request.tables for row in _selected(request, table)]
    if not rows:
        raise UserError("Choose rows that one of the tables has: --rows matches none.")
    trainings = list(builder.trainings.values())
    _look_up(trainings, request)
    return Plan(request, rows, trainings)


def _selected(request: Request, table: Table) -> tuple[Row, ...]:
    if request.rows is None or len(request.tables) == 1:
        return table.selected(list(request.rows) if request.rows else None)
    return tuple(row for row in table.rows if row.id in request.rows)


class _Builder:
    """Collects trainings and evaluations, each once."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.trainings: dict[str, Training] = {}
        self._datasets: dict[str, Dataset] = {}
        self._splits: dict[tuple[str, Role], Split] = {}
        self._weights: dict[Path, str | None] = {}

    def planned(self, table: Table, row: Row) -> PlannedRow:
        """One row with its evaluations, one a seed."""
        request, planned = self.request, PlannedRow(table, row)
        dataset = self._dataset(row)
        composed = compose(row, request.profile, request.overrides, num_classes=dataset.config.categories)
        if composed.not_implemented:
            planned.unavailable, planned.reason = "not implemented", composed.not_implemented
            return planned
        for seed in request.seeds(table):
            training = self._training(row, composed, dataset, seed)
            training.rows.append(f"{table.name}/{row.id}")
            planned.evaluations[seed] = self._evaluation(training, table, row, composed)
        return planned

    def _dataset(self, row: Row) -> Dataset:
        name = self.request.dataset or self.request.profile.datasets.get(row.dataset, row.dataset)
        if name not in self._datasets:
            self._datasets[name] = load_dataset(name, self.request.data_root)
        return self._datasets[name]

    def _split(self, dataset: Dataset, role: Role) -> Split:
        key = (dataset.name, role)
        if key not in self._splits:
            self._splits[key] = dataset.split(role)
        return self._splits[key]

    def _training(self, row: Row, composed: Composed, dataset: Dataset, seed: int) -> Training:
        split = self._split(dataset, "train")
        init_path, init, missing = self._initial_weights(composed.train["init"])
        spec = train_spec(composed, data=split.fingerprint, init=init, seed=seed)
        known = split.fingerprint is not None and not missing
        sig = train_signature(spec) if known else None
        schedule = self.request.dataset or row.dataset
        name = run_name(row.method, row.backbone, Path(schedule).stem, composed.changes, seed)
        hours = self.request.profile.est_hours.get(row.backbone)
        training = Training(name, row.method, row.backbone, dataset, split, spec, sig, hours, init_path)
        if not known:
            training.missing = split.missing if split.fingerprint is None else missing
        return self.trainings.setdefault(sig or name, training)

    def _initial_weights(self, named: str | None) -> tuple[Path | None, str | None, str]:
        """Path and SHA-256 of the weights that a training starts from, and what to do if they are not there."""
        if self.request.init is None and named is None:
            return None, None, ""
        path = self.request.init or self.request.data_root / "weights" / f"{named}.pth"
        if path not in self._weights:
            self._weights[path] = sha256_file(path) if path.is_file() else None
        digest = self._weights[path]
        missing = "" if digest else f"Put the initial weights where they are expected: {path} does not exist."
        return path, digest, missing

    def _evaluation(self, training: Training, table: Table, row: Row, composed: Composed) -> Evaluation:
        split = self._split(training.dataset, "heldout")
        known = training.sig is not None and split.fingerprint is not None
        sig = eval_signature(training.sig or "", composed.inference, split.fingerprint or "") if known else None
        for evaluation in training.evaluations:
            if (evaluation.inference, evaluation.protocol) == (composed.inference, table.protocol):
                evaluation.rows.append(f"{table.name}/{row.id}")
                return evaluation
        evaluation = Evaluation(training, composed.inference, split, table.protocol, sig, [f"{table.name}/{row.id}"])
        training.evaluations.append(evaluation)
        return evaluation


def _look_up(trainings: list[Training], request: Request) -> None:
    """Fill in the states from records and attempts, with one listing of each folder."""
    records = Records(request.results.root / "records" / request.profile.name)
    folders = request.results.run_folders()
    for training in trainings:
        unfinished = _unfinished_state(training, request, folders)
        for evaluation in training.evaluations:
            _look_up_record(evaluation, records, unfinished)
        training.rows = list(dict.fromkeys(training.rows))
        states = {evaluation.state for evaluation in training.evaluations}
        training.state = "complete" if states == {"complete"} else unfinished


def _look_up_record(evaluation: Evaluation, records: Records, unfinished: State) -> None:
    sig, train_sig = evaluation.sig, evaluation.training.sig
    evaluation.state = unfinished
    if sig is None or train_sig is None:
        evaluation.state = "data missing"
        return
    record = records.find(train_sig, sig)
    evaluation.problem = records.problem(train_sig, sig)
    if record is not None:
        evaluation.record = record
        evaluation.state = "complete" if record["protocol"] == evaluation.protocol else "other protocol"


def _unfinished_state(training: Training, request: Request, folders: dict[str, Path]) -> State:
    """The state of a training some of whose records are not there."""
    if training.sig is None:
        return "data missing"
    if short(training.sig) in folders:
        attempt = latest(training.run(request.results))
        if attempt is not None:
            state = attempt.state()
            if state in ("pending", "running", "failed"):
                return state
            return "not run" if state == "complete" else "pending"  # killed or stopped: the same command goes on
    return "pending" if training.split.makeable else "not run"


def _row_json(planned: PlannedRow) -> dict[str, Any]:
    row = planned.row
    published = {metric: list(row.published.get(metric, (None, None))) for metric in planned.table.metrics}
    return {
        "id": row.id,
        "method": row.method,
        "backbone": row.backbone,
        "dataset": row.dataset,
        "state": planned.state,
        "published": published,
    }


def _training_json(training: Training) -> dict[str, Any]:
    return {
        "sig": training.sig,
        "name": training.name,
        "seed": training.seed,
        "rows": training.rows,
        "state": training.state,
        "after": [],
        "est_gpu_hours": training.est_hours,
    }


def _evaluation_json(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "sig": evaluation.sig,
        "train_sig": evaluation.training.sig,
        "rows": evaluation.rows,
        "inference": evaluation.inference,
        "state": evaluation.state,
    }
