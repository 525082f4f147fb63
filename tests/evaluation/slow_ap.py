"""The slow reference of `ifrvis.evaluation.ap`: masks are decoded, and everything is a loop."""

import numpy as np

from ifrvis.datasets.rle import decode
from ifrvis.datasets.ytvis import id_order

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_POINTS = np.linspace(0, 1, 101)
SIZES = {"all": (0, 1e10), "s": (0, 128**2), "m": (128**2, 256**2), "l": (256**2, 1e10)}
CURVES = {"1": ("all", 1), "10": ("all", 10), "100": ("all", 100), "s": ("s", 100), "m": ("m", 100), "l": ("l", 100)}


def average_precision(annotations, predictions, *, official_quirks=False):
    found = {
        category_id: _of_category(annotations, predictions, category_id, official_quirks)
        for category_id in annotations.labels
    }
    curves = [each["100"] for each in found.values() if each["100"] is not None]
    return {
        **_statistics(list(found.values())),
        "per_category": {str(category_id): _statistics([each]) for category_id, each in found.items()},
        "AP_by_iou": [_mean([precision[k] for precision, _ in curves]) for k in range(10)],
        "AR100_by_iou": [_mean([recall[k] for _, recall in curves]) for k in range(10)],
    }


def _of_category(annotations, predictions, category_id, quirks):
    """By suffix of a statistic: ten mean precisions and ten recalls, or None where nothing is defined."""
    videos = []
    for video in sorted(annotations.videos, key=lambda video: id_order(video.id)):
        preds = [p for p in predictions if (p.video_id, p.category_id) == (video.id, category_id)]
        best = sorted(preds, key=lambda pred: -pred.score)[:100]
        gts = [t for t in annotations.tracks if (t.video_id, t.category_id) == (video.id, category_id)]
        videos.append((best, gts, [[_iou(pred.masks, gt.masks) for gt in gts] for pred in best]))
    return {suffix: _curve(videos, SIZES[size], most, quirks) for suffix, (size, most) in CURVES.items()}


def _curve(videos, size, most, quirks):
    num_gt = sum(not _ignored(gt, size, quirks) for _, gts, _ in videos for gt in gts)
    if not num_gt:
        return None
    precisions, recalls = [], []
    for threshold in THRESHOLDS:
        outcomes = [each for video in videos for each in _outcomes(*video, threshold, size, quirks)[:most]]
        true, false, points = 0, 0, [(0.0, 0.0)]
        for _, outcome in sorted(outcomes, key=lambda outcome: -outcome[0]):
            true, false = true + (outcome == "hit"), false + (outcome == "miss")
            points.append((true / num_gt, true / (true + false + np.spacing(1))))
        at = [max((precision for recall, precision in points if recall >= r), default=0) for r in RECALL_POINTS]
        precisions.append(np.mean(at))
        recalls.append(true / num_gt)
    return precisions, recalls


def _outcomes(preds, gts, ious, threshold, size, quirks):
    """The score of each prediction, best first, and what becomes of it: hit, miss or ignored."""
    taken, outcomes = set(), []
    for pred, overlaps in zip(preds, ious):
        free = [g for g in range(len(gts)) if overlaps[g] >= threshold and g not in taken]
        free = [g for g in free if not _ignored(gts[g], size, quirks)] or free
        if free:
            match = max(free, key=lambda g: (overlaps[g], g))  # the later of equals
            if not gts[match].is_crowd:
                taken.add(match)
            counts = not (quirks and gts[match].id == 0)
            outcome = "ignored" if _ignored(gts[match], size, quirks) else "hit" if counts else "miss"
        if not free or outcome == "miss":
            outcome = "miss" if size[0] <= _mean_area(pred.masks) <= size[1] else "ignored"
        outcomes.append((pred.score, outcome))
    return outcomes


def _ignored(gt, size, quirks):
    claimed = [area for area in gt.areas if area]
    of_file = quirks and any(area is not None for area in gt.areas)
    area = (np.mean(claimed) if claimed else 0) if of_file else _mean_area(gt.masks)
    return gt.is_crowd or not size[0] <= area <= size[1]


def _iou(pred, gt):
    shared = union = 0
    for p, g in zip(pred, gt):  # the shorter of the two ends it
        pixels = [mask is not None and decode(mask) for mask in (p, g)]
        shared += np.sum(pixels[0] & pixels[1])
        union += np.sum(pixels[0] | pixels[1])
    return shared / union if union else 0


def _mean_area(masks):
    areas = [area for mask in masks if mask is not None and (area := decode(mask).sum())]
    return np.mean(areas) if areas else 0


def _statistics(categories):
    def mean(suffix, part, k=slice(None)):
        return _mean([np.mean(each[suffix][part][k]) for each in categories if each[suffix] is not None])

    found = {"AP": mean("100", 0), "AP50": mean("100", 0, 0), "AP75": mean("100", 0, 5)}
    return {**found, **{f"AP{s}": mean(s, 0) for s in "sml"}, **{f"AR{suffix}": mean(suffix, 1) for suffix in CURVES}}


def _mean(values):
    return float(np.mean(values)) if values else None
