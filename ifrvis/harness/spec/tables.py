"""A table as data: its rows, columns, declared seeds, protocol and the paper's values as printed."""

import functools
import math
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ifrvis.datasets.catalog import WHOLE, Part, load_config
from ifrvis.errors import UserError, nearest
from ifrvis.evaluation.scores import COLUMNS
from ifrvis.harness.spec.profiles import Profile
from ifrvis.harness.spec.recipes import trained_on
from ifrvis.packed import packed_names, packed_yaml
from ifrvis.schema import Distinct, Model, Name, is_number, read_model

Protocol = Literal["heldout", "server"]
# Mean and std in percent as printed; a dash is None.
Published = tuple[float | None, Annotated[float, Field(ge=0)] | None]
Head = Literal["group", "label", "data"]
HEADS: dict[Head, str] = {"group": "Method", "label": "Backbone", "data": "Data"}
UNJUDGED = ("FPS",)  # columns that depend on the machine and on what else it did
EXTERNAL = "external"  # the method of rows that another program's predictions fill
TRACKED = ("IDF1", "MOTA", "HOTA", "IDs", "errors")
ROW_ID = re.compile(r"[a-z0-9][a-z0-9.-]*")


class Row(Model):
    """One line of a table: a method, a backbone, a dataset, and what differs from the recipe.

    A quoted row is not run: it has published values alone, with their source and the protocol they came under. One of
    method `external` is not run either: `ifrvis ingest --predictions` scores what another program predicted for it.
    """

    id: Name
    method: Name
    backbone: Name
    dataset: str  # any whose YAML names its schedule: profiles may put another in its place
    label: str = ""
    group: str = ""
    data: str = ""
    set: dict[str, Any] = Field(default_factory=dict)
    inference: dict[str, Any] = Field(default_factory=dict)
    frames: int | None = Field(default=None, ge=1)  # it is evaluated on the middle ones of every video, and on
    videos: tuple[str, ...] = ()  # these alone, by name
    published: dict[str, Published] = Field(default_factory=dict)
    note: str = ""
    quoted: bool = False
    source: str = ""
    protocol: Protocol | None = None

    @property
    def is_external(self) -> bool:
        """Whether another program's predictions fill it."""
        return self.method == EXTERNAL and not self.quoted

    @property
    def is_run(self) -> bool:
        """Whether it is trained here."""
        return not (self.quoted or self.is_external)

    @property
    def part(self) -> Part:
        """What of its evaluation split it is evaluated on."""
        return Part(frames=self.frames, videos=self.videos)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not ROW_ID.fullmatch(self.id):
            raise ValueError(f"Rename row {self.id!r}: ids are lower-case letters, digits, '.' and '-'.")
        if not self.quoted:
            trained_on(self.dataset)  # one that no recipe trains on is found now
            if self.is_external and (self.set or self.inference):
                raise ValueError("Remove 'set' and 'inference' of an external row: another program has predicted it.")
            if self.source or self.protocol:
                raise ValueError("Add 'quoted: true', or remove 'source' and 'protocol': they are of quoted values.")
        elif not (self.published and self.source and self.protocol):
            raise ValueError("Give a quoted row 'published' values, their 'source' and 'protocol'.")
        elif self.set or self.inference or self.part != WHOLE:
            raise ValueError("Remove 'set', 'inference', 'frames' and 'videos', or 'quoted': a quoted row is not run.")
        return self


class Statement(Model):
    """The mean or the standard deviation of a metric is higher in the first row of a pair, lower, or equal."""

    metric: str
    of: Literal["mean", "std"]
    side: Literal["higher", "lower", "equal"]
    # By less than this, in the printed unit, means that are `equal` differ.
    margin: float | None = Field(default=None, gt=0)
    # The standard deviation lies on that side of so many times the second row's.
    times: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.side == "equal") != (self.margin is not None) or (self.side == "equal" and self.of == "std"):
            raise ValueError("Give 'margin' to means that are claimed to be equal, and to nothing else.")
        if self.times is not None and self.of != "std":
            raise ValueError("Give 'times' to standard deviations alone.")
        return self


class Claim(Model):
    """What the paper, or anybody, claims: every statement, of every pair of rows.

    Of four rows it is said of what the first has more than the second, beside what the third has more than the fourth.
    A row of another table is called `table/row`.
    """

    text: str
    place: str = ""  # where the paper says so
    says: tuple[Statement, ...] = Field(min_length=1)
    pairs: tuple[tuple[str, str] | tuple[str, str, str, str], ...] = Field(min_length=1)
    note: str = ""


class Paper(Model):
    """Where the paper's values come from, and what is as good as equal to them."""

    protocol: Protocol = "server"  # under which they were measured
    runs: int = Field(default=1, ge=1)  # trainings behind each mean; 1 where the paper does not say
    # By metric, in its printed unit: what another implementation may differ by, beside chance.
    tolerance: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)


class Axis(Model):
    """What a figure draws over what."""

    key: str  # a recipe's dotted key, or `frames`
    label: str  # its name
    reading: str  # what the paper reads from the figure, or would
    # Two groups of rows: what the first has more than the second is drawn, a line a data set. None draws rows, all on
    # one line.
    gap: tuple[str, str] | None = None

    def of(self, row: Row) -> Any:
        """Where a row stands; infinity where it has all frames."""
        return row.set.get(self.key) if self.key != "frames" else row.frames or math.inf


class Table(Model):
    """A table of the paper or of our own, or a figure whose points are rows."""

    name: Name
    title: str = ""
    place: str = ""  # where it stands in the paper; empty for one of our own
    profile: Name | None = None  # the only one that it is for; None for every profile
    protocol: Protocol = "heldout"
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1), Distinct]
    metrics: Annotated[tuple[str, ...], Field(min_length=1), Distinct]
    rows: Annotated[tuple[Row, ...], Field(min_length=1)]
    notes: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    paper: Paper = Paper()
    axis: Axis | None = None
    # The columns before the numbers, in the paper's order: a field of the rows, and what stands above it.
    heads: dict[Head, str] = Field(default=HEADS, min_length=1)

    @model_validator(mode="after")
    def _check_rows(self) -> Self:
        ids = [row.id for row in self.rows]
        if unknown := [each for each in self.metrics if each not in COLUMNS]:
            raise ValueError(f"Choose 'metrics' among {', '.join(COLUMNS)}: there is no {unknown[0]!r}.")
        if unknown := sorted(self.paper.tolerance.keys() - set(self.metrics)):
            raise ValueError(f"Add {unknown[0]!r} to 'metrics', or drop it from 'tolerance'.")
        if twice := next((each for each in ids if ids.count(each) > 1), None):
            raise ValueError(f"Remove or rename one of the two rows {twice!r}.")
        if self.axis and self.axis.gap and not {*self.axis.gap} <= {row.group for row in self.rows}:
            raise ValueError(f"Let 'gap' name two groups of rows: it is {' and '.join(self.axis.gap)}.")
        for row in self.rows:
            if unknown := sorted(row.published.keys() - set(self.metrics)):
                raise ValueError(f"Add {unknown[0]!r} to 'metrics', or drop it from row {row.id!r}.")
            if row.is_external and self.protocol == "server":
                raise ValueError(
                    f"Make row {row.id!r} quoted, or the protocol heldout: a server's scores are published."
                )
            if row.part != WHOLE and self.protocol == "server":
                raise ValueError(f"Remove 'frames' and 'videos' of row {row.id!r}: a server scores all.")
            if self.axis and not row.quoted and not (is_number(at := self.axis.of(row)) or at == math.inf):
                raise ValueError(f"Set {self.axis.key!r} of row {row.id!r} to a number: the figure draws over it.")
        if self.axis:
            drawn = [each for each in self.rows if not each.quoted]
            places = [(*((row.data, row.group) if self.axis.gap else ()), self.axis.of(row)) for row in drawn]
            if twice := next((row.id for row, place in zip(drawn, places) if places.count(place) > 1), None):
                raise ValueError(f"Let row {twice!r} alone be where it is on the axis: another would hide it.")
        return self

    @model_validator(mode="after")
    def _check_claims(self) -> Self:
        rows = {row.id: row.dataset for row in self.rows if not row.quoted}
        for claim in self.claims:
            named = {row for pair in claim.pairs for row in pair if "/" not in row}
            if not (named <= rows.keys() and {statement.metric for statement in claim.says} <= set(self.metrics)):
                raise ValueError(
                    f"Make the claim {claim.text!r} one on the table's own metrics and pairs of rows that are run."
                )
            if any(statement.metric in UNJUDGED for statement in claim.says):
                raise ValueError(f"Make the claim {claim.text!r} one on other columns than {', '.join(UNJUDGED)}.")
            together = all(len(pair) == 2 and len({rows.get(row, row) for row in pair}) == 1 for pair in claim.pairs)
            if not together and any(statement.of == "std" for statement in claim.says):
                raise ValueError(f"Make the claim {claim.text!r} one on pairs of rows here, on one data set.")
        return self

    @property
    def heading(self) -> str:
        """What it is called: its place in the paper, or its own name."""
        return self.place or f"Table {self.name.removeprefix('table')}"


def check_rows(tables: Iterable[Table], ids: Iterable[str]) -> None:
    """Refuse an id that is no row of any of some tables."""
    rows = {table.name: [row.id for row in table.rows] for table in tables}
    known = sorted({row for of_table in rows.values() for row in of_table})
    if unknown := [name for name in ids if name not in known]:
        came = f"no row {unknown[0]!r}{nearest(unknown[0], known)}"
        raise UserError(f"Choose rows of {', '.join(rows)} among {', '.join(known)}: {came}.")


def load_table(name: str) -> Table:
    """The table `name` of `experiments/tables/`, or of a YAML file; UserError if there is none or its YAML is wrong."""
    return read_model(Table, packed_yaml("tables", name), "the table")


def find_row(name: str) -> tuple[Table, Row]:
    """The table and the row that `table/row` names; UserError if there is no such row."""
    table, slash, row_id = name.rpartition("/")
    if not slash:
        raise UserError(f"Write table/row, as in table4/ours-swin-l-clip5-ytvis19: got {name!r}.")
    found = load_table(table)
    check_rows([found], [row_id])
    return found, next(row for row in found.rows if row.id == row_id)


def rows_named(name: str) -> list[tuple[Table, Row]]:
    """The rows that `row`, of any packed table, or `table/row` names, if any; UserError if a table has no such row."""
    table, slash, _ = name.rpartition("/")
    if slash and (table in packed_names("experiments", "tables") or table.endswith((".yaml", ".yml"))):
        return [find_row(name)]
    return [(table, row) for table in _packed_tables() for row in table.rows if row.id == name]


def known_names() -> list[str]:
    """The names of packed tables and of their rows."""
    return [name for table in _packed_tables() for name in (table.name, *(row.id for row in table.rows))]


@functools.cache
def _packed_tables() -> list[Table]:
    return [load_table(each) for each in packed_names("experiments", "tables")]


def rows_elsewhere(table: Table) -> dict[str, tuple[Table, Row]]:
    """The rows of other tables that a table's claims name, by `table/row`, if their numbers compare with its own;
    UserError if there is no such row.

    A row that is quoted, or whose table has another protocol, other seeds or not the metrics, is left out: no claim on
    it is judged.
    """
    found: dict[str, tuple[Table, Row]] = {}
    for claim in table.claims:
        metrics = {statement.metric for statement in claim.says}
        for name in (row for pair in claim.pairs for row in pair if "/" in row):
            other, row = found.get(name) or find_row(name)
            alike = (other.protocol, other.seeds) == (table.protocol, table.seeds) and metrics <= set(other.metrics)
            if alike and not row.quoted:
                found[name] = other, row
    return found


def command_name(table: Table) -> str:
    """What commands call a table: its name, or its file, of which a table does not know where it lies."""
    return table.name if table.name in packed_names("experiments", "tables") else "TABLE.yaml"


def is_own(dataset: str | None) -> bool:
    """Whether a data set, as `--dataset` names it, is none of those that are packed."""
    return dataset is not None and load_config(dataset)[0].name not in packed_names("experiments", "datasets")


def run_on(table: Table, dataset: str | None) -> Table:
    """A table as it is run on a data set: on one's own without the paper's values, with tracking and identity."""
    if not is_own(dataset):
        return table
    rows = tuple(row.model_copy(update={"published": {}, "note": ""}) for row in table.rows if row.is_run)
    if not rows:
        raise UserError(f"Leave out --dataset and --annotations: table {table.name} has no row that is trained.")
    plain = {"rows": rows, "notes": (), "paper": Paper(), "place": "", "axis": None, "protocol": "heldout"}
    title = f"rows of {table.heading} on other videos"
    return table.model_copy(update={**plain, "title": title, "metrics": (*dict.fromkeys((*table.metrics, *TRACKED)),)})


def _all_tables(profile: Profile) -> list[Table]:
    """The packed tables for every profile, unless one has its own and maps none of their data sets; and its own."""
    packed = _packed_tables()
    shared = [each for each in packed if each.profile is None]
    own = [each for each in packed if each.profile == profile.name]
    mapped = any(row.dataset in profile.datasets for each in shared for row in each.rows)
    return [*shared * (mapped or not own), *own]


def load_tables(names: Iterable[str], profile: Profile) -> list[Table]:
    """The tables named; `all` stands for the packed ones that are for a profile. UserError if one is not there, is for
    another profile, or is called like another one.
    """
    found: dict[str, Table] = {}
    for name in dict.fromkeys(names):
        if name == "all":
            found |= {each.name: each for each in _all_tables(profile)}
        elif (table := load_table(name)).profile in (None, profile.name):
            found.setdefault(name, table)
        else:
            why = f"table {name} is for it alone, and this is {profile.name}"
            raise UserError(f"Give --profile {table.profile}: {why}.")
    for path, table in found.items():
        others = (*_packed_tables(), *found.values()) if path != table.name else ()
        if any(each.name == table.name and each != table for each in others):
            raise UserError(
                f"Change 'name' in {path}: another table is called {table.name!r}, whose reports it would replace."
            )
    return list(found.values())
