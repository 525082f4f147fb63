"""Records of what was not trained here: another program's predictions, or those of a checkpoint from elsewhere.

The SHA-256 of the file that was given stands for `train_sig`. Such a record belongs to a row that says
`method: external`, by its name, and never to a row that is trained.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ifrvis.datasets.catalog import Split, load_dataset
from ifrvis.errors import UserError
from ifrvis.evaluation.predictions import VideoPredictions, write_predictions
from ifrvis.evaluation.scoring import score_file
from ifrvis.files import sha256_file
from ifrvis.harness.spec.profiles import Profile
from ifrvis.harness.spec.signatures import SCORING_VERSION, eval_signature, external_name
from ifrvis.harness.spec.tables import EXTERNAL, Row
from ifrvis.harness.store.paths import Store
from ifrvis.harness.store.provenance import provenance
from ifrvis.harness.store.records import Cost, Data, FileKind, Record, publish_record


class Given(NamedTuple):
    """What a record is made of."""

    file: Path  # that was given
    kind: FileKind  # what the record calls it
    sha256: str  # of it
    seed: int  # whose record it is to be
    inference: dict[str, Any]  # how the videos were predicted, as far as that is known
    videos: Iterable[VideoPredictions]  # the predictions
    cost: Cost = Cost()  # what they took


def held_out(row: Row, profile: Profile, data_root: Path) -> Split:
    """The split that a row is evaluated on under a profile; UserError if its ground truth is not here."""
    split = load_dataset(profile.datasets.get(row.dataset, row.dataset), data_root).split("heldout", row.part)
    if split.fingerprint is None or split.makeable:
        raise UserError(split.missing)
    return split


def check_free(store: Store, profile: Profile, name: str, sha256: str) -> None:
    """Refuse what would be a second record of one seed: UserError if one of another file is there."""
    for path in store.records(profile.name).glob(f"{name}-*.json"):
        if path.name.count("-") == name.count("-") + 2 and not path.name.startswith(f"{name}-{sha256[:12]}-"):
            raise UserError(
                f"Remove {path} if another file shall take its place: it is the record of this row and seed."
            )


def publish_external(store: Store, row: Row, profile: Profile, split: Split, given: Given) -> tuple[Path, Record]:
    """Keep predictions, score them, and publish their record if there is none; UserError if another file's is there."""
    name, fingerprint = external_name(row.backbone, row.id, given.seed), split.fingerprint
    assert fingerprint is not None
    check_free(store, profile, name, given.sha256)
    predictions = store.run(name, given.sha256).predictions(given.inference, fingerprint)
    write_predictions(predictions, given.videos)
    scores, videos = score_file(split.read(), predictions)
    record = Record(
        **dict(scores),
        origin="external",
        name=name,
        profile=profile.name,
        off_spec=False,
        train_sig=given.sha256,
        eval_sig=eval_signature(given.sha256, given.inference, fingerprint),
        seed=given.seed,
        method=EXTERNAL,
        backbone=row.backbone,
        dataset=split.dataset,
        role="heldout",
        protocol="heldout",
        init=None,
        inference=given.inference,
        scoring=SCORING_VERSION,
        spec=None,
        data=Data(train=None, evaluation=fingerprint, part=row.part),
        files={"predictions": sha256_file(predictions), given.kind: given.sha256},
        provenance=provenance(),
        cost=given.cost,
    )
    publish_record(store, record, videos)
    return record.path(store), record
