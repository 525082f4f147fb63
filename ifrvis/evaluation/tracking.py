"""IDF1, MOTA, IDP, IDR and identity switches of predicted tracks (paper, Sec. 4.4 and Table 3), by motmetrics.

An object's box in a frame is the tight box of its mask; where the mask is empty there is none. Categories are ignored,
crowds left out. Each video has an accumulator of its own; their counts are merged. What counts as a track is a
protocol (`protocols`): with fewer tracks of a video kept, it is counted again, once for each number of them.

Shape letters:
    G  ground truth of one video     P  predicted tracks of it     T  frames
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import motmetrics
import numpy as np
from numpy.typing import NDArray

from ifrvis.datasets.ytvis import Annotations, Track, Video
from ifrvis.evaluation.predictions import Prediction
from ifrvis.evaluation.processes import Task, in_processes, tasks_of
from ifrvis.evaluation.protocols import TrackingProtocol, halves
from ifrvis.evaluation.tubes import boxes

_COUNTS = ["num_frames", "num_objects", "num_predictions", "num_detections", "num_switches", "num_false_positives"]
_COUNTS += ["num_misses", "idtp", "idfp", "idfn"]
_SHARES = {"IDF1": "idf1", "MOTA": "mota", "IDP": "idp", "IDR": "idr"}
LEAST_IOU = 0.5  # boxes that overlap less are no match (paper, Sec. 4.4)
_HOST = motmetrics.metrics.create()

Counts = Mapping[str, float]


class Boxes(NamedTuple):
    """The boxes of one video as metrics need them."""

    gts: NDArray[np.bool_]  # (T, G) whether there is a box
    preds: NDArray[np.bool_]  # (T, P)
    ious: NDArray[np.float64]  # (T, G, P) in [0, 1]


def tracking_scores(
    annotations: Annotations,
    predictions: Iterable[Prediction],
    protocols: Sequence[TrackingProtocol],
    *,
    jobs: int = 1,
) -> dict[str, Any]:
    """The tracking metrics under one or more protocols that start from the same tracks.

    Args:
        annotations: Ground truth.
        predictions: Predicted tracks: queries or entries, as the protocols say.
        protocols: What is kept of them; all with the same `most`.
        jobs: Processes that share the videos; they change no number.

    Returns:
        By the name of each protocol IDF1, MOTA, IDP, IDR (fractions, or None), IDs, `ids_per_recalled_box`,
        `tracks_per_video`, `false_positives_per_frame` and `threshold` (two for `matched`: of the videos of half 0, of
        half 1). Under `curve` the same metrics as tuples over the candidates, if a protocol has any.
    """
    levels = list(dict.fromkeys(level for protocol in protocols for level in protocol.levels))
    tasks, counts = _counted(annotations, predictions, protocols[0], levels, jobs)
    scores: dict[str, Any] = {}
    for protocol in protocols:
        assert protocol.most == protocols[0].most
        threshold, of_video = _thresholds(protocol, tasks, counts)
        metrics = _metrics([found[level] for found, level in zip(counts, of_video)])
        scores[protocol.name] = {**metrics, "threshold": threshold}
        if protocol.thresholds:
            at = [_metrics([found[level] for found in counts]) for level in protocol.thresholds]
            curve = {name: tuple(metrics[name] for metrics in at) for name in at[0]}
            scores["curve"] = {"threshold": protocol.thresholds, **curve}
    return scores


def kept_tracks(
    annotations: Annotations, predictions: Iterable[Prediction], protocol: TrackingProtocol, *, jobs: int = 1
) -> list[Prediction]:
    """The tracks that a protocol keeps."""
    levels = protocol.levels if protocol.threshold == "matched" else ()
    tasks, counts = _counted(annotations, predictions, protocol, levels, jobs)
    of_video = _thresholds(protocol, tasks, counts)[1]
    return [task.preds[index] for task, level in zip(tasks, of_video) for index in _kept(task.preds, level)]


def _counted(
    annotations: Annotations,
    predictions: Iterable[Prediction],
    protocol: TrackingProtocol,
    levels: Sequence[float | None],
    jobs: int,
) -> tuple[list[Task], list[dict[float | None, Counts]]]:
    """A task a video, and its counts at each threshold."""
    tasks = tasks_of(annotations, predictions, crowds=False)
    tasks = [task._replace(preds=protocol.select(task.preds)) for task in tasks]
    work = partial(_counts_at, levels=levels)
    found = in_processes(work, tasks, jobs=jobs) if levels else [()] * len(tasks)
    return tasks, [dict(zip(levels, each)) for each in found]


def boxes_of(video: Video, gts: Sequence[Track], preds: Sequence[Prediction]) -> Boxes:
    """The boxes of one video, and how they overlap."""
    of_gts, of_preds = (boxes(video, [track.masks for track in tracks]) for tracks in (gts, preds))
    first, second = of_gts[:, :, None], of_preds[:, None]
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., :2] + first[..., 2:], second[..., :2] + second[..., 2:])
    shared = np.maximum(high - low, 0).prod(axis=3)
    areas = [each[..., 2:].prod(axis=2) for each in (of_gts, of_preds)]
    unions = areas[0][:, :, None] + areas[1][:, None] - shared
    return Boxes(areas[0] > 0, areas[1] > 0, shared / np.maximum(unions, 1))


def _kept(preds: Sequence[Prediction], threshold: float | None) -> list[int]:
    return [index for index, pred in enumerate(preds) if threshold is None or pred.score >= threshold]


def _counts_at(task: Task, *, levels: Sequence[float | None]) -> list[Counts]:
    """The counts of one video at each threshold, computed once for thresholds that keep the same tracks."""
    found = boxes_of(*task)
    counts: dict[int, Counts] = {}
    at = [_kept(task.preds, level) for level in levels]
    for kept in at:
        if len(kept) not in counts:
            counts[len(kept)] = _counts(found, kept)
    return [counts[len(kept)] for kept in at]


def _counts(found: Boxes, kept: list[int]) -> Counts:
    """What motmetrics counts in one video, and how many tracks have a box."""
    accumulator = motmetrics.MOTAccumulator(auto_id=True)
    distances = np.where(found.ious >= LEAST_IOU, 1 - found.ious, np.nan)[:, :, kept]
    present = found.preds[:, kept]
    for gts, preds, distance in zip(found.gts, present, distances):
        accumulator.update(np.flatnonzero(gts), np.flatnonzero(preds), distance[np.ix_(gts, preds)])
    counts = _HOST.compute(accumulator, metrics=_COUNTS, return_dataframe=False)
    return {**{name: float(counts[name]) for name in _COUNTS}, "num_tracks": float(present.any(axis=0).sum())}


def _thresholds(
    protocol: TrackingProtocol, tasks: list[Task], counts: list[dict[float | None, Counts]]
) -> tuple[Any, list[float | None]]:
    """The threshold as a record says it, and the threshold of each video."""
    if protocol.threshold != "matched":
        return protocol.threshold, [protocol.threshold] * len(tasks)
    half_of = halves([task.video.id for task in tasks], protocol.seed)
    best: list[float | None] = []
    for half in (0, 1):
        part = [found for found, task in zip(counts, tasks) if half_of[task.video.id] == half]
        at = [_metrics([found[level] for found in part])["IDF1"] for level in protocol.thresholds]
        known = [pair for pair in zip(at, protocol.thresholds) if pair[0] is not None]
        best.append(max(known, key=lambda pair: pair[0])[1] if known else None)  # the lowest of equals
    # Chosen on one half, used on the other; where that has no box to choose by, as of a single video, on the same.
    used = [next(each for each in (*of, protocol.thresholds[0]) if each is not None) for of in (best[::-1], best)]
    return tuple(used), [used[half_of[task.video.id]] for task in tasks]


def _metrics(counts: Sequence[Counts]) -> dict[str, Any]:
    """The metrics of some videos together; None where one is undefined."""
    merged = _HOST.compute_overall(counts, metrics=[*_SHARES.values(), *_COUNTS], return_dataframe=False)
    metrics: dict[str, Any] = {name: _finite(merged[key]) for name, key in _SHARES.items()}
    return {
        **metrics,
        "IDs": int(merged["num_switches"]),
        "ids_per_recalled_box": _ratio(merged["num_switches"], merged["num_detections"]),
        "tracks_per_video": _ratio(sum(each["num_tracks"] for each in counts), len(counts)),
        "false_positives_per_frame": _ratio(merged["num_false_positives"], merged["num_frames"]),
    }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _ratio(number: float, of: float) -> float | None:
    return float(number / of) if of else None
