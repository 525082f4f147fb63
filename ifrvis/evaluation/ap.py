"""Average precision of predicted tracks, as the official YouTube-VIS evaluator computes it, at full precision.

COCO's AP with one change: the overlap of two tracks is the sum of their intersections over the sum of their unions
across frames, so a frame where only one of them has a mask still adds that mask to the union. A statistic is a
fraction, or None where nothing defines it (no ground truth that counts).

Where the official code has accidents, this module does the sane thing, and the accident under `official_quirks`:
a match to the ground truth with id 0 counts as no match; frames beyond the end of the shorter of two tracks are
left out of their union; sizes of ground truth come from the areas in the annotation file, not from the masks.

Shape letters:
    D     predictions of one video and category, best first    G  ground truth of the same
    K     IoU thresholds
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ifrvis.datasets import rle
from ifrvis.datasets.ytvis import Annotations, Id, Track, id_order
from ifrvis.evaluation.predictions import Prediction

__all__ = ["IOU_THRESHOLDS", "average_precision"]

# linspace on purpose: its ninth threshold is 0.8999999999999999, and an IoU of exactly 0.9 reaches it.
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
_RECALL_POINTS = np.linspace(0, 1, 101)
# Mean area over the frames that are not empty, in pixels; both ends belong to a range.
_SIZES = {"all": (0.0, 1e10), "s": (0.0, 128.0**2), "m": (128.0**2, 256.0**2), "l": (256.0**2, 1e10)}
# Suffix of a statistic: the sizes that count, and how many predictions of one video and category.
_CURVES = {"1": ("all", 1), "10": ("all", 10), "100": ("all", 100), "s": ("s", 100), "m": ("m", 100), "l": ("l", 100)}


class _Tube(NamedTuple):
    """The masks of one track, one or None a frame, and their areas in pixels."""

    masks: Sequence[rle.Rle | None]
    areas: NDArray[np.int64]


class _Pair(NamedTuple):
    """Predictions and ground truth of one video and category."""

    scores: NDArray[np.float64]  # (D,) falling
    ious: NDArray[np.float64]  # (D, G) in [0, 1]
    pred_areas: NDArray[np.float64]  # (D,) pixels
    gt_areas: NDArray[np.float64]  # (G,) pixels
    gt_crowd: NDArray[np.bool_]  # (G,)
    gt_counts: NDArray[np.bool_]  # (G,) whether a match to it counts as a match


class _Matches(NamedTuple):
    """One pair after matching, for one range of sizes."""

    scores: NDArray[np.float64]  # (D,)
    hits: NDArray[np.bool_]  # (K, D)
    ignored: NDArray[np.bool_]  # (K, D) neither hit nor false positive
    num_gt: int  # ground truth that counts


class _Curve(NamedTuple):
    """Mean precision over recall points and largest recall, per IoU threshold; each (K,) in [0, 1]."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


def average_precision(
    annotations: Annotations, predictions: Sequence[Prediction], *, official_quirks: bool = False
) -> dict[str, Any]:
    """AP and AR of predicted tracks.

    Args:
        annotations: Ground truth.
        predictions: Predicted tracks of its videos; of equal scores the earlier one goes first.
        official_quirks: Repeat the accidents of the official code that the module's docstring names.

    Returns:
        AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs, ARm, ARl as fractions or None; `per_category`, the same
        by category id as text; `AP_by_iou` and `AR100_by_iou`, one value a threshold of IOU_THRESHOLDS.

    Raises:
        ValueError: If a prediction is about an unknown video or category, or has not one mask a frame of its video.
    """
    _check(annotations, predictions, any_length=official_quirks)
    pairs = _pairs(annotations, predictions, official_quirks=official_quirks)
    curves = {category_id: _curves(pairs[category_id]) for category_id in annotations.labels}
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


def _pairs(
    annotations: Annotations, predictions: Sequence[Prediction], *, official_quirks: bool
) -> Mapping[Id, list[_Pair]]:
    """The pairs of each category, by video id: on that order hangs what comes first of equal scores."""
    preds, gts, pairs = defaultdict(list), defaultdict(list), defaultdict(list)
    for prediction in predictions:
        preds[prediction.category_id, prediction.video_id].append(prediction)
    for track in annotations.tracks:
        gts[track.category_id, track.video_id].append(track)
    for key in sorted(preds.keys() | gts.keys(), key=lambda key: id_order(key[1])):
        pairs[key[0]].append(_pair(preds[key], gts[key], official_quirks=official_quirks))
    return pairs


def _pair(preds: list[Prediction], gts: list[Track], *, official_quirks: bool) -> _Pair:
    best = sorted(preds, key=lambda pred: -pred.score)[:100]
    pred_tubes, gt_tubes = [[_tube(track.masks) for track in tracks] for tracks in (best, gts)]
    ious = [[_tube_iou(pred, gt) for gt in gt_tubes] for pred in pred_tubes]
    gt_areas = [_claimed_areas(gt, tube) if official_quirks else tube.areas for gt, tube in zip(gts, gt_tubes)]
    return _Pair(
        scores=np.array([pred.score for pred in best], np.float64),
        ious=np.array(ious, np.float64).reshape(len(best), len(gts)),
        pred_areas=np.array([_mean_area(tube.areas) for tube in pred_tubes]),
        gt_areas=np.array([_mean_area(areas) for areas in gt_areas]),
        gt_crowd=np.array([gt.is_crowd for gt in gts], np.bool_),
        gt_counts=np.array([not (official_quirks and gt.id == 0) for gt in gts], np.bool_),
    )


def _tube(masks: Sequence[rle.Rle | None]) -> _Tube:
    return _Tube(masks, np.array([0 if mask is None else rle.area(mask) for mask in masks], np.int64))


def _tube_iou(pred: _Tube, gt: _Tube) -> float:
    """Sum of intersections over sum of unions across frames; 0 for two empty tubes."""
    both = [(p, g) for p, g in zip(pred.masks, gt.masks) if p is not None and g is not None]
    intersection = sum(rle.intersection(p, g) for p, g in both)
    length = min(len(pred.masks), len(gt.masks))  # they differ under the official quirks only
    union = int(pred.areas[:length].sum() + gt.areas[:length].sum()) - intersection
    return intersection / union if union else 0.0


def _claimed_areas(gt: Track, tube: _Tube) -> NDArray[Any]:
    """The areas that the annotation file gives; where it gives none (the official code stops) the masks'."""
    if all(claimed is None for claimed in gt.areas):
        return tube.areas
    return np.array([claimed or 0 for claimed in gt.areas])


def _mean_area(areas: NDArray[Any]) -> float:
    return float(areas[areas > 0].mean()) if areas.any() else 0.0


def _curves(pairs: list[_Pair]) -> dict[str, _Curve | None]:
    """The curves of one category, by suffix; None where no ground truth counts."""
    matches = {size: [_match(pair, *limits) for pair in pairs] for size, limits in _SIZES.items()}
    return {suffix: _curve(matches[size], max_preds) for suffix, (size, max_preds) in _CURVES.items()}


def _match(pair: _Pair, smallest: float, largest: float) -> _Matches:
    """Give each prediction, best first, the free ground truth that it overlaps most, at each threshold."""
    gt_ignored = pair.gt_crowd | (pair.gt_areas < smallest) | (pair.gt_areas > largest)
    hits, ignored = np.zeros((2, len(IOU_THRESHOLDS), len(pair.scores)), np.bool_)
    for k, threshold in enumerate(IOU_THRESHOLDS):
        free = np.ones(len(gt_ignored), np.bool_)
        for d, ious in enumerate(pair.ious):
            reached = free & (ious >= threshold)
            if (reached & ~gt_ignored).any():  # ground truth that is ignored is matched only where no other can be
                reached &= ~gt_ignored
            if reached.any():
                match = np.flatnonzero(reached & (ious == ious[reached].max()))[-1]  # the later of equals
                hits[k, d], ignored[k, d] = pair.gt_counts[match], gt_ignored[match]
                free[match] = pair.gt_crowd[match]  # a crowd takes any number
    pred_outside = (pair.pred_areas < smallest) | (pair.pred_areas > largest)
    return _Matches(pair.scores, hits, ignored | (~hits & pred_outside), int((~gt_ignored).sum()))


def _curve(matches: list[_Matches], max_preds: int) -> _Curve | None:
    num_gt = sum(each.num_gt for each in matches)
    if not num_gt:
        return None
    order = np.argsort(-np.concatenate([each.scores[:max_preds] for each in matches]), kind="stable")
    hits = np.concatenate([each.hits[:, :max_preds] for each in matches], axis=1)[:, order]
    ignored = np.concatenate([each.ignored[:, :max_preds] for each in matches], axis=1)[:, order]
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
