"""What a report shows of one table: tidy frame, cells and claims, each made once from the records that belong to it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ifrvis.datasets.catalog import WHOLE
from ifrvis.evaluation.scores import units_of
from ifrvis.harness.spec.profiles import Profile
from ifrvis.harness.spec.request import TableRequest
from ifrvis.harness.spec.tables import Row, Table
from ifrvis.harness.store.learning import COMPARES_NOTHING, learned
from ifrvis.harness.store.records import Record
from ifrvis.reporting.cells import Cell, Compared, compare, make_cell
from ifrvis.reporting.claims import JudgedClaim, judge
from ifrvis.reporting.over_videos import Kept, key_of
from ifrvis.reporting.style import stored

Values = dict[tuple[str, str], dict[int, float | None]]  # by row id, metric and seed; None is undefined
# Of a line of the tidy frame. `value` is as stored, None where undefined, the paper's in the same unit, None where it
# prints none.
COLUMNS = (
    *("table", "row", "group", "label", "method", "backbone", "dataset", "profile", "protocol", "seed", "metric"),
    *("value", "paper_mean", "paper_std", "unit", "train_sig", "eval_sig"),
)


@dataclass(frozen=True)
class RowRecords:
    """A row and the records that belong to it."""

    row: Row  # the row as declared
    # Of each seed asked for that has any, the records of the table's protocol; one of several counts for none.
    found: Mapping[int, Sequence[Record]]
    elsewhere: Sequence[Record] = ()  # the records of another protocol
    off_spec: bool = False  # whether the options asked for made other runs or evaluations of it

    @property
    def counted(self) -> list[Record]:
        """The records that numbers are made of, in the order of the seeds."""
        return [records[0] for records in self.found.values() if len(records) == 1]

    @property
    def starts(self) -> dict[str | None, list[str]]:
        """The SHA-256 of the weights that the records start from, and the files of those that do."""
        found: dict[str | None, list[str]] = {}
        for record in self.counted:
            found.setdefault(record.started_from, []).append(record.file_name)
        return found

    @property
    def missing(self) -> str:
        """Why the row has no number, whatever the metric; empty where a record counts and none stands against it."""
        if self.row.quoted:
            return "quoted"
        most = max(map(len, self.found.values()), default=0)
        if most == 1 and len(self.starts) > 1:
            return f"{len(self.starts)} starts"
        return "" if most == 1 else f"{most} records" if most else "other protocol" if self.elsewhere else "not run"


@dataclass(frozen=True, eq=False)  # each is itself, so that what is made of it can be remembered
class Report:
    """One table with the records that belong to its rows: all that a report is a function of."""

    request: TableRequest  # what was asked for
    table: Table  # one of its tables
    rows: tuple[RowRecords, ...]  # the rows asked for
    # Rows of other tables that its claims name, by `table/row`.
    others: Mapping[str, RowRecords] = field(default_factory=dict)
    kept: Sequence[Kept] = ()  # intervals over videos, of these records or of others

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """The seeds asked for."""
        return self.request.seeds(self.table)

    @property
    def profile(self) -> Profile:
        """The scale at which it was run."""
        return self.request.profile

    @property
    def off_spec(self) -> str:
        """The options that make other runs of some rows than the table's; empty where none do."""
        return self.request.changes if any(each.off_spec for each in self.rows) else ""

    @property
    def stem(self) -> str:
        """The files' name without ending; an off-spec report never takes the place of the table's own."""
        return self.table.name + ("-off-spec" if self.off_spec else "")

    @property
    def means_something(self) -> bool:
        """Whether these numbers do."""
        return self.profile.numbers != "nothing"

    @property
    def shows_paper(self) -> bool:
        """Whether the paper's values have columns: never beside numbers that mean nothing, nor where it prints none."""
        means = (mean for each in self.rows for mean, _ in each.row.published.values())
        return self.means_something and any(mean is not None for mean in means)

    @property
    def compares(self) -> bool:
        """Whether measured values may be set against the paper's: same data, same protocol, of some row same runs."""
        own = not all(each.off_spec for each in self.rows)
        return self.profile.compares and own and self.table.protocol == self.table.paper.protocol

    @cached_property
    def unlearned(self) -> set[str]:
        """Rows whose records do not pass the profile's own gate of learning; those that it does not judge are none."""
        judged = {
            name: learned(each.counted, self.profile.learning)
            for name, each in self.named.items()
            if each.row.part == WHOLE and not each.missing
        }
        return {name for name, found in judged.items() if found and not found.passes}

    @property
    def nothing_learned(self) -> str:
        """What the head says where no row that has numbers has learned; else empty."""
        numbers = {each.row.id for each in self.rows if each.counted}
        return COMPARES_NOTHING if numbers and numbers <= self.unlearned else ""

    def undecided(self, pair: Sequence[str]) -> str:
        """Why no claim on some rows is decided; empty where they are."""
        if any(set(pair[at : at + 2]) <= self.unlearned for at in range(0, len(pair), 2)):
            return COMPARES_NOTHING
        if not self.means_something or self.off_spec:
            return "off-spec" if self.means_something else self.profile.name
        declared = len(self.table.seeds)
        return f"{len(self.seeds)} of {declared} seeds" if len(self.seeds) < declared else ""

    @property
    def records(self) -> list[Record]:
        """The records that numbers are made of, in the order of rows and seeds."""
        return [record for each in self.rows for record in each.counted]

    @property
    def behind(self) -> list[Record]:
        """All records that the report is a function of."""
        groups = (of for each in (*self.rows, *self.others.values()) for of in (*each.found.values(), each.elsewhere))
        return [record for group in groups for record in group]

    @cached_property
    def named(self) -> dict[str, RowRecords]:
        """Its rows by id, and those of other tables by `table/row`."""
        return {each.row.id: each for each in self.rows} | dict(self.others)

    @cached_property
    def frame(self) -> list[tuple[str | float | None, ...]]:
        """The tidy frame: a line of `COLUMNS` a record and metric, in the order of rows, seeds and metrics."""
        return [line for each in self.rows for record in each.counted for line in self._lines(each, record)]

    def _lines(self, each: RowRecords, record: Record) -> Iterator[tuple[str | float | None, ...]]:
        row, profile = each.row, self.profile.name + " off-spec" * each.off_spec
        named = (self.table.name, row.id, row.group, row.label, row.method, row.backbone, record.dataset, profile)
        units = units_of(self.table.metrics)
        for metric in units:
            if record.seed in self.values[row.id, metric]:
                published = row.published.get(metric, (None, None)) if self.shows_paper else (None, None)
                measured = (record.protocol, record.seed, metric, self.values[row.id, metric][record.seed])
                paper = (stored(metric, value) for value in published)
                yield (*named, *measured, *paper, units[metric], record.train_sig, record.eval_sig)

    @cached_property
    def values(self) -> Values:
        """The values of each row id and metric, by seed."""
        found: Values = {}
        for name, each in self.named.items():
            shown = {record.seed: record.shown for record in each.counted}
            for metric in self.table.metrics:
                found[name, metric] = {
                    seed: None if (value := of[metric]) is None else float(value)
                    for seed, of in shown.items()
                    if metric in of
                }
        return found

    @cached_property
    def cells(self) -> dict[tuple[str, str], Cell]:
        """The cell of each row id and metric."""
        return {
            (row, metric): make_cell(list(values.values()), len(self.seeds), self.named[row].missing)
            for (row, metric), values in self.values.items()
        }

    @cached_property
    def claims(self) -> list[JudgedClaim]:
        """Every claim of the table of which a pair of rows was asked for."""
        return judge(self)

    @cached_property
    def over_videos(self) -> dict[tuple[str, ...], Kept]:
        """The intervals over videos of these very records, by the rows that a claim compares."""
        known, keys = {each.records: each for each in self.kept}, self.comparable
        return {rows: known[key] for rows, records in keys.items() if (key := key_of(records)) in known}

    @property
    def comparable(self) -> dict[tuple[str, ...], list[list[Record]]]:
        """The records of what claims compare, two rows or four, and of the two rows of a report, if all are there."""
        pairs: list[tuple[str, ...]] = [pair for claim in self.table.claims for pair in claim.pairs]
        shown = tuple(each.row.id for each in self.rows)
        if len(shown) == 2 and set(shown) not in map(set, pairs):
            pairs.append(shown)
        known = [pair for pair in dict.fromkeys(pairs) if self.named.keys() >= set(pair)]
        found = {pair: [self.named[row] for row in pair] for pair in known}
        return {
            pair: [each.counted for each in rows]
            for pair, rows in found.items()
            if not any(each.missing or len(each.counted) < len(self.seeds) for each in rows)
        }

    def compared(self, row: Row, metric: str) -> Compared | None:
        """A cell against the paper's value; None where there is nothing to compare, or no leave to."""
        own = self.compares and not self.named[row.id].off_spec
        return compare(self.table, row, metric, self.cells[row.id, metric]) if own else None
