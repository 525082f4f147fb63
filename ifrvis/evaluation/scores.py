"""Every number of a record, from the predictions of a run: what a worker publishes, and what `rescore` makes anew."""

from pathlib import Path
from typing import Any

from ifrvis.datasets.ytvis import Annotations
from ifrvis.evaluation.ap import average_precision
from ifrvis.evaluation.identity import count_errors, identity_errors
from ifrvis.evaluation.predictions import queries_of, read_predictions, results_of
from ifrvis.evaluation.protocols import load_protocol
from ifrvis.evaluation.tracking import kept_tracks, tracking_scores

RECORDED = ("all", "common", "matched")  # the tracking protocols of every record
SHOWN = "matched"  # the protocol of Table 3's cells
IDENTITY = "common"  # the protocol under which identity errors are counted


def scores_of_file(annotations: Annotations, path: Path, *, jobs: int = 1) -> dict[str, dict[str, Any]]:
    """Score the predictions of one run.

    Args:
        annotations: Ground truth.
        path: The predictions file.
        jobs: Processes that share the videos; they change no number.

    Returns:
        Three fields of a record: `metrics`, AP and the tracking metrics that tables show; `tracking`, these under every
        recorded protocol, with their `curve` over thresholds; `identity`, numbers of identity errors, and `protocol`.

    Raises:
        UserError: If the file is missing, broken, or not about exactly these videos.
    """
    videos = read_predictions(path, annotations)
    queries = queries_of(videos)
    tracking = tracking_scores(annotations, queries, [load_protocol(name) for name in RECORDED], jobs=jobs)
    shown = {name: value for name, value in tracking[SHOWN].items() if name != "threshold"}
    kept = kept_tracks(annotations, queries, load_protocol(IDENTITY))
    errors = count_errors(identity_errors(annotations, kept, jobs=jobs))
    return {
        "metrics": {**average_precision(annotations, results_of(videos), jobs=jobs), **shown},
        "tracking": tracking,
        "identity": {"protocol": IDENTITY, **errors},
    }
