"""Areas, boxes and overlaps of the tracks of one video: all tracks, and many frames, in one pass over their strips.

Two masks share what their strips share, column by column. Of a prediction the strips are a list; of ground truth they
are looked up by column, first those that come first in theirs, then the few that come second, and so on.

Shape letters:
    D     some tracks, as predictions     G  others of the same video, as ground truth
    N     tracks                          T  frames
    Q     pairs of masks of one frame
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ifrvis.datasets.ytvis import Video
from ifrvis.evaluation.strips import Masks, Strips, passes, strips_of


class Overlaps(NamedTuple):
    """What two groups of tracks share, and their areas, in pixels."""

    shared: NDArray[np.int64]  # (T, D, G)
    pred_areas: NDArray[np.int64]  # (T, D)
    gt_areas: NDArray[np.int64]  # (T, G)


class _Meeting(NamedTuple):
    """Pairs of masks of the same frame."""

    meet: NDArray[np.bool_]  # (T, D, G) whether both are there, and their boxes overlap
    pred: NDArray[np.int64]  # (T, D, G) number of the mask; -1 where there is none
    gt: NDArray[np.int64]  # (T, D, G)
    low: NDArray[np.int64]  # (2, T, D, G) first column and row that both boxes have
    high: NDArray[np.int64]  # (2, T, D, G) the ones behind the last


def overlaps(
    video: Video,  # whose tracks they are
    preds: Sequence[Masks],  # d tracks; one that is too short has no mask in the frames that it lacks
    gts: Sequence[Masks],  # g tracks, likewise
    *,
    # (D, G) bool, which share something that matters; by default all. The others count as disjoint.
    pairs: NDArray[np.bool_] | None = None,
    # Pairs may count as disjoint, too, whose areas and boxes keep them from this IoU across all frames.
    least_iou: float = 0.0,
) -> Overlaps:
    """Measure two groups of tracks of one video against each other.

    Returns:
        T is the length of the video, or of the longest track where that is longer.
    """
    num_frames = max([video.length, *map(len, preds), *map(len, gts)])
    shared = np.zeros((num_frames, len(preds), len(gts)), np.int64)
    pred_areas, gt_areas = (np.zeros((num_frames, len(tracks)), np.int64) for tracks in (preds, gts))
    wanted = np.ones(shared.shape[1:], np.bool_) if pairs is None else pairs
    for frames in passes(video, [*preds, *gts], num_frames):
        pred_strips, gt_strips = (strips_of(video, tracks, frames) for tracks in (preds, gts))
        for areas, strips in ((pred_areas, pred_strips), (gt_areas, gt_strips)):
            areas[strips.frame, strips.track] = strips.areas()
        meeting = _meeting(pred_strips, gt_strips, shared.shape[1:], frames)
        if len(frames) == num_frames:
            wanted = wanted & _within_reach(meeting, pred_areas[:, :, None], gt_areas[:, None], least_iou)
        t, d, g = np.nonzero(wanted & meeting.meet)
        shared[frames.start + t, d, g] = _shared(
            pred_strips,
            gt_strips,
            (meeting.pred[t, d, g], meeting.gt[t, d, g]),
            (meeting.low[0, t, d, g], meeting.high[0, t, d, g]),
            video.width,
        )
    return Overlaps(shared, pred_areas, gt_areas)


def boxes(video: Video, tracks: Sequence[Masks]) -> NDArray[np.int64]:
    """The tight box (x, y, width, height) of each mask, (T, N, 4) int64 in pixels; zeros where a mask is empty."""
    found = np.zeros((video.length, len(tracks), 4), np.int64)
    for frames in passes(video, tracks, video.length):
        strips = strips_of(video, tracks, frames)
        low, high = strips.corners()
        found[strips.frame, strips.track] = np.concatenate([low, high - low])[:, :-1].T
    return found


def _meeting(preds: Strips, gts: Strips, shape: tuple[int, ...], frames: range) -> _Meeting:
    at = [np.full((len(frames), number), -1) for number in shape]
    for masks, strips in zip(at, (preds, gts)):
        masks[strips.frame - frames.start, strips.track] = np.arange(len(strips.frame))
    p, g = np.broadcast_arrays(at[0][:, :, None], at[1][:, None])
    (pred_low, pred_high), (gt_low, gt_high) = preds.corners(), gts.corners()
    low, high = np.maximum(pred_low[:, p], gt_low[:, g]), np.minimum(pred_high[:, p], gt_high[:, g])
    return _Meeting(np.all(low < high, axis=0), p, g, low, high)


def _within_reach(
    meeting: _Meeting, pred_areas: NDArray[np.int64], gt_areas: NDArray[np.int64], least_iou: float
) -> NDArray[np.bool_]:
    """(D, G) bool, whether two tubes could have this IoU, given what each frame's boxes have in common at most."""
    box = (meeting.high - meeting.low).prod(axis=0)
    most = np.where(meeting.meet, np.minimum(np.minimum(pred_areas, gt_areas), box), 0).sum(axis=0)
    return np.asarray(most >= least_iou * ((pred_areas + gt_areas).sum(axis=0) - most), np.bool_)


def _shared(
    preds: Strips,
    gts: Strips,
    masks: tuple[NDArray[np.int64], NDArray[np.int64]],
    columns: tuple[NDArray[np.int64], NDArray[np.int64]],
    width: int,
) -> NDArray[np.int64]:
    """Pixels that pairs of masks share, (Q,), given their numbers and the columns, from and to, where they meet."""
    low, high = np.searchsorted(preds.places(width), masks[0] * width + np.stack(columns))
    number, pair = high - low, np.flatnonzero(high > low)
    first = (np.cumsum(number) - number)[pair]
    strip = np.arange(number.sum()) + np.repeat(high - np.cumsum(number), number)
    place = np.repeat(masks[1] * width, number) + preds.column.take(strip)
    sums = np.zeros(len(number), np.int64)
    for depth, (top, bottom) in enumerate(gts.layers(width)):
        if depth:  # few columns of a mask have a second strip
            owner = np.repeat(pair, np.diff(first, append=len(place)))
            part = np.flatnonzero(bottom.take(place) > 0)
            strip, place, owner = strip[part], place[part], owner[part]
            first = np.flatnonzero(np.diff(owner, prepend=-1))
            pair = owner[first]
        if not pair.size:
            break
        both = np.minimum(bottom.take(place), preds.bottom.take(strip))
        both -= np.maximum(top.take(place), preds.top.take(strip))
        sums[pair] += np.add.reduceat(np.maximum(both, 0, out=both), first, dtype=np.int32)
    return sums
