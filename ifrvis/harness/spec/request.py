"""What a user asks for, as far as a report can be made of it: tables at a scale, with rows, seeds and changes."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ifrvis.errors import UserError, nearest
from ifrvis.harness.spec.compose import Composed
from ifrvis.harness.spec.profiles import Profile
from ifrvis.harness.spec.recipes import trained_on
from ifrvis.harness.spec.signatures import run_name
from ifrvis.harness.spec.tables import Row, Table


@dataclass(frozen=True)
class TableRequest:
    """Tables at a scale, which of their rows and seeds, and what takes the runs off their specification."""

    tables: tuple[Table, ...]
    profile: Profile
    rows: tuple[str, ...] | None = None
    num_seeds: int | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    dataset: str | None = None
    init: Path | None = None

    @property
    def off_spec(self) -> bool:
        """Whether `--set`, `--dataset` or `--init` make these other runs than the tables'."""
        return bool(self.changes)

    @property
    def changes(self) -> str:
        """Those options, as typed but without folders; empty if there are none."""
        options = [f"--dataset {Path(self.dataset).stem}"] if self.dataset else []
        options += [f"--init {self.init.name}"] if self.init else []
        return " ".join(options + [f"--set {key}={value}" for key, value in self.overrides.items()])

    def run_name(self, row: Row, composed: Composed, seed: int) -> str:
        """The name of what trains a row with one seed."""
        data = Path(self.dataset).stem if self.dataset else trained_on(row.dataset).name
        return run_name(row.method, row.backbone, data, composed.changes, seed)

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

    def selected(self, table: Table) -> tuple[Row, ...]:
        """The rows asked for of one table; of several tables each may lack some of them.

        Raises:
            UserError: If an id is no row of any.
        """
        if self.rows is None or len(self.tables) == 1:
            return table.selected(list(self.rows) if self.rows else None)
        known = [row.id for each in self.tables for row in each.rows]
        if unknown := [name for name in self.rows if name not in known]:
            near = nearest(unknown[0], known)
            raise UserError(f"Choose rows that one of the tables has: none has {unknown[0]!r}{near}.")
        return tuple(row for row in table.rows if row.id in self.rows)
