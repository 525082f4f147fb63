"""What a set of videos holds: lengths, instances, categories, crossings of objects of one class."""

from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from ifrvis.datasets.rle import box
from ifrvis.datasets.ytvis import Annotations, Track

MIN_OVERLAP = 0.2  # of the smaller of two boxes, for a crossing
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Stats:
    """Counts of a set, in the file's order of videos.

    Attributes:
        lengths: Frames of each video.
        instances: Tracks of each video, crowds left out.
        spans: Frames in which each track has a mask.
        categories: Name -> tracks, most first; those without any are there too.
        crossings: Pairs of tracks of one class, in each video, whose boxes overlap in some frame by a fifth of the
            smaller.
    """

    lengths: list[int]
    instances: list[int]
    spans: list[int]
    categories: dict[str, int]
    crossings: list[int]


def stats_of(annotations: Annotations) -> Stats:
    """Count."""
    of_videos = [
        [track for track in annotations.tracks_of(video.id) if not track.is_crowd] for video in annotations.videos
    ]
    names = {category.id: category.name for category in annotations.categories}
    counts = Counter(dict.fromkeys(names.values(), 0))
    counts.update(names[track.category_id] for tracks in of_videos for track in tracks)
    return Stats(
        lengths=[video.length for video in annotations.videos],
        instances=[len(tracks) for tracks in of_videos],
        spans=[sum(mask is not None for mask in track.masks) for tracks in of_videos for track in tracks],
        categories=dict(counts.most_common()),
        crossings=[_crossings(tracks) for tracks in of_videos],
    )


def _crossings(tracks: list[Track]) -> int:
    boxes = [[None if mask is None else box(mask) for mask in track.masks] for track in tracks]
    pairs = combinations(zip(tracks, boxes), 2)
    return sum(
        one.category_id == other.category_id and any(a and b and _overlap(a, b) >= MIN_OVERLAP for a, b in zip(*both))
        for (one, first), (other, second) in pairs
        for both in [(first, second)]
    )


def _overlap(a: Box, b: Box) -> float:
    """What two boxes (x, y, width, height) share, as a part of the smaller."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(0, width) * max(0, height) / min(a[2] * a[3], b[2] * b[3])


def draw_stats(stats: Stats, axes: Any) -> None:
    """Draw four panels on four Axes: lengths, instances, crossings of a video, tracks of a category."""
    panels = (("frames of a video", stats.lengths), ("instances of a video", stats.instances))
    for ax, (label, values) in zip(axes, (*panels, ("crossings of a video", stats.crossings))):
        ax.hist(values, bins=range(max(values, default=0) + 2), align="left")
        ax.set(xlabel=label, ylabel="videos")
    axes[3].barh(list(stats.categories), list(stats.categories.values()))
    axes[3].invert_yaxis()
    axes[3].set(xlabel="tracks")
