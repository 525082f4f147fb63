"""What a few seeds allow to say: intervals and tests, two-sided, and at 95 % where no level is given.

Values are those of one metric, by seed. Where a test has nothing to go by (one seed, no spread) it says None.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special  # of `scipy.stats` nothing: it takes half a second to import

LEVEL, POWER, MOST_PAIRS = 0.95, 0.8, 1000

Values = Mapping[int, float]  # by seed


class Interval(NamedTuple):
    """From `low` to `high`, both in the values' unit."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """How the first of two rows differs from the second."""

    value: float  # first minus second
    test: str  # its name
    p: float | None = None  # of no difference; None where nothing can be tested
    interval: Interval | None = None  # of a difference of means, over seeds
    over_videos: Interval | None = None  # likewise over videos (`over_videos`)
    by_seed: Values = field(default_factory=dict)  # what each seed has of it, where seeds pair


def mean_interval(values: Sequence[float]) -> Interval | None:
    """The t-interval of the mean."""
    if len(values) < 2:
        return None
    half = _t(len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return Interval(fmean(values) - half, fmean(values) + half)


def expected_interval(
    mean: float, std: float, *, runs: int, n: int, df: int, tolerance: float = 0.0, level: float = LEVEL
) -> Interval:
    """Where the mean of `n` new runs is expected after a mean of `runs`: a prediction interval at `level`.

    `std` is of single runs, with `df` degrees of freedom; `tolerance`, for what differs for other reasons than chance,
    is added to both sides.
    """
    half = _t(df, level) * std * math.sqrt(1 / runs + 1 / n) + tolerance
    return Interval(mean - half, mean + half)


def mean_difference(first: Values, second: Values, *, paired: bool = True, margin: float | None = None) -> Difference:
    """Difference of means: the paired t-test over the same seeds, Welch's where a seed is not one thing in both.

    With a margin it is asked instead whether the means are equal within it: p is of two one-sided tests (TOST) where
    the difference is smaller, else of its being no larger than the margin.
    """
    one, other = _aligned(first, second)
    mean, error, df = _paired_error(one, other) if paired else _welch_error(one, other)
    test = ("paired t" if paired else "Welch's t") + (", TOST" if margin is not None else "")
    value = fmean(one) - fmean(other)
    by_seed = dict(zip(sorted(first), np.subtract(one, other).tolist())) if paired else {}
    if not error:
        return Difference(value, test, by_seed=by_seed)
    half, beyond = _t(df) * error, abs(mean) - (margin or 0.0)
    sides = 1 if beyond < 0 else 2  # TOST's larger p is that of the nearer margin
    p = float(sides * special.stdtr(df, -abs(beyond) / error))
    return Difference(value, test, p, Interval(mean - half, mean + half), by_seed=by_seed)


def _paired_error(one: Sequence[float], other: Sequence[float]) -> tuple[float, float, float]:
    """Mean of the differences, its standard error (0: no spread) and degrees of freedom."""
    differences = np.subtract(one, other)
    error = math.sqrt(np.var(differences, ddof=1) / len(one)) if _spread(differences) else 0.0
    return float(np.mean(differences)), error, len(one) - 1


def _welch_error(one: Sequence[float], other: Sequence[float]) -> tuple[float, float, float]:
    """The same of two samples that have nothing to do with each other (Welch and Satterthwaite)."""
    parts = [_spread(np.asarray(each)) ** 2 / len(each) for each in (one, other)]
    mean, whole = fmean(one) - fmean(other), sum(parts)
    df = whole**2 / sum(part**2 / (len(one) - 1) for part in parts) if whole else 1.0
    return mean, math.sqrt(whole), df


def shown_by(n: int, std: float) -> float:
    """The smallest true mean that a paired t-test of `n` pairs, 2 or more, shows; `std` is of single differences."""
    # The other side of the test, whose share of the power is nothing here, is left out.
    return float(special.nctdtrinc(n - 1, 1 - POWER, _t(n - 1))) * std / math.sqrt(n)


def pairs_to_show(difference: float, std: float) -> int | None:
    """The fewest pairs of which the test shows a true difference with `POWER`; None for more than `MOST_PAIRS`."""
    return next((n for n in range(2, MOST_PAIRS + 1) if shown_by(n, std) <= abs(difference)), None)


def std_difference(first: Values, second: Values) -> Difference:
    """Difference of standard deviations over the same seeds: Pitman and Morgan's test, of sums against differences."""
    one, other = _aligned(first, second)
    value, sums, differences = stdev(one) - stdev(other), np.add(one, other), np.subtract(one, other)
    if len(one) < 3 or not _spread(sums) or not _spread(differences):
        return Difference(value, "Pitman-Morgan")
    r, half_df = abs(float(np.corrcoef(sums, differences)[0, 1])), len(one) / 2 - 1
    p = float(2 * special.betaincc(half_df, half_df, min(1.0, (1 + r) / 2)))  # r is of a beta distribution on [-1, 1]
    return Difference(value, "Pitman-Morgan", p)


def holm(ps: Iterable[float], *, tests: int | None = None) -> list[float]:
    """Holm's correction: p-values of one family, adjusted, in their order; of so many `tests` if some have none yet."""
    given = list(ps)
    tests = tests or len(given)
    adjusted, highest = [0.0] * len(given), 0.0
    for rank, index in enumerate(sorted(range(len(given)), key=given.__getitem__)):
        highest = max(highest, min(1.0, (tests - rank) * given[index]))
        adjusted[index] = highest
    return adjusted


def _t(df: float, level: float = LEVEL) -> float:
    return float(special.stdtrit(df, (1 + level) / 2))


def _aligned(first: Values, second: Values) -> tuple[list[float], list[float]]:
    assert first.keys() == second.keys(), "cells are numbers of the seeds asked for"
    return [first[seed] for seed in sorted(first)], [second[seed] for seed in sorted(first)]


def _spread(values: NDArray[np.float64]) -> float:
    """The standard deviation, 0 for one value and where only rounding is left of it."""
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return spread if spread > 1e-12 else 0.0
