"""Records for a new scoring version, from predictions that were kept: no training, no torch."""

from collections.abc import Iterator
from typing import Literal

from ifrvis.errors import UserError
from ifrvis.evaluation.scoring import score_file
from ifrvis.files import sha256_file
from ifrvis.harness.plan.plan import Evaluation, Plan
from ifrvis.harness.spec import signatures
from ifrvis.harness.store.provenance import provenance
from ifrvis.harness.store.records import Record, Records, ScoredAgain, publish_record

Outcome = Literal["scored", "was there", "never scored", "not kept"]  # the last: what was predicted is gone


def rescore(plan: Plan, *, jobs: int) -> Iterator[tuple[str, Outcome]]:
    """Publish the records of a plan that lack nothing but scores: names of trainings, and what became of their
    evaluations.

    What the predictions and an older record of them say is carried over; provenance says who scored them again.
    UserError if predictions are not those that the older record was made from, or cannot be used.
    """
    for each in plan.evaluations:
        yield each.training.name, _rescore(each, plan, jobs)


def _rescore(evaluation: Evaluation, plan: Plan, jobs: int) -> Outcome:
    training, split, store = evaluation.training, evaluation.split, plan.request.store
    if evaluation.state == "complete":
        return "was there"
    older = _older_record(evaluation, plan.records)
    if older is None or training.sig is None or split.fingerprint is None or evaluation.sig is None:
        return "never scored"
    path = training.run(store).predictions(evaluation.inference, split.fingerprint)
    if not path.is_file():
        return "not kept"
    if sha256_file(path) != older.files.get("predictions"):
        raise UserError(f"Remove {path} and run the row again: it is not what its record was made from.")
    scores, videos = score_file(split.read(), path, jobs=jobs)
    changed = dict(scores) | {"eval_sig": evaluation.sig, "scoring": signatures.SCORING_VERSION}
    changed |= {"rescored": ScoredAgain(of=older.eval_sig, provenance=provenance())}
    publish_record(store, older.model_copy(update=changed), videos)
    return "scored"


def _older_record(evaluation: Evaluation, records: Records) -> Record | None:
    """The record of the same predictions with the highest other scoring version."""
    wanted = evaluation.training.sig, evaluation.inference, evaluation.split.fingerprint
    read = records.all_readable()
    found = [each for each in read if (each.train_sig, each.inference, each.data.evaluation) == wanted]
    return max(found, key=lambda record: record.scoring, default=None)
