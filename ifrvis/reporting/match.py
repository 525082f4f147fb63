"""Which records belong to which row and seed: from tables, a profile and records alone, with no data at hand.

A record belongs to a row and a seed if its name is theirs, its data set is the one that the profile (or `--dataset`)
gives to the row, and its protocol and evaluation split are the table's; if its initial weights have the name that the
recipe (or `--init`) gives; and if what the row trains and how it predicts, with the record's own fingerprints of data
and weights put in, has the record's signature. Where a fingerprint is known without data, as that of a made set is, it
has to be this one. For what rows it was run says nothing: `--set` may turn one row into another.
"""

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from ifrvis.datasets.catalog import WHOLE, Part, Role, load_dataset
from ifrvis.datasets.coco import MadeStills, load_stills
from ifrvis.errors import UserError
from ifrvis.harness.spec.compose import Composed, MixedIn, compose_pretraining
from ifrvis.harness.spec.profiles import PRETRAINING
from ifrvis.harness.spec.request import Specified, TableRequest
from ifrvis.harness.spec.signatures import SCORING_VERSION, external_name, train_signature, train_spec
from ifrvis.harness.spec.tables import Protocol, Row, Table, rows_elsewhere
from ifrvis.harness.store.paths import Store
from ifrvis.harness.store.records import Record, Records
from ifrvis.reporting.over_videos import Kept, read_kept
from ifrvis.reporting.report import Report, RowRecords

ROLES: dict[Protocol, tuple[Role, Role]] = {"heldout": ("train", "heldout"), "server": ("full", "server")}


def make_reports(request: TableRequest, records: Iterable[Record], kept: Sequence[Kept] = ()) -> list[Report]:
    """The report of each table with a row asked for; UserError if a row, a seed, an override or a data set is wrong."""
    matcher = _Matcher(request, records, kept)
    return [matcher.report(table, rows) for table in request.tables if (rows := request.selected(table))]


def reports_in(store: Store, request: TableRequest) -> list[Report]:
    """`make_reports` of what a store keeps."""
    profile = request.profile.name
    return make_reports(request, Records(store.records(profile)).all_readable(), read_kept(store.bootstrap(profile)))


class _Matcher:
    """Composes each row once, and looks for its records among those of its name."""

    def __init__(self, request: TableRequest, records: Iterable[Record], kept: Sequence[Kept]) -> None:
        self._kept = kept
        self._request, self._plain = request, replace(request, overrides={}, dataset=None, init=None)
        self._named: dict[str, list[Record]] = defaultdict(list)
        for record in sorted(records, key=lambda record: record.file_name):
            self._named[record.name].append(record)
        self._dataset = cache(lambda name: load_dataset(name, Path()))
        self._fingerprint = cache(self._made)
        self._pretrained = cache(self._pretraining)

    def report(self, table: Table, rows: Iterable[Row]) -> Report:
        """The report of some rows of a table."""
        own = tuple(self.found(self._request, table, row) for row in rows)
        # Options that change none of its rows change nothing of a report.
        request = self._request if any(each.off_spec for each in own) else self._plain
        others: dict[str, RowRecords] = {}
        for name, found in rows_elsewhere(table).items():
            with contextlib.suppress(UserError):  # nobody has asked for it: it need not have what `--set` changes
                others[name] = self.found(request, *found)
        return Report(self._request, table, own, others, self._kept)

    def found(self, request: TableRequest, table: Table, row: Row) -> RowRecords:
        """What there is of one row."""
        if row.quoted:
            return RowRecords(row, {})
        if row.is_external:
            return RowRecords(row, self._external(request, table, row))
        specified = request.specify(row, self._dataset)
        found: dict[int, list[Record]] = {}
        elsewhere: list[Record] = []
        for seed in request.seeds(table):
            for record in self._named.get(specified.run_name(seed), ()):
                if self._fits(record, specified, seed):
                    of_table = record.protocol == table.protocol
                    (found.setdefault(seed, []) if of_table else elsewhere).append(record)
        return RowRecords(row, found, elsewhere, specified.off_spec)

    def _external(self, request: TableRequest, table: Table, row: Row) -> dict[int, list[Record]]:
        """The records of what other programs predicted for a row, by seed: no option changes which these are."""
        dataset = self._dataset(request.profile.datasets.get(row.dataset, row.dataset))
        split, found = self._fingerprint(dataset.source, "heldout", row.part), dict[int, list[Record]]()
        wanted = "external", dataset.name, "heldout", row.part, SCORING_VERSION
        for seed in request.seeds(table):
            for record in self._named.get(external_name(row.backbone, row.id, seed), ()):
                how = record.origin, record.dataset, record.role, record.data.part, record.scoring
                if how == wanted and split in (None, record.data.evaluation):
                    found.setdefault(seed, []).append(record)
        return found

    def _fits(self, record: Record, specified: Specified, seed: int) -> bool:
        composed, dataset, row = specified.composed, specified.dataset, specified.row
        trained_on, scored_on = ROLES[record.protocol]
        if record.spec is None or (record.dataset, record.init) != (dataset.name, specified.init):
            return False
        how = record.role, record.data.part, record.scoring, record.inference
        if how != (scored_on, row.part, SCORING_VERSION, composed.inference):
            return False
        train, init = record.spec.train.data, record.spec.train.init
        known = (  # without data
            (train, self._trained_on(composed, dataset.source, trained_on)),
            (record.data.evaluation, self._fingerprint(dataset.source, scored_on, row.part)),
            (init, self._pretrained(row.method, row.backbone) if record.init == PRETRAINING else None),
        )
        if any(made not in (None, of_record) for of_record, made in known):
            return False
        return train_signature(train_spec(composed, data=train, init=init, seed=seed)) == record.train_sig

    def _trained_on(self, composed: Composed, dataset: str, role: Role) -> str | None:
        """The fingerprint of all that a row is trained on; None where it takes the data to know it."""
        videos, mixed = self._fingerprint(dataset, role), MixedIn.of(composed.train["stills"])
        if mixed is None or videos is None:
            return videos
        stills = load_stills(mixed.dataset, self._dataset(dataset))
        return stills.joint_fingerprint(videos, mixed.ratio) if isinstance(stills, MadeStills) else None

    def _made(self, dataset: str, role: Role, part: Part = WHOLE) -> str | None:
        """The fingerprint of a made set's split; None where it takes the data to know it."""
        found = self._dataset(dataset)
        return found.split(role, part).fingerprint if found.config.synthetic is not None else None

    def _pretraining(self, method: str, backbone: str) -> str | None:
        """The signature of what a method's pretraining trains; None where it takes its data to know it."""
        declared, profile = self._request.profile.pretraining, self._request.profile
        data = self._fingerprint(declared.dataset, "pretrain") if declared else None
        if declared is None or data is None:
            return None
        trained, _ = declared.behind(method)
        num_classes = self._dataset(declared.dataset).config.categories
        composed = compose_pretraining(declared, trained, backbone, profile, num_classes=num_classes)
        return train_signature(train_spec(composed, data=data, init=None, seed=0))
