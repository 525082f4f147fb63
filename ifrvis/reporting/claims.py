"""The paper's claims, judged from records: supported, contradicted, undecided or not run, with the numbers behind.

A claim is one or more statements on pairs of rows. One statement on one pair is supported, or contradicted, where the
difference lies on the claimed, or the other, side and its p, corrected after Holm over all tests of the table, is below
5 %. It takes the declared number of seeds; a smoke run and runs off the specification decide nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pandas as pd

from ifrvis.harness.tables import Claim, Statement
from ifrvis.reporting.frame import TableState
from ifrvis.reporting.statistics import LEVEL, Difference, holm, mean_difference, std_difference
from ifrvis.reporting.style import UNDEFINED, difference_text, p_text, scale
from ifrvis.reporting.summary import Cell, summarise

__all__ = ["HEADS", "JudgedClaim", "JudgedPair", "Verdict", "judge", "pair_texts"]

Verdict = Literal["supported", "contradicted", "undecided", "not run"]
HEADS = ("First row", "Second row", "Of", "Difference", "95 % interval", "p (Holm)", "Paper's difference", "Verdict")

Key = tuple[str, str, str, str]  # metric, mean or std, first row, second row


@dataclass(frozen=True)
class JudgedPair:
    """One statement on one pair of rows; values are stored ones, those of the paper as printed."""

    first: str
    second: str
    statement: Statement
    verdict: Verdict
    why: str = ""  # nothing was decided
    difference: Difference | None = None
    p: float | None = None  # after Holm
    paper: float | None = None  # the paper's difference, in its unit


@dataclass(frozen=True)
class JudgedClaim:
    """A claim, what is to be said of it, and of each statement and pair."""

    claim: Claim
    verdict: Verdict
    pairs: tuple[JudgedPair, ...]

    def to_json(self) -> dict[str, Any]:
        """The same as JSON has it."""
        shown = {"text": self.claim.text, "place": self.claim.place, "note": self.claim.note, "verdict": self.verdict}
        return {**shown, "pairs": [asdict(each) for each in self.pairs]}


def judge(state: TableState, frame: pd.DataFrame) -> list[JudgedClaim]:
    """Judge every claim of a table of which a row was asked for."""
    rows = {each.row.id for each in state.rows}
    claims = [(claim, [pair for pair in claim.pairs if rows.issuperset(pair)]) for claim in state.table.claims]
    cells, values = summarise(state, frame), _values(state, frame)
    keys: dict[Key, None] = {
        (says.metric, says.of, *pair): None for claim, pairs in claims for pair in pairs for says in claim.says
    }
    found = {key: _difference(key, cells, values) for key in keys}
    tested = {key: each.p for key, each in found.items() if each is not None and each.p is not None}
    corrected = dict(zip(tested, holm(tested.values())))
    judged = []
    for claim, pairs in claims:
        parts = [
            _pair(state, says, pair, found[key], corrected.get(key), cells)
            for says in claim.says
            for pair in pairs
            for key in [(says.metric, says.of, *pair)]
        ]
        if parts:
            judged.append(JudgedClaim(claim, _overall(parts, len(claim.pairs) * len(claim.says)), tuple(parts)))
    return judged


def _values(state: TableState, frame: pd.DataFrame) -> dict[tuple[str, str], dict[int, float]]:
    groups = frame[frame["table"] == state.table.name].groupby(["row", "metric"], sort=False)
    return {(str(row), str(metric)): dict(zip(group["seed"], group["value"])) for (row, metric), group in groups}


def _difference(
    key: Key, cells: Mapping[tuple[str, str], Cell], values: Mapping[tuple[str, str], dict[int, float]]
) -> Difference | None:
    """The difference between two rows; None unless both are numbers, and have a spread if that is the question."""
    metric, of, *pair = key
    if any(cells[row, metric].mean is None or (of == "std" and cells[row, metric].std is None) for row in pair):
        return None
    first, second = (values[row, metric] for row in pair)
    return mean_difference(first, second) if of == "mean" else std_difference(first, second)


def _pair(
    state: TableState,
    says: Statement,
    pair: tuple[str, str],
    difference: Difference | None,
    p: float | None,
    cells: Mapping[tuple[str, str], Cell],
) -> JudgedPair:
    paper = _paper_difference(state, says, pair)
    if difference is None:
        ran = all(cells[row, says.metric].n for row in pair)
        lacking = next((cells[row, says.metric].missing for row in pair if cells[row, says.metric].missing), "one seed")
        return JudgedPair(*pair, says, "undecided" if ran else "not run", lacking, paper=paper)
    verdict, why = _verdict(state, says, difference, p)
    return JudgedPair(*pair, says, verdict, why, difference, p, paper)


def _verdict(state: TableState, says: Statement, difference: Difference, p: float | None) -> tuple[Verdict, str]:
    if state.is_smoke or state.off_spec:
        return "undecided", "smoke" if state.is_smoke else "off-spec"
    if len(state.seeds) < len(state.table.seeds):
        return "undecided", f"{len(state.seeds)} of {len(state.table.seeds)} seeds"
    if p is None:
        return "undecided", "no spread over seeds"
    if p >= 1 - LEVEL:
        return "undecided", ""
    return ("supported" if (difference.value > 0) == (says.side == "higher") else "contradicted"), ""


def _overall(parts: Iterable[JudgedPair], wanted: int) -> Verdict:
    """Contradicted if anything of it is, supported if all of it is, rows that were not asked for included."""
    verdicts = [each.verdict for each in parts]
    if "contradicted" in verdicts:
        return "contradicted"
    if set(verdicts) == {"not run"}:
        return "not run"
    return "supported" if verdicts == ["supported"] * wanted else "undecided"


def _paper_difference(state: TableState, says: Statement, pair: tuple[str, str]) -> float | None:
    if state.is_smoke:
        return None
    published = {each.row.id: each.row.published.get(says.metric, (None, None)) for each in state.rows}
    first, second = (published[row][says.of == "std"] for row in pair)
    return None if first is None or second is None else round(first - second, 6)


def pair_texts(judged: JudgedPair) -> tuple[str, ...]:
    """The columns of `HEADS`."""
    says, found = judged.statement, judged.difference
    metric, digits = says.metric, 2 if says.of == "std" else 1
    return (
        judged.first,
        judged.second,
        f"{metric} {says.of}, {says.side}",
        judged.why if found is None else difference_text(metric, found.value, digits),
        UNDEFINED
        if found is None or found.interval is None
        else " to ".join(difference_text(metric, end) for end in found.interval),
        UNDEFINED if found is None or judged.p is None else f"{p_text(judged.p)}, {found.test}",
        UNDEFINED if judged.paper is None else _paper_text(judged, digits),
        judged.verdict + (f" ({judged.why})" if found is not None and judged.why else ""),
    )


def _paper_text(judged: JudgedPair, digits: int) -> str:
    assert judged.paper is not None
    says = judged.statement
    text = difference_text(says.metric, judged.paper / scale(says.metric), digits)
    agrees = judged.paper > 0 if says.side == "higher" else judged.paper < 0
    return text if agrees else f"{text}, not as claimed"
