"""What a few seeds allow to say: intervals and tests, all of them at 95 % and two-sided.

Values are those of one metric, by seed. Where a test has nothing to go by (one seed, no spread) it says None.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import NamedTuple

from scipy import stats

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
    value = fmean(one) - fmean(other)
    if not _spread([a - b for a, b in zip(one, other)]):
        return Difference(value, "paired t")
    found = stats.ttest_rel(one, other)
    return Difference(value, "paired t", float(found.pvalue), Interval(*map(float, found.confidence_interval(LEVEL))))


def std_difference(first: Values, second: Values) -> Difference:
    """Difference of standard deviations over the same seeds: Pitman and Morgan's test."""
    one, other = _aligned(first, second)
    sums, differences = [a + b for a, b in zip(one, other)], [a - b for a, b in zip(one, other)]
    tested = len(one) > 2 and _spread(sums) and _spread(differences)
    p = float(stats.pearsonr(sums, differences).pvalue) if tested else None
    return Difference(stdev(one) - stdev(other), "Pitman-Morgan", p)


def holm(ps: Iterable[float]) -> list[float]:
    """Holm's correction: p-values of one family, adjusted, in their order."""
    given = list(ps)
    adjusted, highest = [0.0] * len(given), 0.0
    for rank, index in enumerate(sorted(range(len(given)), key=given.__getitem__)):
        highest = max(highest, min(1.0, (len(given) - rank) * given[index]))
        adjusted[index] = highest
    return adjusted


def _t(df: int) -> float:
    return float(stats.t.ppf((1 + LEVEL) / 2, df))


def _aligned(first: Values, second: Values) -> tuple[list[float], list[float]]:
    assert first.keys() == second.keys(), "cells are numbers of the seeds asked for"
    return [first[seed] for seed in sorted(first)], [second[seed] for seed in sorted(first)]


def _spread(values: Sequence[float]) -> float:
    """The standard deviation, 0 for one value and where only rounding is left of it."""
    spread = stdev(values) if len(values) > 1 else 0.0
    return spread if spread > 1e-12 else 0.0
