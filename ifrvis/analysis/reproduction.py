"""A run made again beside its record: the same bits, or where they part, and whether the numbers are still its own.

On one machine the same run gives the same bits. Another processor or version rounds otherwise, which training makes a
spread like that of seeds: a number is then expected where one more seed would be.
"""

import json
from collections.abc import Iterator, Sequence
from statistics import fmean, stdev
from typing import Any

from ifrvis.evaluation.scores import RANGES
from ifrvis.harness.store.records import Record
from ifrvis.reporting.formats import Lines
from ifrvis.reporting.statistics import expected_interval
from ifrvis.reporting.style import UNDEFINED, difference_text, headline, measured_text

LEVEL = 0.995  # of the prediction interval
JUDGED = ("AP", "IDF1")  # what has to lie in it

Content = dict[str, Any]


def other_seeds(kept: Record, records: Sequence[Record]) -> list[Record]:
    """The records that differ from a trained one in their seed alone, one a seed."""
    alike = [each for each in records if each.spec and each.seed != kept.seed and _but_seed(each) == _but_seed(kept)]
    return [*{each.seed: each for each in alike}.values()]


def _but_seed(record: Record) -> Content:
    recipe = record.spec.train.model_dump(exclude={"seed"}) if record.spec else {}
    return {"train": recipe, **record.model_dump(include={"inference", "data", "protocol", "scoring", "started_from"})}


def reproduction(kept: Record, again: Record, others: Sequence[Record]) -> Content:
    """Everything said of a run made again, as JSON has it; `others`, of other seeds, say where one more is expected."""
    parts = {
        "initial weights": (kept.started_from, again.started_from),
        "trained weights": (kept.final_weights, again.final_weights),
        "predictions": (kept.files.get("predictions"), again.files.get("predictions")),
        "scores": (json.dumps(kept.metrics, sort_keys=True), json.dumps(again.metrics, sort_keys=True)),
    }
    differing = [name for name, (before, after) in parts.items() if None not in (before, after) and before != after]
    metrics = [
        _metric(name, kept.metrics[name], again.metrics.get(name), [each.metrics.get(name) for each in others])
        for name in RANGES
        if name in kept.metrics
    ]
    judged = [each for each in metrics if each["metric"] in JUDGED]
    of_kept, of_again = ({**dict(each.provenance.hardware), **each.provenance.versions} for each in (kept, again))
    content: Content = {"differing": differing, "metrics": metrics, "other_seeds": [each.seed for each in others]}
    content["outside"] = [each["metric"] for each in judged if each["inside"] is False]
    elsewhere = {key: [of_kept[key], of_again.get(key)] for key in of_kept if of_kept[key] != of_again.get(key)}
    undecided = any(each["inside"] is None and each["kept"] != each["again"] for each in judged)
    content |= {"elsewhere": elsewhere, "reproduced": not content["outside"] and not (undecided and not elsewhere)}
    return content | {"said": [*_words(content)]}


def _metric(name: str, before: float | None, after: float | None, others: Sequence[float | None]) -> Content:
    """One metric; `inside` is None where nothing says where it is expected."""
    found: Content = {"metric": name, "kept": before, "again": after, "expected": None, "inside": None}
    known = [value for value in others if value is not None]
    if before is None or after is None or len(known) < 2 or len(known) < len(others):
        return found
    runs, spread = len(known), stdev(known)
    expected = expected_interval(fmean(known), spread, runs=runs, n=1, df=runs - 1, level=LEVEL)
    return found | {"expected": list(expected), "inside": expected.low <= after <= expected.high or before == after}


def _words(content: Content) -> Iterator[str]:
    if not content["differing"]:
        yield "The same bits: weights, predictions and scores are those of the record."
        return
    first, *later = content["differing"]
    also = f", and with them the {' and the '.join(later)}" * bool(later)
    where = ", ".join(f"{key} {after} (kept: {before})" for key, (before, after) in content["elsewhere"].items())
    why = f"made elsewhere: {where}" if where else "though processor and versions are called the same"
    yield f"Not the same bits: the {first} are the first to differ{also}; {why}."
    if content["outside"]:
        yield f"Not reproduced: {' and '.join(content['outside'])} outside of where one more seed is expected."
    elif any(each["expected"] for each in content["metrics"]):
        yield f"Reproduced up to chance: {' and '.join(JUDGED)} lie where one more seed is expected."
    else:
        yield f"Whether that is chance takes two other seeds to say: kept are {len(content['other_seeds'])}."


def table_of(content: Content) -> Lines:
    """The metrics, as texts."""
    lines = []
    for each in content["metrics"]:
        name, before, after = each["metric"], each["kept"], each["again"]
        values = [measured_text(name, value, None) for value in (before, after)]
        difference = UNDEFINED if None in (before, after) else difference_text(name, after - before)
        ends = [measured_text(name, end, None) for end in each["expected"] or ()]
        expected = " to ".join(ends) or UNDEFINED
        lines.append((headline(name), *values, difference, expected + " (outside)" * (each["inside"] is False)))
    heads = ("Metric", "kept", "again", "again minus kept", f"{100 * LEVEL:g} % of one more seed")
    return Lines("Made again", heads, lines)
