"""A table as data: its rows, columns, declared seeds, protocol and the paper's values as printed."""

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from ifrvis.errors import UserError
from ifrvis.files import read_yaml
from ifrvis.packed import packed_names, packed_yaml
from ifrvis.schema import check_name, construct, is_number

Protocol = Literal["heldout", "server"]
Published = tuple[float | None, float | None]  # mean and std in percent as printed; a dash is None
ROW_ID = re.compile(r"[a-z0-9][a-z0-9.-]*")
DATASETS = ("ytvis19", "ytvis21")


@dataclass(frozen=True)
class Row:
    """One line of a table: a method, a backbone, a dataset, and what differs from the recipe."""

    id: str
    method: str
    backbone: str
    dataset: str
    label: str = ""
    group: str = ""
    data: str = ""
    set: dict[str, Any] = field(default_factory=dict)
    inference: dict[str, Any] = field(default_factory=dict)
    published: dict[str, Published] = field(default_factory=dict)
    note: str = ""

    @property
    def overrides(self) -> dict[str, Any]:
        """Dotted recipe keys and the row's values of them."""
        return {**self.set, **{f"inference.{key}": value for key, value in self.inference.items()}}


@dataclass(frozen=True)
class Statement:
    """The mean or the standard deviation of a metric is higher, or lower, in the first row of a pair."""

    metric: str
    of: Literal["mean", "std"]
    side: Literal["higher", "lower"]


@dataclass(frozen=True)
class Claim:
    """What the paper claims: every statement, of every pair of rows."""

    text: str
    place: str
    says: tuple[Statement, ...]
    pairs: tuple[tuple[str, str], ...]
    note: str = ""


@dataclass(frozen=True)
class Paper:
    """Where the paper's values come from, and what is as good as equal to them.

    Args:
        protocol: Under which they were measured.
        runs: Trainings behind each mean; 1 where the paper does not say.
        tolerance: By metric, in its printed unit: what another implementation may differ by, beside chance.
    """

    protocol: Protocol = "server"
    runs: int = 1
    tolerance: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Axis:
    """What a figure draws its rows over: a recipe's dotted key, its name, and what the paper reads from the figure."""

    key: str
    label: str
    reading: str


@dataclass(frozen=True)
class Table:
    """A table of the paper, or a figure whose points are rows.

    `heads` are the columns before the numbers, in the paper's order: a field of the rows, and what stands above it.
    """

    name: str
    title: str
    place: str
    kind: Literal["ap", "tracking"]
    protocol: Protocol
    seeds: tuple[int, ...]
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    paper: Paper = Paper()
    axis: Axis | None = None
    heads: dict[str, str] = field(default_factory=lambda: {"group": "Method", "label": "Backbone", "data": "Data"})

    def selected(self, ids: list[str] | None) -> tuple[Row, ...]:
        """The rows with these ids in the table's order, or all of them.

        Raises:
            UserError: If an id is not a row of this table.
        """
        if ids is None:
            return self.rows
        known = {row.id for row in self.rows}
        unknown = [name for name in ids if name not in known]
        if unknown:
            raise UserError(f"Choose rows of {self.name} among {', '.join(sorted(known))}: no row {unknown[0]!r}.")
        return tuple(row for row in self.rows if row.id in ids)


def load_table(name: str) -> Table:
    """The table `name` of `experiments/tables/`, or of a YAML file.

    Raises:
        UserError: If there is no such table or its YAML is wrong.
    """
    path = packed_yaml("tables", name)
    table = construct(Table, read_yaml(path, "the table"), str(path))
    check_name(table.name, f"the table's name in {path}")
    _check_rows(table, str(path))
    _check_claims(table, str(path))
    return table


def load_tables(names: list[str]) -> list[Table]:
    """The tables named; `all` stands for every packed one."""
    expanded = [each for name in names for each in (packed_names("experiments", "tables") if name == "all" else [name])]
    return [load_table(name) for name in dict.fromkeys(expanded)]


def _check_rows(table: Table, where: str) -> None:
    seen: set[str] = set()
    for row in table.rows:
        if not ROW_ID.fullmatch(row.id):
            raise UserError(f"Rename row {row.id!r} in {where}: ids are lower-case letters, digits, '.' and '-'.")
        for key, name in (("id", row.id), ("method", row.method), ("backbone", row.backbone)):
            check_name(name, f"the {key} of row {row.id!r} in {where}")  # methods and backbones are packaged configs
        if row.id in seen:
            raise UserError(f"Remove or rename one of the two rows {row.id!r} in {where}.")
        seen.add(row.id)
        if row.dataset not in DATASETS:
            raise UserError(f"Set 'dataset' of row {row.id!r} in {where} to one of {', '.join(DATASETS)}.")
        unknown = [metric for metric in row.published if metric not in table.metrics]
        if unknown:
            raise UserError(f"Add {unknown[0]!r} to 'metrics' of {where}, or drop it from row {row.id!r}.")
    metrics = table.metrics
    if not metrics or len(set(metrics)) < len(metrics) or not all(metric.isalnum() for metric in metrics):
        raise UserError(f"Give {where} distinct 'metrics' of letters and digits.")
    if not table.seeds or len(set(table.seeds)) != len(table.seeds) or min(table.seeds) < 0:
        raise UserError(f"Give {where} distinct 'seeds' of 0 or more.")


def _check_claims(table: Table, where: str) -> None:
    rows, unknown = {row.id for row in table.rows}, set(table.heads) - {"group", "label", "data"}
    if unknown or not table.heads:
        raise UserError(f"Name fields of rows in 'heads' of {where}: group, label, data.")
    if table.axis and any(not is_number(row.set.get(table.axis.key)) for row in table.rows):
        raise UserError(f"Set {table.axis.key!r} of every row of {where} to a number: the figure draws over it.")
    if table.paper.runs < 1 or min(table.paper.tolerance.values(), default=0) < 0:
        raise UserError(f"Make 'runs' of 'paper' in {where} 1 or more, and every tolerance 0 or more.")
    for claim in table.claims:
        named = {row for pair in claim.pairs for row in pair}
        metrics = {statement.metric for statement in claim.says}
        if not (named and metrics and named <= rows and metrics <= set(table.metrics)):
            raise UserError(f"Make the claim {claim.text!r} in {where} one on its own metrics and pairs of rows.")
