"""HOTA, DetA and AssA of predicted tracks (Luiten et al., IJCV 2021), as TrackEval computes them.

In each frame objects and tracks are matched one to one so that the sum of their box IoUs is largest, each weighed by
how well the two tracks fit over the whole video. A match counts at every threshold that its IoU reaches. Over all
videos

    DetA   matches / (boxes of objects + boxes of tracks - matches)
    AssA   mean over matches of n / (boxes of the object + boxes of the track - n), n of them between these two
    HOTA   square root of DetA x AssA

each as the mean over the 19 thresholds.

Shape letters:
    G  objects of one video     P  predicted tracks     T  frames     A  thresholds
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ifrvis.evaluation.videos import Counts

# As TrackEval has them: an IoU of exactly 0.15 reaches its threshold, though arange's third is 0.15000000000000002.
ALPHAS = np.arange(0.05, 0.99, 0.05) - np.finfo(np.float64).eps
_AT_ONCE = 1000  # videos


def matched_pairs(gts: NDArray[np.bool_], preds: NDArray[np.bool_], ious: NDArray[np.float64]) -> NDArray[np.int64]:
    """The objects and tracks of one video that are matched, (N, 2 + A) with the numbers of a pair of `Counts` a row.

    Args:
        gts: (T, G) whether the object has a box.
        preds: (T, P) whether the track has one.
        ious: (T, G, P) of boxes, in [0, 1]; 0 where either is absent.
    """
    lengths = np.add.outer(gts.sum(axis=0), preds.sum(axis=0))
    rivals = ious.sum(axis=1, keepdims=True) + ious.sum(axis=2, keepdims=True) - ious
    shared = (ious / np.where(rivals > 0, rivals, 1)).sum(axis=0)  # (G, P) frames, less where others compete
    worth = ious * (shared / np.maximum(lengths - shared, 1))
    matched = []
    for of_frame, gt, pred in zip(worth, gts, preds):
        gt, pred = gt.nonzero()[0], pred.nonzero()[0]  # of equally good choices TrackEval's own
        rows, columns = linear_sum_assignment(of_frame.take(gt, axis=0).take(pred, axis=1), maximize=True)
        matched.append((gt.take(rows), pred.take(columns)))
    t = np.repeat(np.arange(len(matched)), [len(gt) for gt, _ in matched])
    gt, pred = map(np.concatenate, zip(*matched))
    last = np.searchsorted(ALPHAS, ious[t, gt, pred], "right")  # the last threshold that is reached; 0 for none
    shape = *shared.shape, len(ALPHAS) + 1
    frames = np.bincount(np.ravel_multi_index((gt, pred, last), shape), minlength=math.prod(shape))
    found = frames.reshape(shape)[..., 1:]
    g, p = np.nonzero(found.any(axis=2))
    return np.column_stack([gts.sum(axis=0)[g], preds.sum(axis=0)[p], found[g, p]])


def hota(boxes: int, pairs: Sequence[NDArray[Any]]) -> dict[str, float | None]:
    """HOTA, DetA and AssA of some videos together, of their boxes and what `matched_pairs` has found; None without any
    box.
    """
    sums = np.zeros((2, 1, len(ALPHAS)))
    for start in range(0, len(pairs), _AT_ONCE):  # added up pair by pair, so that how many there are changes no bit
        added = _of_pairs(np.concatenate(pairs[start : start + _AT_ONCE]))
        sums = np.concatenate([sums, added], axis=1).sum(axis=1, keepdims=True)
    found = _means(boxes, *sums[:, 0])
    return {name: float(value) if boxes else None for name, value in found.items()}


def weighed_hota(counts: Sequence[Counts], weights: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """The same of videos that count as often as their weights say, (R, V): (R,) each, NaN without any box."""
    of_video = np.repeat(np.arange(len(counts)), [len(each.pairs) for each in counts])
    sums = np.zeros((2, len(counts), len(ALPHAS)))
    pairs = np.array([(*lengths, *frames) for each in counts for *lengths, frames in each.pairs], np.int64)
    for of_pairs, by_video in zip(_of_pairs(pairs.reshape(-1, 2 + len(ALPHAS))), sums):
        np.add.at(by_video, of_video, of_pairs)
    boxes = weights @ np.array([each.gt_boxes + each.pred_boxes for each in counts], np.int64)
    found = _means(boxes[:, None], weights @ sums[0], weights @ sums[1])
    return {name: np.where(boxes > 0, values, np.nan) for name, values in found.items()}


def _of_pairs(numbers: NDArray[Any]) -> NDArray[np.float64]:
    """(2, N, A), of pairs (N, 2 + A): their matches at each threshold, and what these add to AssA's sum."""
    pairs = numbers.astype(np.float64)
    n = pairs[:, :1:-1].cumsum(axis=1)[:, ::-1]
    return np.stack([n, n**2 / np.maximum(pairs[:, :2].sum(axis=1, keepdims=True) - n, 1)])


def _means(boxes: Any, matches: NDArray[np.float64], associated: NDArray[np.float64]) -> dict[str, Any]:
    """The metrics of boxes, matches (..., A) and the sum over matches that AssA is the mean of, (..., A)."""
    det, ass = matches / np.maximum(boxes - matches, 1), associated / np.maximum(matches, 1)
    found = {"HOTA": np.sqrt(det * ass), "DetA": det, "AssA": ass}
    return {name: at.mean(axis=-1) for name, at in found.items()}
