"""Each statistic on known numbers: worked by hand, or as R prints it for its `sleep` data."""

import math

import numpy as np
import pytest
from scipy.stats import nct
from scipy.stats import t as student

from ifrvis.reporting.statistics import Difference, holm, mean_difference, mean_interval, pairs_to_show, shown_by
from ifrvis.reporting.statistics import std_difference as std_diff

FIRST = dict(enumerate([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]))
SECOND = dict(enumerate([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]))


def test_interval_of_a_mean_is_that_of_r():
    low, high = mean_interval(list(FIRST.values()))  # t.test(extra[group == 1])
    assert (low, high) == (pytest.approx(-0.5297804, abs=1e-7), pytest.approx(2.0297804, abs=1e-7))


def test_rows_with_the_same_seeds_are_paired_as_r_does():
    found = mean_difference(FIRST, SECOND)  # t.test(extra ~ group, paired = TRUE)
    assert (found.test, found.value) == ("paired t", pytest.approx(-1.58))
    assert found.p == pytest.approx(0.002833, abs=5e-7)
    assert found.interval == (pytest.approx(-2.4598858, abs=1e-7), pytest.approx(-0.7001142, abs=1e-7))


def test_seeds_that_mean_nothing_to_each_other_are_compared_after_welch_as_r_does():
    found = mean_difference(FIRST, SECOND, paired=False)  # t.test(extra ~ group)
    assert (found.test, found.value) == ("Welch's t", pytest.approx(-1.58))
    assert found.p == pytest.approx(0.07939, abs=5e-6)
    assert found.interval == (pytest.approx(-3.3654832, abs=1e-7), pytest.approx(0.2054832, abs=1e-7))


@pytest.mark.parametrize(
    ("margin", "p"),
    [
        (5.0, 1 / 2 - 27**0.5 / (2 * 29**0.5)),  # t = (5 - 2) sqrt(3); with 2 degrees, P(T > t) is in closed form
        (2.0, 1.0),
        (1.0, 1 - 3**0.5 / 5**0.5),  # t = (2 - 1) sqrt(3) to the other side, twice
    ],
)
def test_equality_within_a_margin_by_hand(margin, p):
    found = mean_difference({0: 2.0, 1: 3.0, 2: 4.0}, {0: 1.0, 1: 1.0, 2: 1.0}, margin=margin)  # 2 +- 1, of three
    assert (found.test, found.value) == ("paired t, TOST", 2.0)
    assert found.p == pytest.approx(p if margin != 2.0 else min(1.0, found.p))
    assert mean_difference({0: 1.0, 1: 1.0, 2: 1.0}, {0: 2.0, 1: 3.0, 2: 4.0}, margin=margin).p == found.p


def test_spreads_of_the_same_seeds_are_compared_after_pitman_and_morgan():
    found = std_diff(FIRST, SECOND)
    one, other = np.array(list(FIRST.values())), np.array(list(SECOND.values()))
    ratio, r, n = one.var(ddof=1) / other.var(ddof=1), np.corrcoef(one, other)[0, 1], len(one)
    statistic = (ratio - 1) * math.sqrt(n - 2) / (2 * math.sqrt(ratio * (1 - r**2)))  # in terms of F and r
    assert found.test == "Pitman-Morgan"
    assert found.p == pytest.approx(2 * student.sf(abs(statistic), n - 2))


def test_holm_is_that_of_r():
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])  # p.adjust
    assert holm([0.04, 0.01, 0.9]) == pytest.approx([0.08, 0.03, 0.9])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("difference", [mean_difference, std_diff])
def test_what_has_no_spread_is_not_tested(difference):
    same = {0: 0.1, 1: 0.2, 2: 0.4}
    above = {seed: value + 0.1 for seed, value in same.items()}  # but for rounding
    assert difference(above, same).p is None
    assert difference({0: 0.1, 1: 0.1}, {0: 0.1, 1: 0.1}).p is None


def test_two_pairs_say_nothing_of_spreads():
    assert std_diff({0: 1.0, 1: 2.0}, {0: 1.0, 1: 5.0}) == Difference(pytest.approx(-3 / math.sqrt(2)), "Pitman-Morgan")


@pytest.mark.parametrize("n", [3, 5, 20, 200])
def test_what_a_paired_test_shows_has_the_power_that_scipy_gives_it(n):
    critical, nc = student.ppf(0.975, n - 1), shown_by(n, 0.5) / 0.5 * math.sqrt(n)
    assert nct.sf(critical, n - 1, nc) + nct.cdf(-critical, n - 1, nc) == pytest.approx(0.8, abs=1e-5)


def test_five_pairs_show_168_standard_deviations_as_g_power_says():
    assert shown_by(5, 1.0) == pytest.approx(1.682, abs=5e-4)
    assert [pairs_to_show(difference, 1.0) for difference in (1.69, -1.67, 1.0, 0.5)] == [5, 6, 10, 34]
    assert pairs_to_show(0.05, 1.0) is None
