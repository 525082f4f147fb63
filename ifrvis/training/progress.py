"""What a training tells while it runs."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Clock", "Progress"]


@dataclass(frozen=True)
class Progress:
    """After an iteration.

    Attributes:
        iteration: Iterations behind the run, earlier attempts included.
        iterations: Iterations in all.
        loss: Total loss of the global batch.
        loss_parts: The terms of all layers that add up to it.
        grad_norm: Norm of the whole gradient before clipping.
        eta_s: Seconds to the end at the pace of late.
    """

    iteration: int
    iterations: int
    loss: float
    loss_parts: Mapping[str, float]
    grad_norm: float
    eta_s: float


class Clock:
    """A running mean of the time between ticks, in seconds; the latest tenth or so counts most."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self.mean_s: float | None = None

    def tick(self) -> float:
        """The mean after one more iteration."""
        now = time.monotonic()
        seconds, self._last = now - self._last, now
        self.mean_s = seconds if self.mean_s is None else 0.9 * self.mean_s + 0.1 * seconds
        return self.mean_s
