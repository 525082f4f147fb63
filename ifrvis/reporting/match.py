"""Which records belong to which row and seed: from tables, a profile and records alone, with no data at hand.

A record belongs to a row and a seed if its name is theirs, its data set is the one that the profile (or `--dataset`)
gives to the row, and its protocol and evaluation split are the table's; if it is off-spec exactly if the report is; if
its initial weights have the name that the recipe gives; and if what the row trains and how it predicts, with the
record's own fingerprints of data and weights put in, has the record's signature. Where a fingerprint is known without
data, as that of a made set is, it has to be this one.
"""

from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from ifrvis.datasets.catalog import Dataset, Role, load_dataset
from ifrvis.errors import UserError
from ifrvis.harness.spec.compose import Composed, compose_row
from ifrvis.harness.spec.request import TableRequest
from ifrvis.harness.spec.signatures import SCORING_VERSION, run_name, train_signature, train_spec
from ifrvis.harness.spec.tables import Protocol, Row, Table
from ifrvis.harness.store.records import Record
from ifrvis.reporting.report import Report, RowRecords

ROLES: dict[Protocol, tuple[Role, Role]] = {"heldout": ("train", "heldout"), "server": ("full", "server")}


def make_reports(request: TableRequest, records: Iterable[Record]) -> list[Report]:
    """The report of each table that has a row of those asked for.

    Raises:
        UserError: If a row, a seed, an override or a dataset is wrong, or no table has such rows.
    """
    matcher = _Matcher(request, records)
    chosen = [(table, request.selected(table)) for table in request.tables]
    found = [Report(request, table, tuple(matcher.found(table, row) for row in rows)) for table, rows in chosen if rows]
    if not found:
        raise UserError("Choose rows that one of the tables has: --rows matches none.")
    return found


class _Matcher:
    """Composes each row once, and looks for its records among those of its name."""

    def __init__(self, request: TableRequest, records: Iterable[Record]) -> None:
        self._request = request
        self._named: dict[str, list[Record]] = defaultdict(list)
        for record in sorted(records, key=lambda record: record.file_name):
            self._named[record.name].append(record)

    def found(self, table: Table, row: Row) -> RowRecords:
        """What there is of one row."""
        if row.quoted:
            return RowRecords(row, {})
        request = self._request
        dataset = _dataset(request.dataset or request.profile.datasets.get(row.dataset, row.dataset))
        composed = compose_row(row, request.profile, request.overrides, num_classes=dataset.config.categories)
        found: dict[int, list[Record]] = {}
        elsewhere: list[Record] = []
        for seed in request.seeds(table) if not composed.not_implemented else ():
            name = run_name(row.method, row.backbone, Path(request.dataset or row.dataset).stem, composed.changes, seed)
            for record in self._named.get(name, ()):
                if self._fits(record, composed, dataset, seed):
                    of_table = record.protocol == table.protocol
                    (found.setdefault(seed, []) if of_table else elsewhere).append(record)
        return RowRecords(row, found, elsewhere)

    def _fits(self, record: Record, composed: Composed, dataset: Dataset, seed: int) -> bool:
        if record.spec is None or (record.dataset, record.off_spec) != (dataset.name, self._request.off_spec):
            return False
        if (record.scoring, record.inference) != (SCORING_VERSION, composed.inference):
            return False
        if record.init != self._init_name(composed) or record.role != ROLES[record.protocol][1]:
            return False
        train, evaluation = (_fingerprint(dataset, role) for role in ROLES[record.protocol])
        if evaluation not in (None, record.data.evaluation):
            return False
        if train not in (None, record.data.train) and not composed.train["stills"]:  # stills are in theirs, too
            return False
        spec = train_spec(composed, data=record.data.train, init=record.spec.train.init, seed=seed)
        return train_signature(spec) == record.train_sig

    def _init_name(self, composed: Composed) -> str | None:
        given = self._request.init
        return given.name if given else composed.train["init"]


@cache
def _dataset(name: str) -> Dataset:
    return load_dataset(name, Path())


@cache
def _fingerprint(dataset: Dataset, role: Role) -> str | None:
    """The fingerprint of a made set's split; None where it takes the data to know it."""
    return dataset.split(role).fingerprint if dataset.config.synthetic is not None else None
