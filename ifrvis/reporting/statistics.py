"""What a few seeds allow to say: intervals and tests, all of them at 95 % and two-sided.

Values are those of one metric, by seed. Where a test has nothing to go by (one seed, no spread) it says None.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special  # of `scipy.stats` nothing: it takes half a second to import

LEVEL = 0.95

Values = Mapping[int, float]  # by seed


class Interval(NamedTuple):
    """From `low` to `high`, both in the values' unit."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """How the first of two rows differs from the second.

    Args:
        value: First minus second.
        test: Its name.
        p: Of no difference; None where nothing can be tested.
        interval: Of a difference of means.
    """

    value: float
    test: str
    p: float | None = None
    interval: Interval | None = None


def mean_interval(values: Sequence[float]) -> Interval | None:
    """The t-interval of the mean."""
    if len(values) < 2:
        return None
    half = _t(len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return Interval(fmean(values) - half, fmean(values) + half)


def expected_interval(mean: float, std: float, *, runs: int, n: int, df: int, tolerance: float = 0.0) -> Interval:
    """Where the mean of `n` new runs is expected after a mean of `runs`: a prediction interval, and a tolerance.

    Args:
        mean: Of the runs there were.
        std: Of single runs, estimated with `df` degrees of freedom.
        runs: Behind the mean.
        n: Runs of the new mean.
        df: Degrees of freedom of `std`.
        tolerance: Added to both sides: what differs for other reasons than chance.
    """
    half = _t(df) * std * math.sqrt(1 / runs + 1 / n) + tolerance
    return Interval(mean - half, mean + half)


def mean_difference(first: Values, second: Values) -> Difference:
    """Difference of means over the same seeds: the paired t-test."""
    one, other = _aligned(first, second)
    value, differences, df = fmean(one) - fmean(other), np.subtract(one, other), len(one) - 1
    if not _spread(differences):
        return Difference(value, "paired t")
    mean, error = float(np.mean(differences)), math.sqrt(np.var(differences, ddof=1) / len(one))
    p, half = float(2 * special.stdtr(df, -abs(mean / error))), _t(df) * error
    return Difference(value, "paired t", p, Interval(mean - half, mean + half))


def std_difference(first: Values, second: Values) -> Difference:
    """Difference of standard deviations over the same seeds: Pitman and Morgan's test, of sums against differences."""
    one, other = _aligned(first, second)
    value, sums, differences = stdev(one) - stdev(other), np.add(one, other), np.subtract(one, other)
    if len(one) < 3 or not _spread(sums) or not _spread(differences):
        return Difference(value, "Pitman-Morgan")
    r, half_df = abs(float(np.corrcoef(sums, differences)[0, 1])), len(one) / 2 - 1
    p = float(2 * special.betaincc(half_df, half_df, min(1.0, (1 + r) / 2)))  # r is of a beta distribution on [-1, 1]
    return Difference(value, "Pitman-Morgan", p)


def holm(ps: Iterable[float]) -> list[float]:
    """Holm's correction: p-values of one family, adjusted, in their order."""
    given = list(ps)
    adjusted, highest = [0.0] * len(given), 0.0
    for rank, index in enumerate(sorted(range(len(given)), key=given.__getitem__)):
        highest = max(highest, min(1.0, (len(given) - rank) * given[index]))
        adjusted[index] = highest
    return adjusted


def _t(df: int) -> float:
    return float(special.stdtrit(df, (1 + LEVEL) / 2))


def _aligned(first: Values, second: Values) -> tuple[list[float], list[float]]:
    assert first.keys() == second.keys(), "cells are numbers of the seeds asked for"
    return [first[seed] for seed in sorted(first)], [second[seed] for seed in sorted(first)]


def _spread(values: NDArray[np.float64]) -> float:
    """The standard deviation, 0 for one value and where only rounding is left of it."""
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return spread if spread > 1e-12 else 0.0
