"""The paper's claims, judged from records: supported, contradicted, undecided or not run, with the numbers behind.

A claim is one or more statements on pairs of rows. A statement on a pair is supported, or contradicted, where the
difference lies on the claimed, or the other, side and its p, corrected after Holm over all tests of the table, is below
5 %. It takes the declared number of seeds; smoke runs and runs off the specification decide nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ifrvis.harness.spec.tables import Claim, Published, Row, Statement
from ifrvis.reporting.cells import Cell
from ifrvis.reporting.statistics import LEVEL, Difference, holm, mean_difference, std_difference
from ifrvis.reporting.style import UNDEFINED, difference_text, p_text, scale

Verdict = Literal["supported", "contradicted", "undecided", "not run"]
HEADS = ("First row", "Second row", "Of", "Difference", "95 % interval", "p (Holm)", "Paper's difference", "Verdict")

Cells = dict[tuple[str, str], Cell]  # by row id and metric
Values = dict[tuple[str, str], dict[int, float | None]]  # the same, by seed; None is undefined
Key = tuple[str, str, Statement]  # first row, second row


@dataclass(frozen=True)
class JudgedPair:
    """One statement on one pair of rows; values are stored ones, the paper's difference is in its printed unit."""

    first: str
    second: str
    statement: Statement
    verdict: Verdict
    why: str = ""  # nothing was decided
    difference: Difference | None = None
    p: float | None = None  # after Holm
    paper: float | None = None


@dataclass(frozen=True)
class JudgedClaim:
    """A claim, what is to be said of it, and of each statement and pair."""

    claim: Claim
    verdict: Verdict
    pairs: tuple[JudgedPair, ...]

    @property
    def decided(self) -> str:
        """How many of its tests have decided something."""
        decided = sum(each.verdict in ("supported", "contradicted") for each in self.pairs)
        return f"{decided} of {len(self.claim.says) * len(self.claim.pairs)} tests decided"

    def to_json(self) -> dict[str, Any]:
        """The same as JSON has it."""
        shown = {"text": self.claim.text, "place": self.claim.place, "note": self.claim.note, "verdict": self.verdict}
        return {**shown, "pairs": [asdict(each) | {"statement": each.statement.model_dump()} for each in self.pairs]}


def judge(
    claims: Iterable[Claim], rows: Sequence[Row], cells: Cells, values: Values, *, undecided: str, paper: bool
) -> list[JudgedClaim]:
    """Judge every claim of which a pair of rows was asked for.

    Args:
        claims: A table's claims.
        rows: The rows asked for.
        cells: Of each row and metric.
        values: What the cells are made of.
        undecided: Why nothing may be decided; empty where it may.
        paper: Whether the paper's differences are shown.
    """
    published = {row.id: row.published if paper else {} for row in rows}
    keys: dict[Claim, list[Key]] = {
        claim: [(*pair, says) for says in claim.says for pair in claim.pairs if published.keys() >= set(pair)]
        for claim in claims
    }
    found = {key: _difference(key, cells, values) for each in keys.values() for key in each}
    ps = {key: each.p for key, each in found.items() if each is not None and each.p is not None}
    corrected = dict(zip(ps, holm(ps.values())))
    judged = []
    for claim, wanted in keys.items():
        pairs = tuple(
            _judged(key, cells, found[key], corrected.get(key), undecided, _paper(key, published)) for key in wanted
        )
        if pairs:
            complete = len(pairs) == len(claim.says) * len(claim.pairs)
            judged.append(JudgedClaim(claim, _overall([each.verdict for each in pairs], complete), pairs))
    return judged


def _difference(key: Key, cells: Cells, values: Values) -> Difference | None:
    """The difference between two rows; None unless both are numbers, and have a spread if that is the question."""
    *pair, says = key
    if any(getattr(cells[row, says.metric], says.of) is None for row in pair):
        return None
    of_pair = (values[row, says.metric].items() for row in pair)
    first, second = ({seed: value for seed, value in each if value is not None} for each in of_pair)
    return mean_difference(first, second) if says.of == "mean" else std_difference(first, second)


def _judged(
    key: Key, cells: Cells, difference: Difference | None, p: float | None, undecided: str, paper: float | None
) -> JudgedPair:
    first, second, says = key
    verdict: Verdict = "undecided"
    why = ""
    of_pair = [cells[row, says.metric] for row in (first, second)]
    if difference is None:
        verdict = "undecided" if all(cell.n for cell in of_pair) else "not run"
        why = next((cell.missing for cell in of_pair if cell.missing), "one seed").replace("not run", "")
    elif undecided or p is None:
        why = undecided or "no spread over seeds"
    elif p < 1 - LEVEL:
        verdict = "supported" if (difference.value > 0) == (says.side == "higher") else "contradicted"
    return JudgedPair(first, second, says, verdict, why, difference, p, paper)


def _paper(key: Key, published: Mapping[str, Mapping[str, Published]]) -> float | None:
    """The paper's difference, in its printed unit."""
    *pair, says = key
    one, other = (published[row].get(says.metric, (None, None))[says.of == "std"] for row in pair)
    return None if one is None or other is None else round(one - other, 6)


def _overall(verdicts: list[Verdict], complete: bool) -> Verdict:
    """Contradicted if anything of it is, supported if all of it is."""
    if "contradicted" in verdicts:
        return "contradicted"
    if set(verdicts) == {"not run"}:
        return "not run"
    return "supported" if complete and set(verdicts) == {"supported"} else "undecided"


def pair_texts(judged: JudgedPair) -> tuple[str, ...]:
    """The columns of `HEADS`."""
    says, found = judged.statement, judged.difference
    digits = 2 if says.of == "std" else 1
    value = interval = p = paper = UNDEFINED
    if found is not None:
        value = difference_text(says.metric, found.value, digits)
        p = UNDEFINED if judged.p is None else f"{p_text(judged.p)}, {found.test}"
        if found.interval:
            interval = " to ".join(difference_text(says.metric, end) for end in found.interval)
    if judged.paper is not None:
        agrees = judged.paper > 0 if says.side == "higher" else judged.paper < 0
        paper = difference_text(says.metric, judged.paper / scale(says.metric), digits)
        paper += "" if agrees else ", not as claimed"
    verdict = judged.verdict + f" ({judged.why})" * bool(judged.why)
    return judged.first, judged.second, f"{says.metric} {says.of} {says.side}", value, interval, p, paper, verdict
