"""The differences behind a claim, placed for a drawing: every seed, mean, intervals, zero and the paper's.

Places are percent of the drawing's width; a claim's pairs share one axis for each statement.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from ifrvis.harness.spec.tables import Statement
from ifrvis.reporting.claims import HEADS, JudgedClaim, JudgedPair, pair_texts, stated
from ifrvis.reporting.report import Report
from ifrvis.reporting.style import ERRORS, scale

BEYOND = 1.5  # times the span of what was measured, the paper's difference is marked at the edge


def drawings(report: Report, judged: JudgedClaim) -> Iterator[dict[str, Any]]:
    """Of each statement of a claim that has numbers: texts, axis, a line a pair, and the pairs that have none."""
    of_statement = sorted(judged.pairs, key=lambda pair: judged.claim.says.index(pair.statement))
    for says, group in groupby(of_statement, lambda pair: pair.statement):
        pairs = list(group)
        values = [value for pair in pairs for each in _measured(pair).values() for value in each]
        if not values:
            continue
        axis = _Axis(says, values, [pair.paper for pair in pairs if pair.paper is not None])
        unit = ", per hundred" if says.metric in ERRORS else ", points" * (scale(says.metric) == 100)
        yield {
            **{"says": stated(says) + unit, "zero": axis.at(0), "claimed": axis.claimed},
            "ticks": [(axis.at(tick), f"{tick:g}") for tick in axis.ticks],
            "lines": [_line(report, pair, axis) for pair in pairs if pair.difference],
            "unseen": [_line(report, pair, axis) for pair in pairs if not pair.difference],
        }


class _Axis:
    """From what was measured, zero and a margin, and the paper's differences unless they are far away."""

    def __init__(self, says: Statement, values: Sequence[float], papers: Sequence[float]) -> None:
        margin = says.margin or 0.0
        ends = [*values, 0.0, -margin, margin]
        reach = BEYOND * (max(ends) - min(ends) or 1.0)
        ends += [paper for paper in papers if min(ends) - reach <= paper <= max(ends) + reach]
        aside = 0.05 * (max(ends) - min(ends) or 1.0)  # so that nothing stands on the edge
        self._low, self._high = min(ends) - aside, max(ends) + aside
        self.claimed = self.at(-margin), self.at(margin)
        if not margin:
            self.claimed = (self.at(0), 100.0) if says.side == "higher" else (0.0, self.at(0))

    def at(self, value: float) -> float:
        """The place of a value in the printed unit, between the edges."""
        return round(100 * (min(max(value, self._low), self._high) - self._low) / (self._high - self._low), 2)

    def marked(self, paper: float) -> tuple[float, str]:
        """The place of the paper's difference, and what stands for it: beyond an edge it points there."""
        return self.at(paper), "◁" if paper < self._low else "▷" if paper > self._high else "◇"

    @property
    def ticks(self) -> list[float]:
        """Three to six round values."""
        span = self._high - self._low
        step = 10 ** math.floor(math.log10(span / 2))
        step *= next(times for times in (1, 2, 5) if span / (times * step) <= 6)
        return [round(n * step, 9) for n in range(math.ceil(self._low / step), math.floor(self._high / step) + 1)]


def _measured(pair: JudgedPair) -> dict[str, list[float]]:
    """Mean, seeds and intervals of a pair, in the printed unit; empty each where it is not measured."""
    found, unit = pair.difference, scale(pair.statement.metric)
    values: dict[str, Iterable[float]] = {"mean": [found.value] if found else []}
    values["seeds"] = found.by_seed.values() if found else []
    values |= {"over_seeds": (found and found.interval) or (), "over_videos": (found and found.over_videos) or ()}
    return {name: [unit * value for value in each] for name, each in values.items()}


def _line(report: Report, pair: JudgedPair, axis: _Axis) -> dict[str, Any]:
    drawn = {name: [axis.at(value) for value in values] for name, values in _measured(pair).items()}
    rows = [*pair.first.split(" minus "), *pair.second.split(" minus ")]
    return {
        **{"drawn": drawn, "texts": dict(zip(HEADS, pair_texts(pair))), "name": pair_name(report, rows)},
        **{"rows": f"{pair.first} minus {pair.second}", "verdict": pair.verdict},
        "paper": None if pair.paper is None else axis.marked(pair.paper),
    }


def pair_name(report: Report, ids: Sequence[str]) -> str:
    """A difference between two rows, or of two such, in words: what the rows have in common stands once."""
    parts = [[getattr(report.named[row].row, head) for row in ids] for head in report.table.heads]
    own = [" ".join(words) for words in zip(*(each for each in parts if len(set(each)) > 1))]
    if len(set(own)) < len(set(ids)):
        own = [row.rpartition("/")[2] for row in ids]
    said = " − ".join(own) if len(own) == 2 else "({} − {}) − ({} − {})".format(*own)
    return ", ".join([said, *(each[0] for each in parts if len(set(each)) == 1 and each[0])])
