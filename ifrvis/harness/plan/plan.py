"""The plan: which trainings and evaluations some tables need, what exists and what is missing.

Rows that train the same model with the same seed share the training. Nothing here starts anything.
"""

import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ifrvis.datasets.catalog import Dataset, Split
from ifrvis.harness.spec.compose import MixedIn
from ifrvis.harness.spec.request import TableRequest
from ifrvis.harness.spec.signatures import TrainSpec
from ifrvis.harness.spec.tables import Protocol, Row, Table
from ifrvis.harness.store.attempts import Attempt
from ifrvis.harness.store.paths import Run, Store
from ifrvis.harness.store.records import Record, Records
from ifrvis.harness.store.states import WORST_FIRST, PlanState


@dataclass(frozen=True, kw_only=True)
class Request(TableRequest):
    """What is asked for, and where data and results lie."""

    data_root: Path
    store: Store
    no_shipped_weights: bool = False


@dataclass
class Evaluation:
    """One training evaluated one way; one record."""

    training: "Training"
    inference: dict[str, Any]
    split: Split
    protocol: Protocol
    sig: str | None
    rows: list[str] = field(default_factory=list)
    state: PlanState = "not run"
    record: Record | None = None
    problem: str = ""
    off_spec: bool = False  # no row has it as its own


@dataclass
class Training:
    """One training of one model with one seed."""

    name: str
    method: str
    backbone: str
    dataset: Dataset
    split: Split
    spec: TrainSpec
    sig: str | None
    est_hours: float | None
    init_path: Path | None = None
    init_name: str | None = None  # what the recipe, or --init, calls it
    rows: list[str] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    state: PlanState = "not run"
    missing: list[str] = field(default_factory=list)  # what to put where, before it can run
    stills: MixedIn | None = None
    after: "Training | None" = None  # the pretraining whose weights this starts from
    shipped: Path | None = None  # its weights come with the program
    measured_hours: float | None = None  # that trainings like this one took
    est_bytes: int = 0
    waits_for: str = ""  # the failure that somebody has to look at before it is started again
    attempt: Attempt | None = None  # the last one, of a training that is not complete
    problem: str = ""  # why it is made again

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.spec.seed

    @property
    def est_gpu_hours(self) -> float | None:
        """Hours of a GPU (of a core, in profiles without): measured on siblings, else the profile's estimate."""
        return self.est_hours if self.measured_hours is None else self.measured_hours

    @property
    def is_pretraining(self) -> bool:
        """Whether other trainings start from its weights."""
        return self.split.role == "pretrain"

    def run(self, store: Store) -> Run:
        """The run that this training is."""
        assert self.sig is not None
        return store.run(self.name, self.sig)

    def has_weights(self, store: Store) -> bool:
        """Whether those that start from its weights, if any do, find them."""
        return not self.is_pretraining or self.shipped is not None or self.run(store).weights.is_file()

    def initial_weights(self, store: Store) -> Path | None:
        """The file that the training starts from."""
        if self.after is None:
            return self.init_path
        return self.after.shipped or self.after.run(store).weights


@dataclass
class PlannedRow:
    """A row of a table with one evaluation for each seed asked for."""

    table: Table
    row: Row
    off_spec: bool  # the options make other runs or evaluations of it
    evaluations: dict[int, Evaluation] = field(default_factory=dict)

    @property
    def state(self) -> PlanState:
        """Complete if every seed is; else the state that says most about what is missing."""
        return min((evaluation.state for evaluation in self.evaluations.values()), key=WORST_FIRST.index)


@dataclass
class Plan:
    """All that some tables need."""

    request: Request
    rows: list[PlannedRow]
    trainings: list[Training]

    @functools.cached_property
    def records(self) -> Records:
        """The records of the profile, each read at most once."""
        return Records(self.request.store.records(self.request.profile.name))

    @property
    def evaluations(self) -> list[Evaluation]:
        """The evaluations of all trainings."""
        return [evaluation for training in self.trainings for evaluation in training.evaluations]

    @property
    def to_run(self) -> list[Training]:
        """Trainings of which some record is not there yet and can be made; not those that wait for `retry`."""
        ended = ("complete", "data missing", "failed")
        wanted = [training for training in self.trainings if training.state not in ended]
        needed = {id(training.after) for training in wanted}
        return [training for training in wanted if not training.is_pretraining or id(training) in needed]

    @property
    def data_missing(self) -> list[str]:
        """What has to be put somewhere before everything can run, each once."""
        return list(dict.fromkeys(each for training in self.trainings for each in training.missing))

    def as_json(self) -> dict[str, Any]:
        """The shape that `plan --json` prints."""
        tables = {
            table.name: [_row_json(each) for each in self.rows if each.table is table] for table in self.request.tables
        }
        return {
            "tables": [{"name": name, "rows": rows} for name, rows in tables.items()],
            "trainings": [
                _said(each, "sig", "name", "seed", "rows", "state", "est_gpu_hours")
                | {"after": [each.after.sig] if each.after else []}
                for each in self.trainings
            ],
            "evaluations": [
                _said(each, "sig", "rows", "inference", "state") | {"train_sig": each.training.sig}
                for each in self.evaluations
            ],
        }


def _row_json(planned: PlannedRow) -> dict[str, Any]:
    published = planned.row.published
    return {
        **_said(planned.row, "id", "method", "backbone", "dataset"),
        "state": planned.state,
        "published": {metric: list(published.get(metric, (None, None))) for metric in planned.table.metrics},
    }


def _said(of: Any, *names: str) -> dict[str, Any]:
    return {name: getattr(of, name) for name in names}
