"""Work that goes video by video, shared among processes; how many there are changes nothing in what comes out.

What a video needs is read when it is its turn, by the process that works on it, and is gone after it.
"""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from itertools import islice
from typing import NamedTuple, TypeVar

from ifrvis.datasets.ytvis import Annotations, FiledAnnotations, Track, Video
from ifrvis.errors import UserError
from ifrvis.evaluation.predictions import Predicted, Prediction, by_video

Result = TypeVar("Result")
Truth = Annotations | FiledAnnotations
_AT_ONCE = 8  # videos that a process is given at a time
_AHEAD = 3  # so often what every process is given is waiting or done, at most


class Task(NamedTuple):
    """One video with its ground truth and its predictions, each in the order of its file."""

    video: Video
    gts: list[Track]
    preds: list[Prediction]


Load = Callable[[], Task]


def tasks_of(annotations: Truth, predictions: Predicted, *, crowds: bool) -> Iterator[Load]:
    """What gives the task of each video, in the order of their ids; with or without the crowds of the ground truth."""
    given = by_video(predictions)
    for video_id in annotations.video_ids:
        yield partial(_task, annotations.of_video(video_id), given(video_id), crowds)


def _task(
    read: Callable[[], Annotations], predictions: Callable[[Annotations], list[Prediction]], crowds: bool
) -> Task:
    annotations = read()
    gts = [track for track in annotations.tracks if crowds or not track.is_crowd]
    return Task(annotations.videos[0], gts, predictions(annotations))


def in_processes(work: Callable[[Task], Result], tasks: Iterable[Load], *, jobs: int) -> Iterator[Result]:
    """The result of each task, in order, by `jobs` processes (1: this one); UserError if there are fewer than 1."""
    if jobs < 1:
        raise UserError(f"Give --jobs 1 or more, got {jobs}.")
    if jobs == 1:
        yield from (work(load()) for load in tasks)
        return
    waiting, rest = deque[Future[list[Result]]](), iter(tasks)
    # Fresh processes: a fork would copy locks that the threads of numpy or torch may hold.
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        while some := list(islice(rest, _AT_ONCE)):
            waiting.append(pool.submit(_worked, work, some))
            if len(waiting) >= _AHEAD * jobs:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _worked(work: Callable[[Task], Result], tasks: list[Load]) -> list[Result]:
    return [work(load()) for load in tasks]
