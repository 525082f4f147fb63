"""Intervals over test videos: how far the numbers of trained models would move on other videos of the kind.

Again and again half of the videos are drawn and count twice (a repeated half-sample bootstrap: Saigo, Shao and Sitter,
2001), and every metric is made anew of those drawn: AP of the matches of all of them together, tracking metrics of
their sums (`videos`). All runs on a set meet the same draws, so that what is easy or hard for both sides of a
difference cancels. What trainings with other seeds would give this does not say, nor what other thresholds of the
protocol `matched` would: both stay as they are.

AP of few videos is too high, since its precision is the best at a recall or above, and the fewer they are, the more.
Half-samples repeat that error once more; percentiles would add it, so intervals are basic ones (Davison and Hinkley,
1997, Sec. 2.4), which take it off. In draws with replacement a video that comes several times ties with itself.
`python studies/coverage.py` measures how often intervals hold the truth.

Shape letters:
    V  videos    R  the videos as they are, then resamples of them
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ifrvis.datasets.ytvis import Id
from ifrvis.errors import UserError
from ifrvis.evaluation.ap import ap_of
from ifrvis.evaluation.scores import SHOWN, Identity
from ifrvis.evaluation.tracking import weighed_metrics
from ifrvis.evaluation.videos import Videos
from ifrvis.files import canonical_json, sha256_bytes
from ifrvis.streams import Stream, generator

RESAMPLES, SEED = 2000, 0
SIGNS = (1, -1, -1, 1)  # of two rows or four: what the first has more than the second, beside the others
LEAST_VIDEOS = 20  # with fewer, the same few videos make up every resample
Values = dict[str, NDArray[np.float64]]  # (R,) by metric; NaN where undefined


def draws(dataset: str, video_ids: Sequence[Id], *, resamples: int = RESAMPLES, seed: int = SEED) -> NDArray[np.int64]:
    """How often each video counts, (R, V): once in the first line; then half of them twice, one of an odd number once.

    The draws depend on the arguments alone: other runs on these videos meet the same, those on another set others.
    """
    half, odd = divmod(len(video_ids), 2)
    key = int(sha256_bytes(canonical_json([dataset, [*video_ids]]))[:16], 16)
    counts = np.repeat([2, 1, 0], [half, odd, half])
    drawn = generator(Stream.RESAMPLE, seed, key).permuted(np.tile(counts, (resamples, 1)), axis=1)
    return np.concatenate([np.ones((1, len(counts)), np.int64), drawn])


def values_of(videos: Videos, dataset: str) -> Values:
    """AP and shown tracking metrics of a set's videos as they are and of each resample; UserError if too few."""
    if (number := len(videos.video_ids)) < LEAST_VIDEOS:
        raise UserError(f"Take {LEAST_VIDEOS} videos or more to draw from: these are {number}.")
    weights = draws(dataset, videos.video_ids)
    counts = [each[SHOWN] for each in videos.tracking]
    return {"AP": ap_of(videos.detections, weights), **weighed_metrics(counts, weights)}


def habits_of(videos: Videos, weights: NDArray[np.int64]) -> Values:
    """How a method errs on videos that count as often as their weights say, (R, V): (R,) shares, NaN where undefined.

    `changes` (and switches), `merges` and `doubles` are of the object-frames tracked, `misses` those of all that are
    not tracked, `invents` boxes on no object of frames.
    """
    found = {name: weights @ [getattr(each, name) for each in videos.identity] for name in Identity.model_fields}
    counts = [each[SHOWN] for each in videos.tracking]
    false = weights @ [each.pred_boxes - each.detections for each in counts]
    tracked, all_frames = (np.where(found[name], found[name], np.nan) for name in ("tracked", "object_frames"))
    return {
        "changes": (found["change"] + found["switch"]) / tracked,
        "merges": found["merged"] / tracked,
        "doubles": found["duplicate"] / tracked,
        "misses": 1 - found["tracked"] / all_frames,
        "invents": false / (weights @ [each.frames for each in counts]),
    }


def intervals_of(rows: Sequence[Sequence[Values]]) -> dict[str, tuple[float, float]]:
    """The 95 % intervals of what one row, a mean over runs, has more than another, by metric; of four rows, of what the
    first has more than the second beside what the third has more than the fourth. A metric that is undefined for the
    videos as they are has no interval.
    """
    found = {}
    for name in rows[0][0]:
        means = [sign * np.mean([run[name] for run in row], axis=0) for sign, row in zip(SIGNS, rows)]
        if not np.isnan(values := np.sum(means, axis=0))[0]:
            found[name] = interval_of(values)
    return found


def interval_of(values: NDArray[np.float64]) -> tuple[float, float]:
    """The interval of the first of (R,) values, that of the videos as they are, given those of resamples."""
    low, high = np.nanquantile(values[1:], (0.025, 0.975))
    return float(2 * values[0] - high), float(2 * values[0] - low)


def difference_intervals(
    first: Sequence[Videos], second: Sequence[Videos], dataset: str = ""
) -> dict[str, tuple[float, float]]:
    """The 95 % intervals over videos of the difference of two means over runs, by metric and habit, given what the
    videos of one set add to each run; UserError if these are not the same, or too few.
    """
    if len({each.video_ids for each in (*first, *second)}) > 1:
        raise UserError("Compare runs on the same videos: a difference is paired over them.")
    weights = draws(dataset, first[0].video_ids)
    return intervals_of([[values_of(run, dataset) | habits_of(run, weights) for run in row] for row in (first, second)])
