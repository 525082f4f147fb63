"""Work that goes video by video, shared among processes; how many there are changes nothing in what comes out."""

import multiprocessing
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple, TypeVar

from ifrvis.datasets.ytvis import Annotations, Id, Track, Video, id_order
from ifrvis.errors import UserError
from ifrvis.evaluation.predictions import Prediction

Result = TypeVar("Result")


class Task(NamedTuple):
    """One video with its ground truth and its predictions, each in the order of its file."""

    video: Video
    gts: list[Track]
    preds: list[Prediction]


def tasks_of(annotations: Annotations, predictions: Iterable[Prediction], *, crowds: bool) -> list[Task]:
    """A task a video, in the order of their ids; with or without the crowds of the ground truth."""
    preds: dict[Id, list[Prediction]] = defaultdict(list)
    for prediction in predictions:
        preds[prediction.video_id].append(prediction)
    tasks = []
    for video in sorted(annotations.videos, key=lambda video: id_order(video.id)):
        gts = [track for track in annotations.tracks_of(video.id) if crowds or not track.is_crowd]
        tasks.append(Task(video, gts, preds[video.id]))
    return tasks


def in_processes(work: Callable[[Task], Result], tasks: Sequence[Task], *, jobs: int) -> Iterator[Result]:
    """The result of each task, in order, by `jobs` processes (1: this one); UserError if there are fewer than 1."""
    if jobs < 1:
        raise UserError(f"Give --jobs 1 or more, got {jobs}.")
    if jobs == 1 or len(tasks) < 2:
        yield from map(work, tasks)
        return
    # Fresh processes: a fork would copy locks that the threads of numpy or torch may hold.
    with ProcessPoolExecutor(min(jobs, len(tasks)), mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(work, tasks, chunksize=4)
