"""Identity errors: what Figure 1 of the paper draws, counted, and listed with frames, objects and predictions.

In each frame a prediction is *on* the object that it overlaps most, if their IoU is above one half. The *owner* of an
object is the prediction on it that was its owner when it was tracked last; else, of those on it, the one of largest
IoU. A prediction *swallows* an object without owner if it covers more than half of it, and more than any other does.
So an object is in each frame where it is visible in one of three states:

    merged     its owner, or what swallows it, owns or swallows another object too
    tracked    not that, and it has an owner
    lost       neither

and from these come five kinds of errors:

    change     a tracked object has another owner than when it was tracked last, and that is no switch
    switch     two such events that swap the owners of two objects, each begun before the other is over
    merged     objects that one prediction owns or swallows together
    lost       an object is lost that is tracked or merged in other frames
    duplicate  one more prediction is on an object than its owner

An error lasts as long as it holds in each frame where its objects are visible. An object that is lost wherever it is
visible has no identity to lose: it is `never_found`. Categories are ignored, crowds left out, and the order of the
predictions is nothing. What is not tracked can have few errors: their number means something beside that of the
object-frames tracked alone, and of two methods at an equal share of these (`Scores.errors_at`).

Shape letters:
    T  frames of one video     P  its predictions, in an order of their own     G  its ground truth
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ifrvis.datasets.ytvis import Id, id_order
from ifrvis.evaluation.predictions import Predicted, Prediction
from ifrvis.evaluation.processes import Task, Truth, in_processes, tasks_of
from ifrvis.evaluation.scores import IDENTITY_CURVE, KINDS, Identity, Kind
from ifrvis.evaluation.tubes import overlaps

_Found = tuple[Kind, tuple[int, ...], tuple[int, ...], tuple[int, ...]]  # kind, frames, objects, predictions


@dataclass(frozen=True)
class IdentityError:
    """One error."""

    kind: Kind
    # The frames in which it holds, from 0; of a change or a switch, those in which an owner is new.
    frames: tuple[int, ...]
    gt_ids: tuple[Id, ...]  # the objects, in the order of the annotation file
    # Numbers of predictions: the old and the new owner of a change; those that are swapped; the one that merges or
    # duplicates; none of a lost object.
    predictions: tuple[int, ...] = ()

    def in_words(self, gts: Sequence[str], tracks: Sequence[str]) -> str:
        """What it is, with what its objects and predictions are called."""
        objects = " and ".join(gts)
        return {
            "change": f"object {objects}: track {' becomes '.join(tracks)}",
            "switch": f"objects {objects}: tracks {' and '.join(sorted(tracks))} swap",
            "merged": f"objects {objects}: one track, {''.join(tracks)}",
            "lost": f"object {objects}: no track",
            "duplicate": f"object {objects}: one more track, {''.join(tracks)}",
        }[self.kind]


class VideoErrors(NamedTuple):
    """What is wrong in one video."""

    video_id: Id
    errors: tuple[IdentityError, ...]  # by kind, then frames
    never_found: tuple[Id, ...]  # objects
    counts: Identity

    def to_json(self) -> dict[str, Any]:
        """The same as JSON has it."""
        counts = self.counts.model_dump(include={"tracked", "object_frames"})
        errors = [asdict(error) for error in self.errors]
        return {"video_id": self.video_id, "errors": errors, "never_found": self.never_found, **counts}


class _Scene(NamedTuple):
    """One video in numbers."""

    shared: NDArray[np.int64]  # (T, G, P) pixels
    areas: NDArray[np.int64]  # (T, G) of ground truth, pixels
    ious: NDArray[np.float64]  # (T, G, P)
    on: NDArray[np.int64]  # (T, P) the object that each prediction is on, or -1
    visible: list[list[int]]  # of each frame, the objects


class _Event(NamedTuple):
    """An object that was tracked in frame `since` by `old` is so again in `frame`, by `new`."""

    frame: int
    since: int
    gt: int
    old: int
    new: int


def identity_errors(annotations: Truth, tracks: Predicted, *, jobs: int = 1) -> Iterator[VideoErrors]:
    """The identity errors of each video, in the order of their ids, of the tracks that count (`tracking.follow`)."""
    return in_processes(_errors_of, tasks_of(annotations, tracks, crowds=False), jobs=jobs)


def count_errors(
    annotations: Truth, tracks: Predicted, levels: Sequence[float | None], *, jobs: int = 1
) -> Iterator[dict[float | None, Identity]]:
    """How many there are in each video, in the order of their ids, at each of some thresholds of scores (None keeps
    every track), of the tracks before any threshold (`tracking.follow`).
    """
    tasks = tasks_of(annotations, tracks, crowds=False)
    return in_processes(partial(_counts_at, levels=levels), tasks, jobs=jobs)


def curve_of(videos: Iterable[Mapping[float | None, Identity]], levels: Sequence[float]) -> dict[str, tuple[int, ...]]:
    """What changes with the threshold (`IDENTITY_CURVE`), of all videos, as tuples over some of `count_errors`."""
    sums = {name: [0] * len(levels) for name in IDENTITY_CURVE}
    for each in videos:
        for name, of in sums.items():
            of[:] = [number + getattr(each[level], name) for number, level in zip(of, levels)]
    return {name: tuple(of) for name, of in sums.items()}


def _canonical(pred: Prediction) -> Any:
    """What predictions are sorted by: their content, so that their order in a file is nothing."""
    return -pred.score, id_order(pred.category_id), [mask["counts"] if mask else "" for mask in pred.masks]


def _errors_of(task: Task) -> VideoErrors:
    task = task._replace(preds=sorted(task.preds, key=_canonical))
    finder = _Finder(_scene(task), len(task.preds))
    numbers, ids = [pred.number for pred in task.preds], [gt.id for gt in task.gts]
    errors = [
        IdentityError(kind, frames, tuple(ids[g] for g in gts), tuple(numbers[p] for p in preds))
        for kind, frames, gts, preds in finder.errors()
    ]
    return VideoErrors(task.video.id, tuple(errors), tuple(ids[g] for g in finder.never_found), finder.counts())


def _counts_at(task: Task, *, levels: Sequence[float | None]) -> dict[float | None, Identity]:
    """The counts of one video at each threshold, made once for thresholds that keep the same tracks.

    Tracks are sorted by falling score, so that a threshold keeps the first of them.
    """
    task = task._replace(preds=sorted(task.preds, key=_canonical))
    scene, counts = _scene(task), dict[int, Identity]()
    number_of = {level: sum(pred.reaches(level) for pred in task.preds) for level in levels}
    for number in number_of.values():
        if number not in counts:
            counts[number] = _Finder(scene, number).counts()
    return {level: counts[number] for level, number in number_of.items()}


def _scene(task: Task) -> _Scene:
    both = overlaps(task.video, [pred.masks for pred in task.preds], [gt.masks for gt in task.gts])
    shared = both.shared.transpose(0, 2, 1)
    sums = both.gt_areas[:, :, None] + both.pred_areas[:, None]
    ious = shared / np.maximum(sums - shared, 1)
    on = np.full(both.pred_areas.shape, -1)
    if shared.size:
        most = ious.argmax(axis=1)  # of equals the first object in the file
        above = np.take_along_axis(3 * shared > sums, most[:, None], axis=1)[:, 0]  # IoU above one half, exactly
        on = np.where(above, most, -1)
    return _Scene(shared, both.gt_areas, ious, on, [np.flatnonzero(row).tolist() for row in both.gt_areas])


class _Finder:
    """Goes through the frames of one video, in order, and collects what is wrong with its first predictions."""

    def __init__(self, scene: _Scene, number: int) -> None:
        self._found: set[int] = set()  # objects that were tracked or merged
        self._tracked = 0  # object-frames
        self._scene = scene
        self._last: dict[int, tuple[int, int]] = {}  # of each object: owner, and frame, when it was tracked last
        self._events: list[_Event] = []
        self._lasting: dict[tuple[Kind, tuple[int, ...], tuple[int, ...]], list[int]] = defaultdict(list)
        shared = scene.shared[..., :number]
        covers = 2 * shared.max(axis=2, initial=0) > scene.areas
        most = shared.argmax(axis=2) if number else -1
        for t, (on, swallowers) in enumerate(zip(scene.on[:, :number].tolist(), np.where(covers, most, -1).tolist())):
            self._look_at(t, on, swallowers)

    @property
    def never_found(self) -> list[int]:
        """The objects that are visible and always lost."""
        return sorted(set().union(*self._scene.visible) - self._found)

    def counts(self) -> Identity:
        """How many there are of all."""
        return Identity(
            **Counter[str](error[0] for error in self.errors()),
            never_found=len(self.never_found),
            tracked=self._tracked,
            object_frames=sum(map(len, self._scene.visible)),
            objects=len(set().union(*self._scene.visible)),
        )

    def errors(self) -> list[_Found]:
        """The errors, sorted; objects and predictions by position."""
        found = self._swaps_and_changes()
        for (kind, gts, preds), frames in self._lasting.items():
            if kind != "lost" or gts[0] in self._found:
                found += [(kind, part, gts, preds) for part in self._parts(frames, gts)]
        return sorted(found, key=lambda error: (KINDS.index(error[0]), *error[1:]))

    def _parts(self, frames: list[int], gts: tuple[int, ...]) -> list[tuple[int, ...]]:
        """The frames of an error, parted where its objects are visible without it."""
        breaks = [
            place
            for place, (before, t) in enumerate(pairwise(frames), start=1)
            if any(set(gts).issubset(self._scene.visible[between]) for between in range(before + 1, t))
        ]
        return [tuple(frames[start:end]) for start, end in pairwise([0, *breaks, len(frames)])]

    def _look_at(self, t: int, on: list[int], swallowers: list[int]) -> None:
        """Give each visible object its state in frame `t`, and note the errors.

        Args:
            t: The frame.
            on: (P) the object that each prediction is on, or -1.
            swallowers: (G) the prediction that covers more than half of each object, or -1.
        """
        there: dict[int, list[int]] = defaultdict(list)
        for p, g in enumerate(on):
            if g >= 0:
                there[g].append(p)
        owners = {g: self._owner(t, g, preds) for g, preds in there.items()}
        held: dict[int, list[int]] = defaultdict(list)
        for g in self._scene.visible[t]:
            holder = owners.get(g, swallowers[g])
            if holder >= 0:
                held[holder].append(g)
        merged: set[int] = set()
        for holder, objects in held.items():
            if len(objects) > 1:
                self._lasting["merged", tuple(objects), (holder,)].append(t)
                merged.update(objects)
        for g in self._scene.visible[t]:
            if g not in merged and g in owners:
                self._track(t, g, owners[g])
            elif g not in merged:
                self._lasting["lost", (g,), ()].append(t)
        self._found |= merged | owners.keys()
        for g, preds in there.items():
            for p in preds:
                if p != owners[g]:
                    self._lasting["duplicate", (g,), (p,)].append(t)

    def _owner(self, t: int, g: int, there: list[int]) -> int:
        last = self._last.get(g, (-1, -1))[0]
        return last if last in there else max(there, key=lambda p: self._scene.ious[t, g, p])

    def _track(self, t: int, g: int, owner: int) -> None:
        old, since = self._last.get(g, (owner, t))
        if old != owner:
            self._events.append(_Event(t, since, g, old, owner))
        self._last[g] = (owner, t)
        self._tracked += 1

    def _swaps_and_changes(self) -> list[_Found]:
        """Each event is half of one switch, or a change."""
        found: list[_Found] = []
        rest = list(self._events)
        while rest:
            one = rest.pop(0)
            partner = next((other for other in rest if _swaps(one, other)), None)
            if partner is None:
                found.append(("change", (one.frame,), (one.gt,), (one.old, one.new)))
                continue
            rest.remove(partner)
            frames = tuple(sorted({one.frame, partner.frame}))
            preds = tuple(sorted((one.old, one.new)))
            found.append(("switch", frames, tuple(sorted((one.gt, partner.gt))), preds))
        return found


def _swaps(one: _Event, other: _Event) -> bool:
    swapped = one.gt != other.gt and (one.old, one.new) == (other.new, other.old)
    return swapped and max(one.since, other.since) < min(one.frame, other.frame)
