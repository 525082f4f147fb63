"""Every number of a record, from the predictions of a run: what a worker publishes, and what `rescore` makes anew."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from ifrvis.datasets.ytvis import Annotations
from ifrvis.evaluation.ap import average_precision
from ifrvis.evaluation.identity import count_errors, identity_errors
from ifrvis.evaluation.predictions import queries_of, read_predictions, results_of
from ifrvis.evaluation.protocols import load_protocol
from ifrvis.evaluation.tracking import kept_tracks, tracking_scores
from ifrvis.schema import Model

RECORDED = ("all", "common", "matched")  # the tracking protocols of every record
SHOWN = "matched"  # the protocol of Table 3's cells
IDENTITY = "common"  # the protocol under which identity errors are counted

Count = Annotated[int, Field(ge=0, lt=10**15)]
Fraction = Annotated[float, Field(ge=0, le=1)]
# What a metric may be, by its name: a new one is a line here.
RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("AP", "AP50", "AP75", "APs", "APm", "APl"), (0, 1)),
    **dict.fromkeys(("AR1", "AR10", "AR100", "ARs", "ARm", "ARl"), (0, 1)),
    **dict.fromkeys(("IDF1", "IDP", "IDR", "HOTA", "DetA", "AssA"), (0, 1)),
    "MOTA": (-1e15, 1),
    **dict.fromkeys(("IDs", "ids_per_recalled_box", "tracks_per_video", "false_positives_per_frame"), (0, 1e15)),
}
COUNTED = ("IDs",)  # the metrics that are whole numbers


def check_metric(name: str, value: float | None) -> None:
    """Refuse what no metric of that name can be; None is undefined.

    Raises:
        ValueError: If there is no such metric, or its value is out of range or of another kind.
    """
    low, high = RANGES.get(name, (1, 0))
    if low > high:
        raise ValueError(f"Update ifrvis, or correct the name of the metric {name!r}: this version does not know it")
    if value is not None and (not low <= value <= high or isinstance(value, int) != (name in COUNTED)):
        kind = "whole number" if name in COUNTED else "number"
        raise ValueError(f"Make {name} a {kind} from {low:g} to {high:g}, a fraction where that is 1: it is {value}")


def _known(metrics: dict[str, int | float | None]) -> dict[str, int | float | None]:
    for name, value in metrics.items():
        check_metric(name, value)
    return metrics


Metrics = Annotated[dict[str, int | float | None], AfterValidator(_known)]  # null: undefined


class Tracked(Model):
    """The tracking metrics under one protocol, and its threshold of scores, or that of each half of the videos."""

    threshold: float | tuple[float, float] | None
    metrics: Metrics


class Scores(Model):
    """What is known of some predictions.

    Attributes:
        metrics: AP and the tracking metrics, under `SHOWN`, that tables show.
        per_category: AP and AR by category id as text.
        by_iou: `AP` and `AR100`, one value a threshold of `ap.IOU_THRESHOLDS`.
        tracking: The tracking metrics under every recorded protocol.
        over_thresholds: `threshold` and the tracking metrics at each candidate of protocol `SHOWN`.
        identity: Numbers of identity errors under protocol `IDENTITY`.
    """

    metrics: Metrics
    per_category: dict[str, Metrics] = Field(default={})
    by_iou: dict[str, tuple[Fraction | None, ...]] = Field(default={})
    tracking: dict[str, Tracked] = Field(default={})
    over_thresholds: dict[str, tuple[int | float | None, ...]] = Field(default={})
    identity: dict[str, Count] = Field(default={})


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
    protocols = [load_protocol(name) for name in RECORDED]
    tracking: dict[str, Any] = tracking_scores(annotations, queries, protocols, jobs=jobs)
    over_thresholds = tracking.pop("curve")
    ap: dict[str, Any] = average_precision(annotations, results_of(videos), jobs=jobs)
    kept = kept_tracks(annotations, queries, load_protocol(IDENTITY))
    tracked = {name: _tracked(found) for name, found in tracking.items()}
    return Scores(
        per_category=ap.pop("per_category"),
        by_iou={name: tuple(ap.pop(f"{name}_by_iou")) for name in ("AP", "AR100")},
        metrics={**ap, **tracked[SHOWN].metrics},
        tracking=tracked,
        over_thresholds={name: tuple(values) for name, values in over_thresholds.items()},
        identity=count_errors(identity_errors(annotations, kept, jobs=jobs)),
    )


def _tracked(found: dict[str, Any]) -> Tracked:
    threshold = found.pop("threshold")
    return Tracked(threshold=tuple(threshold) if isinstance(threshold, list) else threshold, metrics=found)
