"""IDF1, MOTA, IDP, IDR, identity switches and HOTA of predicted tracks (paper, Sec. 4.4 and Table 3).

An object's box in a frame is the tight box of its mask; where the mask is empty there is none. Categories are ignored,
crowds left out. What counts as a track is a protocol (`protocols`): with fewer tracks of a video kept, it is counted
again, once for each number of them. Metrics are ratios of sums over videos (`videos.Counts`). Of each video its counts
are kept, 7 numbers and 21 for each pair that HOTA matches, in the fewest bytes that hold them; no mask is.

The counts are those of motmetrics, which the tests compare with, without its tables of events. In each frame (CLEAR
MOT) an object keeps the track that it was matched to last, if their IoU still reaches one half and no object before it
has taken the track; what is left is matched one to one, as many as possible, of least summed distance (1 - IoU). A
switch is a match to another track than the last. For IDF1 each object gets one track of the whole video, or none, so
that most boxes match.

Shape letters:
    G  ground truth of one video     P  predicted tracks of it     T  frames
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ifrvis.datasets.rle import expect
from ifrvis.datasets.strata import shared
from ifrvis.datasets.ytvis import Annotations, Id, Track, Video
from ifrvis.evaluation.hota import ALPHAS, hota, matched_pairs, weighed_hota
from ifrvis.evaluation.predictions import ByVideo, Predicted, Prediction, by_video
from ifrvis.evaluation.processes import Task, Truth, in_processes, tasks_of
from ifrvis.evaluation.protocols import TrackingProtocol, halves
from ifrvis.evaluation.tubes import boxes
from ifrvis.evaluation.videos import Counts

LEAST_IOU = 0.5  # boxes that overlap less are no match (paper, Sec. 4.4)
_SUMMED = ("frames", "gt_boxes", "pred_boxes", "tracks", "detections", "switches", "id_matches")
Metrics = dict[str, Any]
_Numbers = NDArray[Any]  # of one video: the tracks that count, what is `_SUMMED`, then the numbers of each pair
_ByLevel = dict[float | None, list[_Numbers]]  # of each video, by threshold
_Select = Callable[[Sequence[Prediction]], list[Prediction]]


class Followed(NamedTuple):
    """What one protocol makes of some predictions."""

    threshold: Any  # of scores, as the protocol says; two for `matched`: of the videos of half 0, of half 1
    num_tracks: tuple[int, int, int]  # of all tracks, of the candidates, and of those that count
    candidates: ByVideo  # the tracks before any threshold
    # By video, in the order of their ids, the threshold that its tracks have to reach; None keeps all.
    levels: dict[Id, float | None]
    numbers: list[_Numbers]  # of each video, in that order
    # The metrics as tuples over the protocol's `thresholds`, and these; None if it has none.
    curve: dict[str, tuple[Any, ...]] | None

    @property
    def tracks(self) -> ByVideo:
        """The tracks that it keeps."""
        return lambda video_id: partial(_reaching, self.candidates(video_id), self.levels[video_id])

    @property
    def counts(self) -> list[Counts]:
        """What each video adds, in the order of their ids."""
        return list(map(_counts_of, self.numbers))

    @property
    def metrics(self) -> Metrics:
        """IDF1, MOTA, IDP, IDR, HOTA, DetA, AssA (fractions, or None), IDs, and what is counted beside them."""
        return _metrics(self.numbers)


class Boxes(NamedTuple):
    """The boxes of one video as metrics need them."""

    gts: NDArray[np.bool_]  # (T, G) whether there is a box
    preds: NDArray[np.bool_]  # (T, P)
    ious: NDArray[np.float64]  # (T, G, P) in [0, 1]


def follow(
    annotations: Truth, predictions: Predicted, protocols: Sequence[TrackingProtocol], *, jobs: int = 1
) -> dict[str, Followed]:
    """What one or more protocols with the same `most`, by name, make of predicted tracks, queries or entries as they
    say; UserError if one has thresholds and a score is no probability.
    """
    assert len({protocol.most for protocol in protocols}) == 1
    select, given = protocols[0].select, by_video(predictions)
    candidates: ByVideo = lambda video_id: partial(_selected, given(video_id), select)  # noqa: E731
    levels = tuple(dict.fromkeys(level for protocol in protocols for level in protocol.levels))
    work, videos = partial(_counted, select=select, levels=levels), annotations.video_ids
    totals, numbers = [0, 0], {level: list[_Numbers]() for level in levels}
    for *of_video, found in in_processes(work, tasks_of(annotations, given, crowds=False), jobs=jobs):
        totals = [total + number for total, number in zip(totals, of_video)]
        for of_level, each in zip(numbers.values(), found):
            of_level.append(each)
    return {each.name: _followed(each, videos, totals, candidates, numbers) for each in protocols}


def _selected(
    read: Callable[[Annotations], list[Prediction]], select: _Select, annotations: Annotations
) -> list[Prediction]:
    return select(read(annotations))


def _reaching(
    read: Callable[[Annotations], list[Prediction]], level: float | None, annotations: Annotations
) -> list[Prediction]:
    return [track for track in read(annotations) if track.reaches(level)]


def _followed(
    protocol: TrackingProtocol, videos: list[Id], totals: list[int], candidates: ByVideo, numbers: _ByLevel
) -> Followed:
    threshold, of_video = _thresholds(protocol, videos, numbers)
    at = [_metrics(numbers[level]) for level in protocol.thresholds]
    curve = {name: tuple(metrics[name] for metrics in at) for name in at[0]} if at else None
    chosen = [numbers[level][index] for index, level in enumerate(of_video)]
    return Followed(
        threshold,
        (totals[0], totals[1], sum(int(each[0]) for each in chosen)),
        candidates,
        dict(zip(videos, of_video)),
        chosen,
        curve and {"threshold": protocol.thresholds, **curve},
    )


def boxes_of(video: Video, gts: Sequence[Track], preds: Sequence[Prediction]) -> Boxes:
    """The boxes of one video, and how they overlap."""
    of_gts, of_preds = (boxes(video, [track.masks for track in tracks]) for tracks in (gts, preds))
    gt_areas, pred_areas = (each[..., 2:].prod(axis=2) for each in (of_gts, of_preds))
    both = shared(of_gts[:, :, None], of_preds[:, None])
    unions = gt_areas[:, :, None] + pred_areas[:, None] - both
    return Boxes(gt_areas > 0, pred_areas > 0, both / np.maximum(unions, 1))


def _counted(task: Task, *, select: _Select, levels: Sequence[float | None]) -> tuple[int, int, list[_Numbers]]:
    """How many tracks one video has, how many are candidates, and the numbers at each threshold, computed once for
    thresholds that keep the same tracks.
    """
    tracks = select(task.preds)
    for each in task.preds * (levels != (None,)):
        where, wanted = f"the score of track {each.number}", "one from 0 to 1, as thresholds of the protocol are"
        expect(0 <= each.score <= 1, f"{where} of video {each.video_id!r}", wanted, each.score)
    found, numbers = boxes_of(task.video, task.gts, tracks), dict[int, _Numbers]()
    at = [[index for index, pred in enumerate(tracks) if pred.reaches(level)] for level in levels]
    for kept in at:
        if len(kept) not in numbers:
            numbers[len(kept)] = _numbers(Boxes(found.gts, found.preds[:, kept], found.ious[:, :, kept]))
    return len(task.preds), len(tracks), [numbers[len(kept)] for kept in at]


def _numbers(found: Boxes) -> _Numbers:
    detections, switches = _clear_mot(found)
    together = (found.ious >= LEAST_IOU).sum(axis=0)  # (G, P) frames
    summed = {
        "frames": len(found.gts),
        "gt_boxes": int(found.gts.sum()),
        "pred_boxes": int(found.preds.sum()),
        "tracks": int(found.preds.any(axis=0).sum()),
        "detections": detections,
        "switches": switches,
        "id_matches": int(together[linear_sum_assignment(together, maximize=True)].sum()),
    }
    return _packed([found.preds.shape[1], *map(summed.get, _SUMMED), *matched_pairs(*found).ravel().tolist()])


def _packed(numbers: list[Any]) -> _Numbers:
    return np.array(numbers, np.min_scalar_type(max(numbers)))


def _pairs(numbers: _Numbers) -> NDArray[Any]:
    return numbers[1 + len(_SUMMED) :].reshape(-1, 2 + len(ALPHAS))


def _counts_of(numbers: _Numbers) -> Counts:
    pairs = tuple((gt, pred, tuple(frames)) for gt, pred, *frames in _pairs(numbers).tolist())
    return Counts(**dict(zip(_SUMMED, numbers[1:].tolist())), pairs=pairs)


def _clear_mot(found: Boxes) -> tuple[int, int]:
    """Matches frame by frame, and switches among them."""
    close: list[list[tuple[int, int]]] = [[] for _ in found.ious]  # objects and tracks, by frame
    for t, g, p in np.argwhere(found.ious >= LEAST_IOU).tolist():
        close[t].append((g, p))
    last: dict[int, int] = {}  # by object
    detections = switches = 0
    for t, pairs in enumerate(close):
        kept: dict[int, int] = {}  # by track
        for g, p in sorted(last.items()):
            if (g, p) in pairs:
                kept.setdefault(p, g)
        held = set(kept.values())
        new = [(g, p) for g, p in pairs if g not in held and p not in kept]
        if not len(dict(new)) == len({p for _, p in new}) == len(new):
            new = _assigned(found, t, new)
        switches += sum(last.get(g, p) != p for g, p in new)
        detections += len(kept) + len(new)
        last.update(new)
    return detections, switches


def _assigned(found: Boxes, t: int, pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Of pairs that compete, those that are matched; of equally good choices motmetrics' own."""
    allowed = np.zeros(found.ious.shape[1:], np.bool_)
    allowed[tuple(np.transpose(pairs))] = True
    there = np.ix_(found.gts[t], found.preds[t])
    allowed, distances = allowed[there], 1 - found.ious[t][there]
    far = 2 * min(distances.shape) * (distances[allowed].max() + 1) + 1  # than all the others together
    rows, columns = linear_sum_assignment(np.where(allowed, distances, far))
    matched = allowed[rows, columns]
    gts, preds = np.flatnonzero(found.gts[t])[rows[matched]], np.flatnonzero(found.preds[t])[columns[matched]]
    return list(zip(gts.tolist(), preds.tolist()))


def _thresholds(protocol: TrackingProtocol, videos: list[Id], numbers: _ByLevel) -> tuple[Any, list[float | None]]:
    """The threshold as a record says it, and the threshold of each video."""
    if protocol.threshold != "matched":
        return protocol.threshold, [protocol.threshold] * len(videos)
    half_of = halves(videos, protocol.seed)
    best: list[float | None] = []
    for half in (0, 1):
        part = [index for index, video_id in enumerate(videos) if half_of[video_id] == half]
        at = [_boxes_metrics([numbers[level][v] for v in part])["IDF1"] for level in protocol.thresholds]
        known = [pair for pair in zip(at, protocol.thresholds) if pair[0] is not None]
        best.append(max(known, key=lambda pair: pair[0])[1] if known else None)  # the lowest of equals
    # Chosen on one half, used on the other; where that has no box to choose by, as of a single video, on the same.
    used = [next(each for each in (*of, protocol.thresholds[0]) if each is not None) for of in (best[::-1], best)]
    return tuple(used), [used[half_of[video_id]] for video_id in videos]


def metrics_of(counts: Sequence[Counts]) -> Metrics:
    """The metrics of some videos together; None where one is undefined."""
    pairs = [[number for *lengths, frames in each.pairs for number in (*lengths, *frames)] for each in counts]
    heads = [[0, *(getattr(each, name) for name in _SUMMED)] for each in counts]
    return _metrics([_packed([*head, *of]) for head, of in zip(heads, pairs)])


def _metrics(numbers: list[_Numbers]) -> Metrics:
    boxes = sum(int(each[2]) + int(each[3]) for each in numbers)  # of ground truth and of predictions
    return _boxes_metrics(numbers) | hota(boxes, list(map(_pairs, numbers)))


def weighed_metrics(counts: Sequence[Counts], weights: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """The metrics of videos that count as often as their weights say, (R, V): (R,) each, NaN where undefined."""
    numbers = np.array([[1, *(getattr(each, name) for name in _SUMMED)] for each in counts], np.int64)
    at = [_ratios(*sums) for sums in (weights @ numbers).tolist()]
    of_boxes = {name: np.array([metrics[name] for metrics in at], np.float64) for name in at[0]}
    return of_boxes | weighed_hota(counts, weights)


def _boxes_metrics(numbers: list[_Numbers]) -> Metrics:
    rows = np.array([each[1 : 1 + len(_SUMMED)] for each in numbers], np.int64).reshape(-1, len(_SUMMED))
    return _ratios(len(numbers), *rows.sum(axis=0).tolist())


def _ratios(
    videos: int, frames: int, gts: int, preds: int, tracks: int, found: int, switches: int, same: int
) -> Metrics:
    errors = _ratio(gts - found + switches + preds - found, gts)
    return {
        "IDF1": _ratio(2 * same, gts + preds),
        "MOTA": None if errors is None else 1 - errors,
        "IDP": _ratio(same, preds),
        "IDR": _ratio(same, gts),
        "IDs": switches,
        "ids_per_recalled_box": _ratio(switches, found),
        "tracks_per_video": _ratio(tracks, videos),
        "false_positives_per_frame": _ratio(preds - found, frames),
    }


def _ratio(number: int, of: int) -> float | None:
    return number / of if of else None
