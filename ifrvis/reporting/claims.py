"""The paper's claims, judged from records: supported, contradicted, undecided or not run, with the numbers behind.

A claim is one or more statements on pairs of rows. A statement on a pair is supported, or contradicted, where the
difference lies on the claimed, or the other, side and its p, corrected after Holm over all tests of the table, is below
5 %; tests of rows that were not run count, so that no verdict turns when they are. Rows on one data set are paired by
seed. It takes the declared number of seeds; smoke runs and runs off the specification decide nothing.
"""

import operator
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from ifrvis.harness.spec.tables import Claim, Published, Statement
from ifrvis.reporting.statistics import LEVEL, Difference, Interval, holm, mean_difference, std_difference
from ifrvis.reporting.style import UNDEFINED, difference_text, interval_text, p_text, scale, stored

if TYPE_CHECKING:
    from ifrvis.reporting.report import Report

Verdict = Literal["supported", "contradicted", "undecided", "not run"]
HEADS = (
    *("First row", "Second row", "Of", "Difference", "95 % over seeds", "95 % over videos", "p (Holm)"),
    *("Paper's difference", "Verdict"),
)

Key = tuple[tuple[str, ...], Statement]  # the rows, two or four


@dataclass(frozen=True)
class JudgedPair:
    """One statement on two rows, or four; values are stored ones, the paper's difference is in its printed unit."""

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
    def why(self) -> str:
        """Why none of its tests has decided anything, where that is one thing."""
        found = {each.why for each in self.pairs if each.verdict != "not run"}
        return found.pop() if len(found) == 1 else ""

    @property
    def decided(self) -> str:
        """How many of its tests have decided something."""
        decided = sum(each.verdict in ("supported", "contradicted") for each in self.pairs)
        return f"{decided} of {len(self.claim.says) * len(self.claim.pairs)} tests decided"

    def to_json(self) -> dict[str, Any]:
        """The same as JSON has it: every value in the stored unit."""
        shown = {"text": self.claim.text, "place": self.claim.place, "note": self.claim.note, "verdict": self.verdict}
        pairs = [asdict(each) | {"paper": stored(each.statement.metric, each.paper)} for each in self.pairs]
        for pair, each in zip(pairs, self.pairs):
            margin = {"margin": stored(each.statement.metric, each.statement.margin)}
            pair["statement"] = each.statement.model_copy(update=margin).model_dump(exclude_none=True)
        return {**shown, "pairs": pairs}


def judge(report: "Report") -> list[JudgedClaim]:
    """Judge every claim of a report's table of which a pair of rows was asked for."""
    published = {name: each.row.published if report.shows_paper else {} for name, each in report.named.items()}
    keys: dict[Claim, list[Key]] = {
        claim: [(pair, says) for says in claim.says for pair in claim.pairs if published.keys() >= set(pair)]
        for claim in report.table.claims
    }
    keys = {claim: each for claim, each in keys.items() if any("/" not in row for pair, _ in each for row in pair)}
    found = {key: _difference(key, report) for each in keys.values() for key in each}
    ps = {key: each.p for key, each in found.items() if each is not None and each.p is not None}
    corrected = dict(zip(ps, holm(ps.values(), tests=len(found))))
    judged = []
    for claim, wanted in keys.items():
        pairs = tuple(_judged(key, report, found[key], corrected.get(key), _paper(key, published)) for key in wanted)
        complete = len(pairs) == len(claim.says) * len(claim.pairs)
        judged.append(JudgedClaim(claim, _overall([each.verdict for each in pairs], complete), pairs))
    return judged


def _difference(key: Key, report: "Report") -> Difference | None:
    """The difference between two rows; None unless all are numbers, and have a spread if that is the question."""
    pair, says = key
    if any(getattr(report.cells[row, says.metric], says.of) is None for row in pair):
        return None
    of_rows = (report.values[row, says.metric].items() for row in pair)
    first, second, *more = ({seed: value for seed, value in each if value is not None} for each in of_rows)
    if more:  # a row and the one that it is set against are runs of the same seeds
        first, second = _more(first, second), _more(*more)
    if says.of == "std":
        return std_difference(first, {seed: (says.times or 1) * value for seed, value in second.items()})
    margin = None if says.margin is None else says.margin / scale(says.metric)
    datasets = {report.named[row].row.dataset for row in pair}
    found, kept = mean_difference(first, second, paired=len(datasets) == 1, margin=margin), report.over_videos.get(pair)
    ends = kept.intervals.get(says.metric) if kept else None
    return replace(found, over_videos=ends and Interval(*ends))


def _more(first: Mapping[int, float], second: Mapping[int, float]) -> dict[int, float]:
    return {seed: value - second[seed] for seed, value in first.items()}


def _judged(
    key: Key, report: "Report", difference: Difference | None, p: float | None, paper: float | None
) -> JudgedPair:
    pair, says = key
    verdict: Verdict = "undecided"
    why, undecided = "", report.undecided(pair)
    of_pair = [report.cells[row, says.metric] for row in pair]
    if difference is None:
        verdict = "undecided" if all(cell.n for cell in of_pair) else "not run"
        why = next((cell.missing for cell in of_pair if cell.missing), "one seed").replace("not run", "")
    elif undecided or p is None:
        why = undecided or "no spread over seeds"
    elif p < 1 - LEVEL:
        verdict = "supported" if _holds(says, difference.value * scale(says.metric)) else "contradicted"
    first, second = (" minus ".join(pair[at : at + len(pair) // 2]) for at in (0, len(pair) // 2))
    return JudgedPair(first, second, says, verdict, why, difference, p, paper)


def _holds(says: Statement, difference: float) -> bool:
    """Whether a difference, in the printed unit, is as stated."""
    if says.margin is not None:
        return abs(difference) <= says.margin
    signed = difference if says.side == "higher" else -difference
    return signed >= 0 if says.times else signed > 0  # `at least double` holds of what is doubled


def _paper(key: Key, published: Mapping[str, Mapping[str, Published]]) -> float | None:
    """The paper's difference, in its printed unit."""
    pair, says = key
    given = [published[row].get(says.metric, (None, None))[says.of == "std"] for row in pair]
    known = [value for value in given if value is not None]
    signs = (1, -1, -1, 1) if says.times is None else (1, -says.times)
    return round(sum(map(operator.mul, signs, known)), 6) if len(known) == len(given) else None


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
    value = over_seeds = over_videos = p = paper = UNDEFINED
    if found is not None:
        value = difference_text(says.metric, found.value, digits)
        over_seeds, over_videos = (interval_text(says.metric, ends) for ends in (found.interval, found.over_videos))
        p = p_text(judged.p, found.test)
    if judged.paper is not None:
        paper = difference_text(says.metric, judged.paper / scale(says.metric), digits)
        paper += "" if _holds(says, judged.paper) else ", not as claimed"
    verdict = judged.verdict + f" ({judged.why})" * bool(judged.why)
    return judged.first, judged.second, stated(says), value, over_seeds, over_videos, p, paper, verdict


def stated(says: Statement) -> str:
    """What is claimed of a pair."""
    more = f" within {says.margin:g}" if says.margin else f" than {says.times:g} x" if says.times else ""
    return f"{says.metric} {says.of} {says.side}{more}"
