"""From the predictions of a run to every number of a record: what a worker publishes, and what `rescore` makes anew."""

from pathlib import Path
from typing import Any

from ifrvis.datasets.ytvis import Annotations
from ifrvis.evaluation.ap import detections, statistics
from ifrvis.evaluation.identity import count_errors, curve_of
from ifrvis.evaluation.predictions import queries_of, read_tracks, read_videos_of, results_of
from ifrvis.evaluation.protocols import TrackingProtocol, load_protocol
from ifrvis.evaluation.scores import RECORDED, SHOWN, Scores, Tracked, together
from ifrvis.evaluation.tracking import follow, metrics_of
from ifrvis.evaluation.videos import Videos


def score_file(
    annotations: Annotations, path: Path, *, jobs: int = 1, protocol: TrackingProtocol | None = None
) -> tuple[Scores, Videos]:
    """Every number of a record, and what each video adds to most of them, of the predictions file of a run, or of a
    results file; UserError if the file is missing, broken, or not about exactly these videos. A `protocol` counts
    tracks in the place of those of a record, and stands for `SHOWN`.
    """
    predicted = read_videos_of(path, annotations)
    # How many queries of a video count, the inference has said: ten, or its `topk`.
    protocols = {name: load_protocol(name).model_copy(update={"most": None}) for name in RECORDED}
    thresholds, tracks = protocols[SHOWN].thresholds, queries_of(predicted)
    if protocol:
        thresholds, tracks = protocol.thresholds or thresholds, read_tracks(path, annotations, protocol.tracks)
        protocols = {SHOWN: protocol.model_copy(update={"name": SHOWN, "thresholds": thresholds})}
    followed = follow(annotations, tracks, [*protocols.values()], jobs=jobs)
    shown, levels = followed[SHOWN], protocols[SHOWN].levels
    errors = list(count_errors(annotations, shown.candidates, levels, jobs=jobs))
    videos = Videos(
        categories=tuple(map(str, annotations.labels)),
        video_ids=tuple(annotations.video_ids),
        detections=tuple(detections(annotations, results_of(predicted), jobs=jobs)),
        tracking=tuple(dict(zip(followed, of)) for of in zip(*(each.counts for each in followed.values()))),
        identity=tuple(at[level] for at, level in zip(errors, shown.levels.values())),
    )
    numbers = numbers_of(videos)
    tracking = numbers.pop("tracking")
    scores = Scores(
        **numbers,
        tracking={name: Tracked(threshold=followed[name].threshold, metrics=tracking[name]) for name in tracking},
        over_thresholds=shown.curve or {},
        identity_curve=curve_of(errors, thresholds),
    )
    return scores, videos


def numbers_of(videos: Videos) -> dict[str, Any]:
    """All of `Scores` that is at no other thresholds than a protocol's own; `tracking` is metrics by protocol."""
    ap = statistics(videos.detections, videos.categories)
    names = videos.tracking[0] if videos.tracking else ()
    tracking = {name: metrics_of([each[name] for each in videos.tracking]) for name in names}
    return {
        "per_category": ap.pop("per_category"),
        "by_iou": {name: tuple(ap.pop(f"{name}_by_iou")) for name in ("AP", "AR100")},
        "metrics": ap | tracking.get(SHOWN, {}),
        "tracking": tracking,
        "identity": together(videos.identity),
    }
