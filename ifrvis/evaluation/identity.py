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
predictions is nothing.

Shape letters:
    T  frames of one video     P  its predictions, in an order of their own     G  its ground truth
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from ifrvis.datasets.ytvis import Annotations, Id, id_order
from ifrvis.evaluation.predictions import Prediction
from ifrvis.evaluation.processes import Task, in_processes, tasks_of
from ifrvis.evaluation.tubes import overlaps

Kind = Literal["change", "switch", "merged", "lost", "duplicate"]
_Found = tuple[Kind, tuple[int, ...], tuple[int, ...], tuple[int, ...]]  # kind, frames, objects, predictions


@dataclass(frozen=True)
class IdentityError:
    """One error.

    Args:
        kind: What it is.
        frames: The frames in which it holds, from 0; of a change or a switch, those in which an owner is new.
        gt_ids: The objects, in the order of the annotation file.
        predictions: Numbers of predictions: the old and the new owner of a change; those that are swapped; the one
            that merges or duplicates; none of a lost object.
    """

    kind: Kind
    frames: tuple[int, ...]
    gt_ids: tuple[Id, ...]
    predictions: tuple[int, ...] = ()


class VideoErrors(NamedTuple):
    """What is wrong in one video."""

    video_id: Id
    errors: tuple[IdentityError, ...]  # by kind, then frames
    never_found: tuple[Id, ...]  # objects

    def to_json(self) -> dict[str, Any]:
        """The same as JSON has it."""
        return self._asdict() | {"errors": [asdict(error) for error in self.errors]}


class _Scene(NamedTuple):
    """One video in numbers."""

    shared: NDArray[np.int64]  # (T, G, P) pixels
    areas: NDArray[np.int64]  # (T, G) of ground truth, pixels
    ious: NDArray[np.float64]  # (T, G, P)
    on: NDArray[np.int64]  # (T, P) the object that each prediction is on, or -1


class _Event(NamedTuple):
    """An object that was tracked in frame `since` by `old` is so again in `frame`, by `new`."""

    frame: int
    since: int
    gt: int
    old: int
    new: int


def identity_errors(annotations: Annotations, tracks: Iterable[Prediction], *, jobs: int = 1) -> list[VideoErrors]:
    """The identity errors of each video.

    Args:
        annotations: Ground truth.
        tracks: The predicted tracks that count (`tracking.follow`).
        jobs: Processes that share the videos; they change nothing in what is found.
    """
    tasks = tasks_of(annotations, sorted(tracks, key=_canonical), crowds=False)
    return list(in_processes(_errors_of, tasks, jobs=jobs))


def count_errors(videos: Iterable[VideoErrors]) -> dict[str, int]:
    """How many errors of each kind there are, and how many objects are never found."""
    found = list(videos)
    kinds = Counter(error.kind for each in found for error in each.errors)
    never_found = sum(len(each.never_found) for each in found)
    return {kind: kinds[kind] for kind in get_args(Kind)} | {"never_found": never_found}


def _canonical(pred: Prediction) -> Any:
    """What predictions are sorted by: their content, so that their order in a file is nothing."""
    return -pred.score, id_order(pred.category_id), [mask["counts"] if mask else "" for mask in pred.masks]


def _errors_of(task: Task) -> VideoErrors:
    scene = _scene(task)
    finder = _Finder(scene)
    for t in range(len(scene.areas)):
        finder.look_at(t)
    numbers, ids = [pred.number for pred in task.preds], [gt.id for gt in task.gts]
    errors = [
        IdentityError(kind, frames, tuple(ids[g] for g in gts), tuple(numbers[p] for p in preds))
        for kind, frames, gts, preds in finder.errors()
    ]
    never = tuple(ids[g] for g in np.flatnonzero((scene.areas > 0).any(axis=0)) if g not in finder.found)
    return VideoErrors(task.video.id, tuple(errors), never)


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
    return _Scene(shared, both.gt_areas, ious, on)


class _Finder:
    """Goes through the frames of one video, in order, and collects what is wrong."""

    def __init__(self, scene: _Scene) -> None:
        self.found: set[int] = set()  # objects that were tracked or merged
        self._scene = scene
        self._last: dict[int, tuple[int, int]] = {}  # of each object: owner, and frame, when it was tracked last
        self._events: list[_Event] = []
        self._lasting: dict[tuple[Kind, tuple[int, ...], tuple[int, ...]], list[int]] = defaultdict(list)

    def look_at(self, t: int) -> None:
        """Give each visible object its state in frame `t`, and note the errors."""
        visible = [int(g) for g in np.flatnonzero(self._scene.areas[t])]
        owners = {g: owner for g in visible if (owner := self._owner(t, g)) is not None}
        held: dict[int, list[int]] = defaultdict(list)
        for g in visible:
            holder = owners[g] if g in owners else self._swallower(t, g)
            if holder is not None:
                held[holder].append(g)
        merged = {g for objects in held.values() if len(objects) > 1 for g in objects}
        for holder, objects in held.items():
            if len(objects) > 1:
                self._lasting["merged", tuple(objects), (holder,)].append(t)
        for g in visible:
            if g not in merged and g not in owners:
                self._lasting["lost", (g,), ()].append(t)
            elif g not in merged:
                self._track(t, g, owners[g])
        self.found |= merged | owners.keys()
        for p, g in enumerate(self._scene.on[t].tolist()):
            if g >= 0 and owners[g] != p:
                self._lasting["duplicate", (g,), (p,)].append(t)

    def errors(self) -> list[_Found]:
        """The errors, sorted; objects and predictions by position."""
        found = self._swaps_and_changes()
        for (kind, gts, preds), frames in self._lasting.items():
            if kind != "lost" or gts[0] in self.found:
                both_visible = np.cumsum((self._scene.areas[:, gts] > 0).all(axis=1))
                breaks = np.flatnonzero(np.diff(both_visible[frames]) > 1) + 1
                found += [(kind, tuple(part.tolist()), gts, preds) for part in np.split(np.array(frames), breaks)]
        return sorted(found, key=lambda error: (get_args(Kind).index(error[0]), *error[1:]))

    def _owner(self, t: int, g: int) -> int | None:
        there = np.flatnonzero(self._scene.on[t] == g)
        if not there.size:
            return None
        last = self._last.get(g, (-1, -1))[0]
        return last if last in there else int(there[self._scene.ious[t, g, there].argmax()])

    def _swallower(self, t: int, g: int) -> int | None:
        shared = self._scene.shared[t, g]
        return int(shared.argmax()) if shared.size and 2 * shared.max() > self._scene.areas[t, g] else None

    def _track(self, t: int, g: int, owner: int) -> None:
        old, since = self._last.get(g, (owner, t))
        if old != owner:
            self._events.append(_Event(t, since, g, old, owner))
        self._last[g] = (owner, t)

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
