"""What a user asks for, as far as a report can be made of it: tables at a scale, with rows, seeds and changes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ifrvis.datasets.catalog import Dataset
from ifrvis.errors import UserError
from ifrvis.harness.spec.compose import Composed, compose_row
from ifrvis.harness.spec.profiles import PRETRAINING, Profile
from ifrvis.harness.spec.recipes import trained_on
from ifrvis.harness.spec.signatures import run_name
from ifrvis.harness.spec.tables import Row, Table, check_rows, command_name
from ifrvis.harness.spec.weights import Given
from ifrvis.packed import SET_YAML


@dataclass(frozen=True)
class Specified:
    """What a request makes of a row."""

    row: Row  # as its table declares it
    composed: Composed  # what it trains and how it is evaluated
    dataset: Dataset  # on what
    data: str  # what names of runs call that
    init: str | None  # the name of the initial weights; None for a random start
    # Whether `--set`, `--dataset` or `--init` make this another run, or another evaluation, than the row's own.
    off_spec: bool

    def run_name(self, seed: int) -> str:
        """The name of what trains the row with one seed."""
        return run_name(self.row.method, self.row.backbone, self.data, self.composed.changes, seed)


@dataclass(frozen=True)
class TableRequest:
    """Tables at a scale, which of their rows and seeds, and what may take rows off their specification."""

    tables: tuple[Table, ...]
    profile: Profile
    rows: tuple[str, ...] | None = None
    num_seeds: int | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    dataset: str | None = None
    init: Given | None = None

    @property
    def data(self) -> str:
        """`--dataset` without folders, but that of a set whose YAML is called as all are; empty without it."""
        given = Path(self.dataset or "")
        return given.resolve().parent.name if given.name == SET_YAML else given.stem

    @property
    def changes(self) -> str:
        """`--dataset`, `--init` and `--set`, as typed but without folders; empty if there are none."""
        options = [f"--dataset {self.data}"] if self.dataset else []
        options += [f"--init {self.init.name}"] if self.init else []
        return " ".join(options + [f"--set {key}={value}" for key, value in self.overrides.items()])

    def with_real_weights(self, table: Table, rows: Iterable[str], dataset: str | None) -> str:
        """The command that trains rows of a table, on what `--dataset` says, from real weights at full size; empty if
        the table is for another profile alone.
        """
        if table.profile:
            return ""
        options = [f"--rows {','.join(rows)}", *[f"--dataset {dataset}"] * bool(dataset)]
        return f"`ifrvis run {command_name(table)} {' '.join(options)} --profile paper`"

    @property
    def on(self) -> str:
        """What stands behind a row that `--dataset` takes off its specification: its name may say another set."""
        return f" on {self.data}" if self.dataset else ""

    def specify(self, row: Row, load: Callable[[str], Dataset]) -> Specified:
        """What the request makes of a row, which the options change or leave as it is; `load` finds a data set.
        UserError if an override or a data set is wrong.
        """
        sets, data = self.profile.datasets, trained_on(row.dataset)[0]
        own = dataset = load(sets.get(row.dataset, row.dataset))
        if self.dataset is not None and (given := load(self.dataset)).config != own.config:
            dataset = given
            data = next((name for name, each in sets.items() if load(each).config == given.config), given.name)
        classes = dataset.config.categories
        plain = composed = compose_row(row, self.profile, {}, num_classes=classes)
        if self.overrides:
            composed = compose_row(row, self.profile, self.overrides, num_classes=classes)
        init, own_init = composed.train["init"], plain.train["init"]
        off_spec = dataset is not own or composed != plain
        if self.init is not None:
            init, off_spec = self.init.name, off_spec or self.init.name != own_init or own_init == PRETRAINING
        return Specified(row, composed, dataset, data, init, off_spec)

    def seeds(self, table: Table) -> tuple[int, ...]:
        """The first N declared seeds of a table; UserError if N is not between 1 and the number of declared seeds."""
        if self.num_seeds is None:
            return table.seeds
        if not 1 <= self.num_seeds <= len(table.seeds):
            declared = ", ".join(map(str, table.seeds))
            raise UserError(
                f"Give --seeds a number from 1 to {len(table.seeds)}, that of the seeds that {table.name} declares "
                f"({declared}), not {self.num_seeds}."
            )
        return table.seeds[: self.num_seeds]

    def selected(self, table: Table) -> tuple[Row, ...]:
        """The rows asked for of one table, which of several may lack some; UserError if an id is no row of any."""
        check_rows(self.tables, self.rows or ())
        return table.rows if self.rows is None else tuple(row for row in table.rows if row.id in self.rows)
