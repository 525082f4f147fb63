"""What a training tells while it runs: progress for the live view, scalars for TensorBoard."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ifrvis.errors import UserError

Sink = Callable[[str, float, int], None]  # name, value, step


@dataclass(frozen=True)
class Progress:
    """After an iteration."""

    iteration: int  # iterations behind the run, earlier attempts included
    iterations: int
    loss: float  # total loss of the global batch
    loss_parts: Mapping[str, float]  # the terms of all layers that add up to it
    grad_norm: float  # norm of the whole gradient before clipping
    seconds_per_iteration: float  # mean of this attempt, the first aside, which is slow everywhere
    eta_s: float  # seconds to the end at that pace

    def line(self) -> str:
        """The same for a log."""
        parts = ", ".join(f"{name} {value:.3f}" for name, value in self.loss_parts.items())
        return f"iteration {self.iteration}/{self.iterations} loss {self.loss:.3f} ({parts})"


Item = TypeVar("Item")


class Clock:
    """The mean time between ticks, in seconds, and how much of it was waited."""

    def __init__(self) -> None:
        self._start = self._last = time.monotonic()
        self._waited_s = 0.0
        self._first, self._ticks = self._start, 0

    def waits(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items; what one is waited for counts as waiting."""
        began = time.monotonic()
        for item in items:
            self._waited_s += time.monotonic() - began
            yield item
            began = time.monotonic()

    @property
    def waiting(self) -> float | None:
        """Share of the time to the last tick that was spent waiting; None before the first."""
        return None if not self._ticks else min(self._waited_s / max(self._last - self._start, 1e-9), 1.0)

    def tick(self) -> float:
        """The mean after one more iteration; of all but the first, if there are more."""
        self._last = time.monotonic()
        self._ticks += 1
        if self._ticks == 1:
            self._first = self._last
            return self._last - self._start
        return (self._last - self._first) / (self._ticks - 1)


def tensorboard_sink(folder: Path) -> Sink:
    """A sink that writes TensorBoard event files; UserError if TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UserError(
            "Install TensorBoard (`pip install 'ifrvis[tensorboard]'`) or leave its log out: it is not installed here."
        ) from error
    return SummaryWriter(str(folder), flush_secs=5).add_scalar
