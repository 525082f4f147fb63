"""How many seeds a claim needs to be shown: the power of the paired t-test, of each claim by itself.

Only of claims that the mean of one row is higher, or lower, than another's on the same data set.
"""

import operator
from collections.abc import Iterator
from statistics import fmean, stdev
from typing import Any

from ifrvis.evaluation.bootstrap import SIGNS
from ifrvis.reporting.report import Report
from ifrvis.reporting.statistics import LEVEL, MOST_PAIRS, POWER, pairs_to_show, shown_by
from ifrvis.reporting.style import scale

HEAD = f"seeds to show a claim: paired t-test, each by itself, two-sided at {1 - LEVEL:.2g}, power {POWER:g}"


def needs(report: Report, std: float | None) -> Iterator[dict[str, Any]]:
    """What the claims of a table need, in the unit that tables print, where differences at one seed vary by `std`, or
    as those of its records do.

    Yields:
        `rows` and `metric`; `pairs`, the seeds that all of the rows have; `std`, None where neither argument says it;
        `declared`, the table's seeds, and `shown`, the smallest difference that these show; `takes`: of the paper's
        difference and the measured one, where known, that and the seeds it takes, None for more than `MOST_PAIRS`.
    """
    declared = len(report.table.seeds)
    for judged in (pair for claim in report.claims for pair in claim.pairs):
        rows, metric = [*judged.first.split(" minus "), *judged.second.split(" minus ")], judged.statement.metric
        paired = len({report.named[row].row.dataset for row in rows}) == 1
        if judged.statement.of != "mean" or judged.statement.margin or not paired:
            continue
        values = [report.values[row, metric] for row in rows]
        by_seed = ([value for each in values if (value := each.get(seed)) is not None] for seed in values[0])
        whole = [each for each in by_seed if len(each) == len(rows)]
        found = [scale(metric) * sum(map(operator.mul, SIGNS, each)) for each in whole]
        spread = std if std is not None else stdev(found) if len(found) > 1 else None
        known = {"the paper's": judged.paper, "the measured": fmean(found) if found else None}
        yield {
            **{"rows": rows, "metric": metric, "pairs": len(found), "std": spread, "given": std is not None},
            "declared": declared,
            "unit": "points" if scale(metric) == 100 else "as printed",
            "shown": None if spread is None or declared < 2 else shown_by(declared, spread),
            "takes": {
                name: (value, pairs_to_show(value, spread))
                for name, value in known.items()
                if value and spread is not None
            },
        }


def need_line(need: dict[str, Any]) -> str:
    """The same as a line."""
    kept, line = need["pairs"], f"  {need['metric']} {' minus '.join(need['rows'])}:"
    seen = "one seed kept of all rows" if kept == 1 else f"{kept or 'no'} seeds kept of all rows"
    if need["std"] is None:
        return f"{line} {seen}; say with --std how much single differences vary"
    source = "as given; " * need["given"] + seen
    shown = "one seed shows nothing" if need["shown"] is None else f"{need['declared']} seeds show {need['shown']:.2f}"
    for name, (value, pairs) in need["takes"].items():
        shown += f", {name} {value:+.1f} takes {pairs or f'more than {MOST_PAIRS}'}"
    return f"{line} std {need['std']:.2f} ({source}): {shown}"
