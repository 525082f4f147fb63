"""What a set of videos holds: lengths, instances, sizes, motion, overlaps, strata, categories."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ifrvis.datasets.strata import Strata, crossings, geometry_of, shared, strata_of
from ifrvis.datasets.ytvis import Annotations


@dataclass(frozen=True)
class Stats:
    """Counts of a set, in the file's order of videos and tracks; crowds are left out."""

    lengths: list[int]  # frames of each video
    instances: list[int]  # tracks of each video
    spans: list[int]  # frames in which each track has a mask
    areas: list[float | None]  # median area of each track's masks, as a share of the frame; None without masks
    # What the centre of each track's box moves from one frame to the next, in diameters of a disk of the median area,
    # on average; None where no two neighbouring frames show it.
    motions: list[float | None]
    # Pixels that the boxes of a video's frame share, pair by pair, by those that they cover, averaged over the frames
    # with boxes (mBOR, Qi et al., Occluded Video Instance Segmentation, 2022); None without boxes.
    overlaps: list[float | None]
    crossings: list[int]  # pairs of tracks that cross, in each video
    strata: list[Strata]  # of each video
    categories: dict[str, int]  # name -> tracks, most first; those without any are there too


def stats_of(annotations: Annotations) -> Stats:
    """Count."""
    names = {category.id: category.name for category in annotations.categories}
    counts, strata = Counter(dict.fromkeys(names.values(), 0)), strata_of(annotations)
    stats = Stats([], [], [], [], [], [], [], [], {})
    for video in annotations.videos:
        tracks = annotations.objects_of(video.id)
        areas, boxes = geometry_of([track.masks for track in tracks])
        counts.update(names[track.category_id] for track in tracks)
        stats.lengths.append(video.length)
        stats.instances.append(len(tracks))
        stats.spans.extend((areas > 0).sum(1).tolist())
        usual = [float(np.median(each[each > 0])) if each.any() else None for each in areas]
        stats.areas.extend(each and each / (video.height * video.width) for each in usual)
        stats.motions.extend(each and _motion(box, each) for box, each in zip(boxes, usual))
        stats.overlaps.append(_overlap(boxes))
        stats.crossings.append(crossings([track.category_id for track in tracks], boxes))
        stats.strata.append(strata[video.id])
    stats.categories.update(counts.most_common())
    return stats


def _motion(boxes: NDArray[np.int64], area: float) -> float | None:
    steps = np.linalg.norm(np.diff(boxes[:, :2] + boxes[:, 2:] / 2, axis=0), axis=1)
    both = (boxes[1:, 2] > 0) & (boxes[:-1, 2] > 0)
    return float(steps[both].mean() / (2 * np.sqrt(area / np.pi))) if both.any() else None


def _overlap(boxes: NDArray[np.int64]) -> float | None:
    frames = [(np.triu(shared(each[:, None], each), 1).sum(), _covered(each)) for each in boxes.swapaxes(0, 1)]
    shares = [pixels / covered for pixels, covered in frames if covered]
    return float(np.mean(shares)) if shares else None


def _covered(boxes: NDArray[np.int64]) -> int:
    """Pixels that (N, 4) boxes cover together, counted on the grid of their sides."""
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    x, y = (np.unique([low[:, axis], high[:, axis]]) for axis in (0, 1))
    inside = (low[:, :1] <= x[:-1]) & (x[:-1] < high[:, :1])
    rows = (low[:, 1:] <= y[:-1]) & (y[:-1] < high[:, 1:])
    grid = inside.T @ rows  # of truth values: whether any box has both
    return int(np.diff(x) @ grid @ np.diff(y)) if grid.size else 0


def draw_stats(stats: Stats, axes: Any) -> None:
    """Draw four panels on four Axes: lengths, instances, crossings of a video, tracks of a category."""
    panels = (("frames of a video", stats.lengths), ("instances of a video", stats.instances))
    for ax, (label, values) in zip(axes, (*panels, ("crossings of a video", stats.crossings))):
        ax.hist(values, bins=range(max(values, default=0) + 2), align="left")
        ax.set(xlabel=label, ylabel="videos")
    axes[3].barh(list(stats.categories), list(stats.categories.values()))
    axes[3].invert_yaxis()
    axes[3].set(xlabel="tracks")
