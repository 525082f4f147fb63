"""Work on another thread while this one computes, in order and a little ahead."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_background(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`map`, with `function` on one other thread, two items before the one that is asked for.

    The items are made on the caller's thread: torch computes there alone, since another thread would use another
    number of threads of its own.
    """
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
