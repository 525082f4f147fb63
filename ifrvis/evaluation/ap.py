"""Average precision of predicted tracks, as the official YouTube-VIS evaluator computes it, at full precision.

COCO's AP with one change: the overlap of two tracks is the sum of their intersections over the sum of their unions
across frames, so a frame where only one of them has a mask still adds that mask to the union. A statistic is a
fraction, or None where nothing defines it (no ground truth that counts).

Where the official code has accidents, this module does the sane thing, and the accident under `official_quirks`:
a match to the ground truth with id 0 counts as no match; frames beyond the end of the shorter of two tracks are
left out of their union; sizes of ground truth come from the areas in the annotation file, not from the masks.

Each video is matched once, to `videos.Detections`, and every statistic is made of these: `ap_of` makes AP of them
where videos count several times or never, as a bootstrap over videos draws them. Of a prediction 36 bytes are kept, of
an object's category in a video 48, and a few hundred more for each prediction of the category that is looked at.

Shape letters:
    D     predictions, of one category best first    G  ground truth of the same video
    K     IoU thresholds                             S  ranges of sizes
    C     categories                                 V  videos
    R     ways to weigh the videos                   P  recall points
    T     frames
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ifrvis.datasets.ytvis import Annotations, Track, Video
from ifrvis.evaluation.predictions import Predicted, Prediction
from ifrvis.evaluation.processes import Task, Truth, in_processes, tasks_of
from ifrvis.evaluation.tubes import Overlaps, overlaps
from ifrvis.evaluation.videos import Detections

# linspace on purpose: its ninth threshold is 0.8999999999999999, and an IoU of exactly 0.9 reaches it.
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
_RECALL_POINTS = np.linspace(0, 1, 101)
# Mean area over the frames that are not empty, in pixels; both ends belong to a range.
_SIZES = {"all": (0.0, 1e10), "s": (0.0, 128.0**2), "m": (128.0**2, 256.0**2), "l": (256.0**2, 1e10)}
_LOWEST, _LARGEST = np.array(list(_SIZES.values())).T[:, :, None]  # (S, 1) each
# Suffix of a statistic: the sizes that count, and how many predictions of one video and category.
_CURVES = {"1": ("all", 1), "10": ("all", 10), "100": ("all", 100), "s": ("s", 100), "m": ("m", 100), "l": ("l", 100)}
_MOST = 100
_AT_ONCE = 50  # multisets, whose curves fit a processor's cache
_S, _K = np.ogrid[: len(_SIZES), : len(IOU_THRESHOLDS)]
_BITS = 1 << np.arange(len(IOU_THRESHOLDS))


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


class _Flat(NamedTuple):
    """The predictions of many videos side by side, as `Detections` has them."""

    num_videos: int
    video: NDArray[np.int32]  # (D,)
    category: NDArray[np.int32]  # (D,)
    rank: NDArray[np.int32]  # (D,) in its video and category
    scores: NDArray[np.float64]  # (D,)
    hits: list[NDArray[np.uint16]]  # of each range of sizes, (D,) bits
    ignored: list[NDArray[np.uint16]]  # likewise
    objects: NDArray[np.int64]  # (N, 2 + S) of a video and a category: these, and how many objects count


class _Curves(NamedTuple):
    """Mean precision over recall points and largest recall, each (R, C, K) in [0, 1]; NaN without ground truth."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


def average_precision(
    annotations: Truth, predictions: Predicted, *, official_quirks: bool = False, jobs: int = 1
) -> dict[str, Any]:
    """AP and AR of predicted tracks; ValueError if one is about an unknown video or category, or has not one mask a
    frame.

    Of equal scores the earlier goes first. `official_quirks` repeats the accidents that the module's docstring names;
    `jobs` processes share the videos, and change no number.

    Returns:
        AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs, ARm, ARl as fractions or None; `per_category`, the same
        by category id as text; `AP_by_iou` and `AR100_by_iou`, one value a threshold of IOU_THRESHOLDS.
    """
    videos = detections(annotations, predictions, official_quirks=official_quirks, jobs=jobs)
    return statistics(videos, list(map(str, annotations.labels)))


def detections(
    annotations: Truth, predictions: Predicted, *, official_quirks: bool = False, jobs: int = 1
) -> Iterator[Detections]:
    """What each video adds to AP, in the order of their ids; arguments and errors as of `average_precision`."""
    if isinstance(annotations, Annotations) and not callable(predictions):
        _check(annotations, predictions := list(predictions), any_length=official_quirks)
    of_one = partial(_detections_of, official_quirks=official_quirks)
    tasks = tasks_of(annotations, predictions, crowds=True)  # their order decides what comes first of equal scores
    return in_processes(of_one, tasks, jobs=jobs)


def statistics(videos: Iterable[Detections], categories: Sequence[str]) -> dict[str, Any]:
    """What `average_precision` returns, of videos that are matched; `per_category` has these categories."""
    flat = _flat(videos, categories)
    once = np.ones((1, flat.num_videos), np.int64)
    curves = {suffix: _curves(flat, suffix, once, len(categories)) for suffix in _CURVES}
    each = {name: _statistics(curves, slice(c, c + 1)) for c, name in enumerate(categories)}
    of_all = zip(("AP", "AR100"), curves["100"])
    by_iou = {f"{name}_by_iou": list(map(_mean, np.moveaxis(values, 2, 0))) for name, values in of_all}
    return {**_statistics(curves, slice(None)), "per_category": each, **by_iou}


def ap_of(videos: Sequence[Detections], weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """AP of videos that count as often as their weights say.

    Args:
        videos: What each adds.
        weights: (R, V) int, 0 or more: R multisets of the videos. Copies of a video follow each other, prediction by
            prediction.

    Returns:
        (R,) in [0, 1]; NaN where no video that counts has ground truth.
    """
    names = {name for video in videos for name in (*video.objects, *video.categories)}
    flat = _flat(videos, sorted(names))
    some = [weights[start : start + _AT_ONCE] for start in range(0, len(weights), _AT_ONCE)]
    precision = np.concatenate([_curves(flat, "100", each, len(names)).precision for each in some])
    defined = ~np.isnan(precision)
    sums, number = np.where(defined, precision, 0).sum(axis=(1, 2)), defined.sum(axis=(1, 2))
    return np.where(number, sums / np.maximum(number, 1), np.nan)


def _check(annotations: Annotations, predictions: Sequence[Prediction], *, any_length: bool) -> None:
    for index, prediction in enumerate(predictions):
        video = annotations.video_by_id.get(prediction.video_id)
        if video is None or prediction.category_id not in annotations.labels:
            raise ValueError(f"prediction {index} is about a video or category that {annotations.path} does not have")
        if len(prediction.masks) != video.length and not any_length:
            raise ValueError(f"prediction {index} has {len(prediction.masks)} masks, its video {video.length} frames")


def _detections_of(task: Task, *, official_quirks: bool) -> Detections:
    """What one video adds, category by category."""
    categories = list(dict.fromkeys([*(gt.category_id for gt in task.gts), *(pred.category_id for pred in task.preds)]))
    best: list[Prediction] = []
    for category_id in categories:
        best += sorted((p for p in task.preds if p.category_id == category_id), key=lambda pred: -pred.score)[:_MOST]
    pred_labels, gt_labels = (np.array([categories.index(e.category_id) for e in of]) for of in (best, task.gts))
    same = np.equal.outer(pred_labels, gt_labels)
    pair = _pair(task.video, best, task.gts, same, official_quirks=official_quirks)
    found = [_match(pair.part(pred_labels == index, gt_labels == index)) for index in range(len(categories))]
    return Detections(
        objects={str(name): tuple(num_gt.tolist()) for name, (_, _, num_gt) in zip(categories, found)},
        categories=tuple(str(pred.category_id) for pred in best),
        scores=tuple(pair.scores.tolist()),
        hits=_bits([hits & ~ignored for hits, ignored, _ in found]),
        ignored=_bits([ignored for _, ignored, _ in found]),
    )


def _bits(found: list[NDArray[np.bool_]]) -> Any:
    """What is known of predictions at each size and threshold, (S, K, D) of each category, as `Detections` has it."""
    none = np.zeros((len(_SIZES), len(_BITS), 0), np.bool_)
    return tuple(map(tuple, (_BITS @ np.concatenate([none, *found], axis=2)).tolist()))


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


def _match(pair: _Pair) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.int64]]:
    """Give each prediction, best first, the free ground truth that it overlaps most, per size and threshold.

    Matches, (S, K, D); what is neither a match nor a false positive, (S, K, D), though it may be matched to what is
    ignored; ground truth that counts, (S,).
    """
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
    return hits, ignored | (~hits & pred_outside[:, None]), (~gt_ignored).sum(axis=1)


def _flat(videos: Iterable[Detections], categories: Sequence[str]) -> _Flat:
    index = {name: c for c, name in enumerate(categories)}
    lengths, labels, scores, objects = array("i"), array("i"), array("d"), array("q")
    flags = [array("H") for _ in range(2 * len(_SIZES))]
    for v, each in enumerate(videos):
        lengths.append(len(each.scores))
        labels.extend(index[name] for name in each.categories)
        scores.extend(each.scores)
        for of_all, of_one in zip(flags, (*each.hits, *each.ignored)):
            of_all.extend(of_one)
        for name, numbers in each.objects.items():
            objects.extend((v, index[name], *numbers) if any(numbers) else ())
    category = np.asarray(labels)  # here and below the same memory
    video = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    is_first = np.ones(len(video), np.bool_)
    is_first[1:] = (video[1:] != video[:-1]) | (category[1:] != category[:-1])
    first = np.flatnonzero(is_first).astype(np.int32)  # of each video and category
    rank = np.arange(len(video), dtype=np.int32) - np.repeat(first, np.diff(first, append=len(video)))
    bits = [np.asarray(each) for each in flags]
    hits, ignored = bits[: len(_SIZES)], bits[len(_SIZES) :]
    found = np.asarray(objects).reshape(-1, 2 + len(_SIZES))
    return _Flat(len(lengths), video, category, rank, np.asarray(scores), hits, ignored, found)


def _curves(flat: _Flat, suffix: str, weights: NDArray[np.int64], num_categories: int) -> _Curves:
    """The curves behind the statistics of one suffix, with the videos weighed in R ways, (R, V)."""
    size, most = list(_SIZES).index(_CURVES[suffix][0]), _CURVES[suffix][1]
    curves = _Curves(*np.full((2, len(weights), num_categories, len(_BITS)), np.nan))
    for c in range(num_categories):
        of = flat.objects[flat.objects[:, 1] == c]
        num_gt = weights[:, of[:, 0]] @ of[:, 2 + size]
        chosen = np.flatnonzero((flat.category == c) & (flat.rank < most))
        chosen = chosen[np.argsort(-flat.scores[chosen], kind="stable")]
        hits, ignored = ((flags[size][chosen] & _BITS[:, None]) > 0 for flags in (flat.hits, flat.ignored))
        some, found = np.flatnonzero(num_gt), hits.any(axis=0)
        weighed = weights[some][:, None, flat.video[chosen]]
        # A curve rises at hits alone; all predictions count, at every threshold, where none is ignored.
        counts = hits | ~ignored if ignored.any() else np.ones_like(ignored[:1])
        counted = np.cumsum(weighed * counts, axis=2)[..., found]
        true = np.cumsum(weighed[..., found] * hits[:, found], axis=2)
        curves.precision[some, c], curves.recall[some, c] = _curve(true, counted, num_gt[some])
    return curves


def _curve(true: NDArray[np.int64], counted: NDArray[np.int64], num_gt: NDArray[np.int64]) -> tuple[Any, Any]:
    """Mean precision and largest recall, each (R, K), of (R,) ground truth that counts.

    `true` is (R, K, D) hits among the predictions down to each, best first, and `counted`, (R, K, D) or (R, 1, D), how
    many these are, without those that are ignored.
    """
    precision = true / (counted + np.spacing(1))
    # Precision at a recall is the best at that recall or above, and 0 beyond the largest recall.
    envelope = np.pad(np.maximum.accumulate(precision[..., ::-1], axis=2)[..., ::-1], ((0, 0), (0, 0), (0, 1)))
    needed = np.ceil(_RECALL_POINTS * num_gt[:, None])  # (R, P) the fewest hits of that recall, as floats divide them
    needed -= (needed - 1) / num_gt[:, None] >= _RECALL_POINTS
    needed += needed / num_gt[:, None] < _RECALL_POINTS
    # One search for all rows: each begins above the end of the one before.
    rows, length = np.arange(len(true) * true.shape[1]).reshape(*true.shape[:2], 1), true.shape[2]
    above = rows * (max(true.max(initial=0), num_gt.max(initial=0)) + 1)
    at = np.searchsorted((true + above).ravel(), needed[:, None].astype(np.int64) + above) - rows * length
    return np.take_along_axis(envelope, at, axis=2).mean(axis=2), true.max(axis=2, initial=0) / num_gt[:, None]


def _statistics(curves: dict[str, _Curves], of: slice) -> dict[str, float | None]:
    """Means over some categories, where they are defined."""
    precision = {suffix: each.precision[0, of] for suffix, each in curves.items()}
    found = {"AP": precision["100"], "AP50": precision["100"][:, 0], "AP75": precision["100"][:, 5]}
    found |= {f"AP{size}": precision[size] for size in "sml"}
    found |= {f"AR{suffix}": each.recall[0, of] for suffix, each in curves.items()}
    return {name: _mean(values) for name, values in found.items()}


def _mean(values: NDArray[np.float64]) -> float | None:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else None
