"""From the predictions of a run to every number of a record: what a worker publishes, and what `rescore` makes anew."""

from pathlib import Path
from typing import Any

from ifrvis.datasets.ytvis import Annotations
from ifrvis.evaluation.ap import average_precision
from ifrvis.evaluation.identity import count_errors, identity_errors
from ifrvis.evaluation.predictions import queries_of, read_predictions, results_of
from ifrvis.evaluation.protocols import load_protocol
from ifrvis.evaluation.scores import IDENTITY, RECORDED, SHOWN, Scores, Tracked
from ifrvis.evaluation.tracking import kept_tracks, tracking_scores


def scores_of_file(annotations: Annotations, path: Path, *, jobs: int = 1) -> Scores:
    """Score the predictions of one run.

    Args:
        annotations: Ground truth.
        path: The predictions file.
        jobs: Processes that share the videos; they change no number.

    Raises:
        UserError: If the file is missing, broken, or not about exactly these videos.
    """
    videos = read_predictions(path, annotations)
    queries = queries_of(videos)
    # How many queries of a video count, the inference has said: ten, or its `topk`.
    protocols = {name: load_protocol(name).model_copy(update={"most": None}) for name in RECORDED}
    tracking: dict[str, Any] = tracking_scores(annotations, queries, list(protocols.values()), jobs=jobs)
    ap: dict[str, Any] = average_precision(annotations, results_of(videos), jobs=jobs)
    kept = kept_tracks(annotations, queries, protocols[IDENTITY])
    over_thresholds = tracking.pop("curve")
    tracked = {name: Tracked(threshold=found.pop("threshold"), metrics=found) for name, found in tracking.items()}
    return Scores(
        per_category=ap.pop("per_category"),
        by_iou={name: tuple(ap.pop(f"{name}_by_iou")) for name in ("AP", "AR100")},
        metrics={**ap, **tracked[SHOWN].metrics},
        tracking=tracked,
        over_thresholds=over_thresholds,
        identity=count_errors(identity_errors(annotations, kept, jobs=jobs)),
    )
