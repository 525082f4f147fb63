"""Masks as strips: stretches of one column that are inside, straight from run lengths.

Runs go down the columns of a mask, so each inside run is a strip, or several where it goes on in the next column.
Areas, boxes and overlaps of masks are sums, bounds and meetings of strips. No mask is decoded into pixels.

Shape letters:
    N  tracks     M  masks     S  strips of all masks, mask by mask     T  frames
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ifrvis.datasets.rle import Rle, Runs, Tube, runs_of
from ifrvis.datasets.ytvis import Video

Masks = Sequence[Rle | None]  # of one track, checked, one or None a frame

_PASS = 1 << 21  # columns and characters that one pass takes; bounds its memory, and keeps it in the cache


@dataclass(frozen=True)
class Strips:
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


def passes(video: Video, tracks: Sequence[Masks], num_frames: int) -> Iterator[range]:
    """Frames that go through together: so many that they take about the size of a pass, at least one."""
    size = len(tracks) * num_frames * video.width
    for track in tracks:
        kept = track.runs if isinstance(track, Tube) else None
        size += len(kept.lengths) if kept else sum([len(mask["counts"]) for mask in track if mask is not None])
    step = max(1, num_frames * _PASS // (size + 1))
    for start in range(0, num_frames, step):
        yield range(start, min(start + step, num_frames))


def strips_of(video: Video, tracks: Sequence[Masks], frames: range) -> Strips:
    """The strips of all masks of N tracks of a video in some of its frames."""
    parts = [track[frames.start : frames.stop] for track in tracks]
    lengths = np.array([len(part) for part in parts], np.int64)
    place = np.flatnonzero([mask is not None for part in parts for mask in part])
    track = np.repeat(np.arange(len(parts)), lengths)[place]
    frame = frames.start + place - (np.cumsum(lengths) - lengths)[track]
    if not place.size:
        return Strips(track, frame, track, track, *np.zeros((2, 0), np.int16))
    count, start, height = _inside(_runs(tracks, frames))
    column = start // np.uint32(video.height)
    top = start - column * np.uint32(video.height)
    bottom = top + height
    if bottom.max(initial=0) > video.height:
        return Strips(track, frame, *_cut(count, column, top, bottom, video.height))
    return Strips(track, frame, count, column.astype(np.int64), top.astype(np.int16), bottom.astype(np.int16))


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
