"""Average precision of predicted tracks, as the official YouTube-VIS evaluator computes it, at full precision.

COCO's AP with one change: the overlap of two tracks is the sum of their intersections over the sum of their unions
across frames, so a frame where only one of them has a mask still adds that mask to the union. A statistic is a
fraction, or None where nothing defines it (no ground truth that counts).

Where the official code has accidents, this module does the sane thing, and the accident under `official_quirks`:
a match to the ground truth with id 0 counts as no match; frames beyond the end of the shorter of two tracks are
left out of their union; sizes of ground truth come from the areas in the annotation file, not from the masks.

Shape letters:
    D     predictions of one video and category, best first    G  ground truth of the same
    K     IoU thresholds                                       S  ranges of sizes
    T     frames
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ifrvis.datasets.ytvis import Annotations, Id, Track, Video
from ifrvis.evaluation.predictions import Prediction
from ifrvis.evaluation.processes import Task, in_processes, tasks_of
from ifrvis.evaluation.tubes import Overlaps, overlaps

# linspace on purpose: its ninth threshold is 0.8999999999999999, and an IoU of exactly 0.9 reaches it.
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
_RECALL_POINTS = np.linspace(0, 1, 101)
# Mean area over the frames that are not empty, in pixels; both ends belong to a range.
_SIZES = {"all": (0.0, 1e10), "s": (0.0, 128.0**2), "m": (128.0**2, 256.0**2), "l": (256.0**2, 1e10)}
_LOWEST, _LARGEST = np.array(list(_SIZES.values())).T[:, :, None]  # (S, 1) each
# Suffix of a statistic: the sizes that count, and how many predictions of one video and category.
_CURVES = {"1": ("all", 1), "10": ("all", 10), "100": ("all", 100), "s": ("s", 100), "m": ("m", 100), "l": ("l", 100)}
_MOST = 100
_S, _K = np.ogrid[: len(_SIZES), : len(IOU_THRESHOLDS)]


class _Pair(NamedTuple):
    """Predictions and ground truth of one video; after `part`, of one category."""

    scores: NDArray[np.float64]  # (D,) falling in each category
    ious: NDArray[np.float64]  # (D, G) in [0, 1]
    pred_areas: NDArray[np.float64]  # (D,) pixels
    gt_areas: NDArray[np.float64]  # (G,) pixels
    gt_crowd: NDArray[np.bool_]  # (G,)
    gt_counts: NDArray[np.bool_]  # (G,) whether a match to it counts as a match

    def part(self, preds: NDArray[np.bool_], gts: NDArray[np.bool_]) -> "_Pair":
        """The same of some predictions, (D,) bool, and some ground truth, (G,) bool."""
        of_gts = (self.gt_areas[gts], self.gt_crowd[gts], self.gt_counts[gts])
        return _Pair(self.scores[preds], self.ious[preds][:, gts], self.pred_areas[preds], *of_gts)


class _Matches(NamedTuple):
    """One pair after matching."""

    scores: NDArray[np.float64]  # (D,)
    hits: NDArray[np.bool_]  # (S, K, D)
    ignored: NDArray[np.bool_]  # (S, K, D) neither hit nor false positive
    num_gt: NDArray[np.int64]  # (S,) ground truth that counts


class _Curve(NamedTuple):
    """Mean precision over recall points and largest recall, per IoU threshold; each (K,) in [0, 1]."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


def average_precision(
    annotations: Annotations, predictions: Sequence[Prediction], *, official_quirks: bool = False, jobs: int = 1
) -> dict[str, Any]:
    """AP and AR of predicted tracks.

    Args:
        annotations: Ground truth.
        predictions: Predicted tracks of its videos; of equal scores the earlier one goes first.
        official_quirks: Repeat the accidents of the official code that the module's docstring names.
        jobs: Processes that share the videos; they change no number.

    Returns:
        AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs, ARm, ARl as fractions or None; `per_category`, the same
        by category id as text; `AP_by_iou` and `AR100_by_iou`, one value a threshold of IOU_THRESHOLDS.

    Raises:
        ValueError: If a prediction is about an unknown video or category, or has not one mask a frame of its video.
    """
    _check(annotations, predictions, any_length=official_quirks)
    matches: dict[Id, list[_Matches]] = {category_id: [] for category_id in annotations.labels}
    of_one = partial(_matches_of, official_quirks=official_quirks)
    tasks = tasks_of(annotations, predictions, crowds=True)  # their order decides what comes first of equal scores
    for of_video in in_processes(of_one, tasks, jobs=jobs):
        for category_id, found in of_video.items():
            matches[category_id].append(found)
    curves = {category_id: _curves(found) for category_id, found in matches.items()}
    defined = [curve for of_category in curves.values() if (curve := of_category["100"])]
    return {
        **_statistics(curves.values()),
        "per_category": {str(category_id): _statistics([of_category]) for category_id, of_category in curves.items()},
        "AP_by_iou": [_mean([curve.precision[k] for curve in defined]) for k in range(len(IOU_THRESHOLDS))],
        "AR100_by_iou": [_mean([curve.recall[k] for curve in defined]) for k in range(len(IOU_THRESHOLDS))],
    }


def _check(annotations: Annotations, predictions: Sequence[Prediction], *, any_length: bool) -> None:
    for index, prediction in enumerate(predictions):
        video = annotations.video_by_id.get(prediction.video_id)
        if video is None or prediction.category_id not in annotations.labels:
            raise ValueError(f"prediction {index} is about a video or category that {annotations.path} does not have")
        if len(prediction.masks) != video.length and not any_length:
            raise ValueError(f"prediction {index} has {len(prediction.masks)} masks, its video {video.length} frames")


def _matches_of(task: Task, *, official_quirks: bool) -> dict[Id, _Matches]:
    """The matches of one video in each category that it has predictions or ground truth of."""
    categories = list(dict.fromkeys([*(gt.category_id for gt in task.gts), *(pred.category_id for pred in task.preds)]))
    best: list[Prediction] = []
    for category_id in categories:
        best += sorted((p for p in task.preds if p.category_id == category_id), key=lambda pred: -pred.score)[:_MOST]
    pred_labels, gt_labels = (np.array([categories.index(e.category_id) for e in of]) for of in (best, task.gts))
    same = np.equal.outer(pred_labels, gt_labels)
    pair = _pair(task.video, best, task.gts, same, official_quirks=official_quirks)
    return {
        category_id: _match(pair.part(pred_labels == index, gt_labels == index))
        for index, category_id in enumerate(categories)
    }


def _pair(
    video: Video, preds: list[Prediction], gts: Sequence[Track], same: NDArray[np.bool_], *, official_quirks: bool
) -> _Pair:
    # Below the first threshold no IoU matters. The official code's is of shorter tubes, and can be larger.
    least_iou = 0.0 if official_quirks else IOU_THRESHOLDS[0]
    both = overlaps(video, [p.masks for p in preds], [gt.masks for gt in gts], pairs=same, least_iou=least_iou)
    pred_lengths, gt_lengths = (np.array([len(each.masks) for each in tracks], np.int64) for tracks in (preds, gts))
    gt_areas = [_claimed_areas(gt, areas) if official_quirks else areas for gt, areas in zip(gts, both.gt_areas.T)]
    return _Pair(
        scores=np.array([pred.score for pred in preds], np.float64),
        ious=_tube_ious(both, np.minimum.outer(pred_lengths, gt_lengths)),
        pred_areas=_mean_areas(both.pred_areas.T),
        gt_areas=_mean_areas(np.array(gt_areas).reshape(len(gts), len(both.shared))),
        gt_crowd=np.array([gt.is_crowd for gt in gts], np.bool_),
        gt_counts=np.array([not (official_quirks and gt.id == 0) for gt in gts], np.bool_),
    )


def _tube_ious(both: Overlaps, lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sums of intersections over sums of unions across the first `lengths` (D, G) frames; 0 for two empty tubes."""
    shared = both.shared.sum(axis=0)
    areas = np.concatenate((both.pred_areas, both.gt_areas), axis=1)
    sums = np.concatenate((np.zeros((1, areas.shape[1]), np.int64), np.cumsum(areas, axis=0)))
    d, g = np.indices(lengths.shape)
    unions = sums[lengths, d] + sums[lengths, len(lengths) + g] - shared
    ious: NDArray[np.float64] = shared / np.maximum(unions, 1)
    return ious


def _claimed_areas(gt: Track, areas: NDArray[np.int64]) -> NDArray[Any]:
    """The areas that the annotation file gives; where it gives none (the official code stops) the masks'."""
    if all(claimed is None for claimed in gt.areas):
        return areas
    return np.pad([claimed or 0 for claimed in gt.areas], (0, len(areas) - len(gt.areas)))


def _mean_areas(areas: NDArray[Any]) -> NDArray[np.float64]:
    """(N,) mean over the frames that are not empty, of (N, T) areas; 0 where all are."""
    return np.asarray(areas.sum(axis=1) / np.maximum(np.count_nonzero(areas, axis=1), 1), np.float64)


def _match(pair: _Pair) -> _Matches:
    """Give each prediction, best first, the free ground truth that it overlaps most, per size and threshold."""
    gt_ignored = pair.gt_crowd | (pair.gt_areas < _LOWEST) | (pair.gt_areas > _LARGEST)
    hits, ignored = np.zeros((2, len(_SIZES), len(IOU_THRESHOLDS), len(pair.scores)), np.bool_)
    free = np.ones((len(_SIZES), len(IOU_THRESHOLDS), len(pair.gt_areas)), np.bool_)
    for d in np.flatnonzero((pair.ious >= IOU_THRESHOLDS[0]).any(axis=1)):
        reached = free & (pair.ious[d] >= IOU_THRESHOLDS[:, None])
        counting = reached & ~gt_ignored[:, None]  # what is ignored is matched only where nothing else can be
        reached = np.where(counting.any(axis=2, keepdims=True), counting, reached)
        candidates = np.where(reached, pair.ious[d], -1.0)
        match = candidates.shape[2] - 1 - candidates[:, :, ::-1].argmax(axis=2)  # the later of equals
        matched = reached[_S, _K, match]
        hits[:, :, d] = matched & pair.gt_counts[match]
        ignored[:, :, d] = matched & gt_ignored[_S, match]
        free[_S, _K, match] &= ~matched | pair.gt_crowd[match]  # a crowd takes any number
    pred_outside = (pair.pred_areas < _LOWEST) | (pair.pred_areas > _LARGEST)
    return _Matches(pair.scores, hits, ignored | (~hits & pred_outside[:, None]), (~gt_ignored).sum(axis=1))


def _curves(matches: list[_Matches]) -> dict[str, _Curve | None]:
    """The curves of one category, by suffix; None where no ground truth counts."""
    return {
        suffix: _curve(matches, list(_SIZES).index(size), max_preds) for suffix, (size, max_preds) in _CURVES.items()
    }


def _curve(matches: list[_Matches], size: int, max_preds: int) -> _Curve | None:
    num_gt = sum(int(each.num_gt[size]) for each in matches)
    if not num_gt:
        return None
    order = np.argsort(-np.concatenate([each.scores[:max_preds] for each in matches]), kind="stable")
    hits = np.concatenate([each.hits[size, :, :max_preds] for each in matches], axis=1)[:, order]
    ignored = np.concatenate([each.ignored[size, :, :max_preds] for each in matches], axis=1)[:, order]
    true = np.cumsum(hits & ~ignored, axis=1)
    false = np.cumsum(~hits & ~ignored, axis=1)
    recall = true / num_gt
    precision = true / (true + false + np.spacing(1))
    # Precision at a recall is the best at that recall or above, and 0 beyond the largest recall.
    envelope = np.pad(np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1], ((0, 0), (0, 1)))
    sampled = [best[np.searchsorted(reached, _RECALL_POINTS)] for best, reached in zip(envelope, recall)]
    return _Curve(np.mean(sampled, axis=1), recall.max(axis=1, initial=0.0))


def _statistics(of_categories: Iterable[dict[str, _Curve | None]]) -> dict[str, float | None]:
    """Means over the categories where they are defined."""
    categories = list(of_categories)
    curves = {suffix: [curve for each in categories if (curve := each[suffix])] for suffix in _CURVES}
    statistics = {
        "AP": _mean([curve.precision for curve in curves["100"]]),
        "AP50": _mean([curve.precision[0] for curve in curves["100"]]),
        "AP75": _mean([curve.precision[5] for curve in curves["100"]]),
    }
    statistics |= {f"AP{size}": _mean([curve.precision for curve in curves[size]]) for size in "sml"}
    return statistics | {f"AR{suffix}": _mean([curve.recall for curve in curves[suffix]]) for suffix in _CURVES}


def _mean(values: Sequence[Any]) -> float | None:
    return float(np.mean(values)) if len(values) else None
