"""Copies of the ground truth with planted identity errors, and the list of what was planted.

Knows nothing of the evaluator but what its errors are called. Each object takes part in at most one error.
"""

from dataclasses import dataclass, field

from ifrvis.datasets.rle import decode, encode
from ifrvis.evaluation.predictions import Prediction


@dataclass
class Copy:
    """One video: a predicted track per object, more where needed; `planted` holds (kind, frames, ids of objects)."""

    video_id: object
    objects: list
    tracks: list = field(default_factory=list)
    planted: list = field(default_factory=list)

    def __post_init__(self):
        self.tracks = [list(track.masks) for track in self.objects]

    def visible(self, *indices):
        """Frames in which all these objects can be seen."""
        masks = [self.objects[index].masks for index in indices]
        return [t for t, there in enumerate(zip(*masks)) if all(m is not None and decode(m).any() for m in there)]

    def predictions(self):
        """Longer tracks first, so that a second one of an object is the weaker one."""
        return [
            Prediction(self.video_id, self.objects[0].category_id, 0.9 - 0.001 * number, tuple(masks))
            for number, masks in enumerate(self.tracks)
        ]

    def plant(self, kind, frames, *indices):
        self.planted.append((kind, tuple(frames), tuple(self.objects[index].id for index in indices)))


def tampered(annotations, rng):
    """One copy a video."""
    copies = []
    for video in annotations.videos:
        copy = Copy(video.id, list(annotations.tracks_of(video.id)))
        waiting = [int(index) for index in rng.permutation(len(copy.objects))]
        while waiting:
            plant = [change, switch, merge, lose, duplicate, leave][rng.integers(6)]
            count = 2 if plant in (switch, merge) else 1
            if len(waiting) >= count:
                plant(copy, rng, *sorted(waiting[:count]))
                del waiting[:count]
        copies.append(copy)
    return copies


def part_of(frames, rng):
    """Some frames that follow each other."""
    first, last = sorted(rng.integers(len(frames), size=2))
    return frames[first : last + 1]


def change(copy, rng, index):
    frames = copy.visible(index)
    if len(frames) > 1:
        start = frames[rng.integers(1, len(frames))]
        copy.tracks.append([None] * start + copy.tracks[index][start:])
        copy.tracks[index][start:] = [None] * len(copy.tracks[index][start:])
        copy.plant("change", [start], index)


def switch(copy, rng, first, second):
    frames = [copy.visible(index) for index in (first, second)]
    if all(len(each) > 1 for each in frames):
        low, high = max(each[0] for each in frames) + 1, min(each[-1] for each in frames)
        if low <= high:
            start = int(rng.integers(low, high + 1))
            one, other = copy.tracks[first], copy.tracks[second]
            one[start:], other[start:] = other[start:], one[start:]
            copy.plant("switch", sorted({min(t for t in each if t >= start) for each in frames}), first, second)


def merge(copy, rng, first, second):
    if frames := copy.visible(first, second):
        frames = part_of(frames, rng)
        for t in frames:
            copy.tracks[first][t] = encode(decode(copy.tracks[first][t]) | decode(copy.tracks[second][t]))
            copy.tracks[second][t] = None
        copy.plant("merged", frames, first, second)


def lose(copy, rng, index):
    frames = copy.visible(index)
    gone = part_of(frames, rng)
    if len(gone) < len(frames):
        for t in gone:
            copy.tracks[index][t] = None
        copy.plant("lost", gone, index)


def duplicate(copy, rng, index):
    frames = part_of(copy.visible(index), rng)
    copy.tracks.append([mask if t in frames else None for t, mask in enumerate(copy.tracks[index])])
    copy.plant("duplicate", frames, index)


def leave(copy, rng, index):
    """Nothing at all, which is to be found, too."""
