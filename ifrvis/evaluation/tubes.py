"""Areas, boxes and overlaps of the tracks of one video: all tracks, and many frames, in one pass, straight from run
lengths. No mask is decoded into pixels.

Runs go down the columns of a mask, so each inside run is a strip, a stretch of one column, or several where it goes on
in the next column. Areas and boxes of masks are sums and bounds of strips, and two masks share what their strips share,
column by column. Of a prediction the strips are a list; of ground truth they are looked up by column, first those that
come first in theirs, then the few that come second, and so on.

Shape letters:
    D     some tracks, as predictions     G  others of the same video, as ground truth
    N     tracks                          T  frames
    M     masks                           S  strips of all masks, mask by mask
    Q     pairs of masks of one frame
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ifrvis.datasets.rle import Rle, Runs, Tube, runs_of
from ifrvis.datasets.ytvis import Video

Masks = Sequence[Rle | None]  # of one track, checked, one or None a frame

_PASS = 1 << 21  # columns and characters that one pass takes; bounds its memory, and keeps it in the cache


class Overlaps(NamedTuple):
    """What two groups of tracks share, and their areas, in pixels."""

    shared: NDArray[np.int64]  # (T, D, G)
    pred_areas: NDArray[np.int64]  # (T, D)
    gt_areas: NDArray[np.int64]  # (T, G)


@dataclass(frozen=True)
class _Strips:
    """The strips of some masks in the order of tracks, then frames, columns and rows."""

    track: NDArray[np.int64]  # (M,)
    frame: NDArray[np.int64]  # (M,)
    count: NDArray[np.int64]  # (M,) strips of each mask
    column: NDArray[np.int64]  # (S,)
    top: NDArray[np.int16]  # (S,) first row
    bottom: NDArray[np.int16]  # (S,) row behind the last

    @cached_property
    def first(self) -> NDArray[np.int64]:
        """(M,) index of the first strip of each mask."""
        return np.cumsum(self.count) - self.count

    def areas(self) -> NDArray[np.int64]:
        """(M,) pixels of each mask."""
        return self._per_mask(np.add, self.bottom - self.top, np.int64)

    def corners(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first column and row of each mask, (2, M + 1), and the ones behind the last; zeros for an empty mask.

        The mask at the end is an empty one, which stands for those that are not there.
        """
        low, high = np.zeros((2, 2, len(self.count) + 1), np.int64)
        if self.column.size:
            low[0, :-1] = np.where(self.count, self.column.take(self.first, mode="clip"), 0)
            high[0, :-1] = np.where(self.count, self.column.take(self.first + self.count - 1, mode="clip") + 1, 0)
        low[1, :-1], high[1, :-1] = self._per_mask(np.minimum, self.top), self._per_mask(np.maximum, self.bottom)
        return low, high

    def places(self, width: int) -> NDArray[np.int64]:
        """(S,) mask x width + column; never falling."""
        return np.repeat(np.arange(0, len(self.count) * width, width), self.count) + self.column

    def layers(self, width: int) -> Iterator[tuple[NDArray[np.int16], NDArray[np.int16]]]:
        """Tops and bottoms by place, (M x width,): of the first strip there, then of the second, ...; 0 if none."""
        places, tops, bottoms = self.places(width), self.top, self.bottom
        while places.size:
            top, bottom = np.zeros((2, len(self.count) * width), np.int16)
            backwards = places[::-1]  # of equal places the last one stays
            top[backwards], bottom[backwards] = tops[::-1], bottoms[::-1]
            yield top, bottom
            later = np.flatnonzero(places[1:] == places[:-1]) + 1
            places, tops, bottoms = places[later], tops[later], bottoms[later]

    def _per_mask(self, reduction: np.ufunc, values: NDArray[Any], dtype: Any = None) -> NDArray[np.int64]:
        result, filled = np.zeros(len(self.count), np.int64), np.flatnonzero(self.count)
        if filled.size:
            result[filled] = reduction.reduceat(values, self.first[filled], dtype=dtype)
        return result


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
    """Measure two groups of tracks of one video against each other; T is its length, or that of the longest track where
    that is longer.
    """
    num_frames = max([video.length, *map(len, preds), *map(len, gts)])
    shared = np.zeros((num_frames, len(preds), len(gts)), np.int64)
    pred_areas, gt_areas = (np.zeros((num_frames, len(tracks)), np.int64) for tracks in (preds, gts))
    wanted = np.ones(shared.shape[1:], np.bool_) if pairs is None else pairs
    for frames in _passes(video, [*preds, *gts], num_frames):
        pred_strips, gt_strips = (_strips_of(video, tracks, frames) for tracks in (preds, gts))
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
    for frames in _passes(video, tracks, video.length):
        strips = _strips_of(video, tracks, frames)
        low, high = strips.corners()
        found[strips.frame, strips.track] = np.concatenate([low, high - low])[:, :-1].T
    return found


def _meeting(preds: _Strips, gts: _Strips, shape: tuple[int, ...], frames: range) -> _Meeting:
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
    preds: _Strips,
    gts: _Strips,
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


def _passes(video: Video, tracks: Sequence[Masks], num_frames: int) -> Iterator[range]:
    """Frames that go through together: so many that they take about the size of a pass, at least one."""
    size = len(tracks) * num_frames * video.width
    for track in tracks:
        kept = track.runs if isinstance(track, Tube) else None
        size += len(kept.lengths) if kept else sum([len(mask["counts"]) for mask in track if mask is not None])
    step = max(1, num_frames * _PASS // (size + 1))
    for start in range(0, num_frames, step):
        yield range(start, min(start + step, num_frames))


def _strips_of(video: Video, tracks: Sequence[Masks], frames: range) -> _Strips:
    """The strips of all masks of N tracks of a video in some of its frames."""
    parts = [track[frames.start : frames.stop] for track in tracks]
    lengths = np.array([len(part) for part in parts], np.int64)
    place = np.flatnonzero([mask is not None for part in parts for mask in part])
    track = np.repeat(np.arange(len(parts)), lengths)[place]
    frame = frames.start + place - (np.cumsum(lengths) - lengths)[track]
    if not place.size:
        return _Strips(track, frame, track, track, *np.zeros((2, 0), np.int16))
    count, start, height = _inside(_runs(tracks, frames))
    column = start // np.uint32(video.height)
    top = start - column * np.uint32(video.height)
    bottom = top + height
    if bottom.max(initial=0) > video.height:
        return _Strips(track, frame, *_cut(count, column, top, bottom, video.height))
    return _Strips(track, frame, count, column.astype(np.int64), top.astype(np.int16), bottom.astype(np.int16))


def _runs(tracks: Sequence[Masks], frames: range) -> Runs:
    """The runs of all masks in some frames: what the tracks have kept, or decoded now."""
    kept = [track.runs for track in tracks if isinstance(track, Tube) and track.runs and len(track) == len(frames)]
    if len(kept) < len(tracks):
        return runs_of([mask for track in tracks for mask in track[frames.start : frames.stop] if mask is not None])
    before = np.cumsum([0, *(len(runs.lengths) for runs in kept)])
    starts = [runs.starts + offset for runs, offset in zip(kept, before)]
    return Runs(np.concatenate([runs.lengths for runs in kept]), np.concatenate(starts))


def _inside(all_runs: Runs) -> tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.uint32]]:
    """The inside runs: (M,) how many a mask has, (S,) pixels before each in its mask, (S,) pixels of each."""
    runs, starts = all_runs
    stops = np.append(starts[1:], len(runs))
    last_outside = stops[(stops - starts) % 2 == 1] - 1
    outside, inside = np.delete(runs, last_outside).view(np.uint32).reshape(-1, 2).T
    count = (stops - starts) // 2
    outside += inside  # in place: numpy sums up every second number faster than every one
    ends = np.cumsum(outside, dtype=np.uint32)  # over all masks: wraps around, but not the differences in a mask
    ends -= np.repeat(np.append(np.uint32(0), ends)[np.cumsum(count) - count], count)
    return count, ends - inside, inside


def _cut(
    count: NDArray[np.int64],
    column: NDArray[np.uint32],
    top: NDArray[np.uint32],
    bottom: NDArray[np.uint32],
    height: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int16], NDArray[np.int16]]:
    """Counts and strips from inside runs, some of which go on in the next columns."""
    pieces = -(-bottom.astype(np.int64) // height)
    which = np.repeat(np.arange(len(pieces)), pieces)
    piece = np.arange(len(which)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    tops = np.where(piece == 0, top[which], 0).astype(np.int16)
    bottoms = np.minimum(bottom[which] - piece * height, height).astype(np.int16)
    counts = np.bincount(np.repeat(np.arange(len(count)), count), pieces, len(count)).astype(np.int64)
    return counts, column[which] + piece, tops, bottoms
