"""Claims: what decides one, what decides nothing, and what the packed tables claim."""

from dataclasses import replace
from pathlib import Path

import pytest

from ifrvis.errors import UserError
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.spec.request import TableRequest
from ifrvis.harness.spec.tables import Claim, Paper, Statement, load_table, load_tables, rows_elsewhere
from ifrvis.harness.spec.weights import Given
from ifrvis.reporting.claims import pair_texts
from ifrvis.reporting.formats import markdown
from ifrvis.reporting.match import make_reports

OURS, M2F = "ours-r50-ytvis19", "mask2former-r50-ytvis19"
WOBBLE = (0.002, -0.001, 0.003, 0.0, 0.001)


def statement(metric, of, side, **more):
    return Statement(metric=metric, of=of, side=side, **more)


HIGHER = statement("AP", "mean", "higher")


def values(level, spread=1.0, n=5):
    return {seed: level + spread * WOBBLE[seed] for seed in range(n)}


@pytest.fixture
def claim_of(make_report):
    """The one claim that Ours is as said, judged from values of Ours and Mask2Former."""

    def build(ours, baseline, says=(HIGHER,), *, seeds=range(5), pairs=((OURS, M2F),), **changes):
        claim = Claim(text="It is so.", place="Sec. 4", says=tuple(says), pairs=pairs)
        rows = {M2F: baseline, OURS: ours}
        (judged,) = make_report("table1", rows, seeds=seeds, claims=(claim,), **changes).claims
        return judged

    return build


def test_a_clear_difference_on_the_claimed_side_supports(claim_of):
    judged = claim_of(values(0.40, 2), values(0.35))
    assert judged.verdict == judged.pairs[0].verdict == "supported"
    assert judged.pairs[0].difference.value == pytest.approx(0.05 + sum(WOBBLE) / 5)
    assert judged.pairs[0].paper == pytest.approx(0.1)  # 46.5 - 46.4


def test_a_clear_difference_on_the_other_side_contradicts(claim_of):
    assert claim_of(values(0.35, 2), values(0.40)).verdict == "contradicted"
    assert claim_of(values(0.35, 2), values(0.40), [statement("AP", "mean", "lower")]).verdict == "supported"


def test_a_difference_within_the_noise_decides_nothing(claim_of):
    noisy = {seed: 0.35 + (-1) ** seed * 0.05 for seed in range(5)}
    judged = claim_of(noisy, values(0.345))
    assert (judged.verdict, judged.pairs[0].why) == ("undecided", "")
    assert judged.pairs[0].p > 0.05


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"seeds": range(4)}, "4 of 5 seeds"),
        ({"profile": "smoke"}, "smoke"),
        ({"request": {"overrides": {"train.iterations": 1}}}, "off-spec"),
    ],
)
def test_fewer_seeds_smoke_and_off_spec_decide_nothing(claim_of, options, why):
    judged = claim_of(values(0.40, 2), values(0.35), **options)
    assert (judged.verdict, judged.pairs[0].why) == ("undecided", why)
    assert judged.pairs[0].p < 0.01  # though they are told apart


def test_missing_records_say_so(claim_of):
    assert claim_of({}, {}).verdict == "not run"
    partial = claim_of(values(0.4, n=3), values(0.3))
    assert (partial.verdict, partial.pairs[0].why) == ("undecided", "3/5")
    assert claim_of({0: 0.4}, {0: 0.3}, [statement("AP", "std", "lower")], seeds=[0]).pairs[0].why == "one seed"


def test_tests_of_rows_that_were_not_run_count_in_the_correction(make_report):
    """Else a verdict could turn when they are: two pairs, of which one has numbers."""
    other = ("ours-r101-ytvis19", "mask2former-r101-ytvis19")
    claim = Claim(text="It is so.", place="Sec. 4", says=(HIGHER,), pairs=((OURS, M2F), other))
    rows = {OURS: values(0.40, 2), M2F: values(0.35)}
    alone, family = (
        make_report("table1", each, seeds=range(5), claims=(claim,)).claims[0]
        for each in (rows, {**rows, **{each: {} for each in other}})
    )
    assert [each.verdict for each in family.pairs] == ["supported", "not run"]
    assert family.pairs[0].p == pytest.approx(2 * alone.pairs[0].p)


def test_a_claim_on_two_statements_takes_both(claim_of):
    both = [HIGHER, statement("AP50", "mean", "lower")]
    judged = claim_of(values(0.40, 2), values(0.35), both)
    assert [each.verdict for each in judged.pairs] == ["supported", "contradicted"]
    assert judged.verdict == "contradicted"


@pytest.mark.parametrize(
    ("baseline", "verdict"),
    [(values(0.395), "supported"), (values(0.38), "contradicted"), (values(0.395, -5), "undecided")],
)
def test_equal_within_a_margin_is_a_test_of_its_own(claim_of, baseline, verdict):
    """Differences of 0.5, 2 and 0.5 points, within 1, but that the last vary by a point and a half."""
    judged = claim_of(values(0.40, 2), baseline, [statement("AP", "mean", "equal", margin=1.0)])
    assert judged.verdict == verdict
    _, _, stated, *_, p, paper, _ = pair_texts(judged.pairs[0])
    assert (stated, paper) == ("AP mean equal within 1", "+0.1")
    assert p.endswith(", paired t, TOST")


@pytest.mark.parametrize(
    ("spread", "verdict"), [(2.5, "supported"), (1.5, "contradicted"), (2.0, "undecided"), (-2.5, "supported")]
)
def test_at_least_double_is_against_twice_the_spread(claim_of, spread, verdict):
    judged = claim_of(values(0.40, spread), values(0.35), [statement("AP", "std", "higher", times=2.0)])
    assert judged.verdict == verdict
    expected = (abs(spread) - 2) * (10 / 4 * 1e-6) ** 0.5  # WOBBLE's squares about its mean of 0.001 sum to 10e-6
    assert judged.pairs[0].difference.value == pytest.approx(expected, abs=1e-12)
    assert pair_texts(judged.pairs[0])[2] == "AP std higher than 2 x"
    assert judged.pairs[0].paper == pytest.approx(0.8 - 2 * 0.8)


def test_what_runs_gain_on_two_sets_is_compared_over_two_tables(make_report):
    """Gains of 0.9 and 0.5 points, each run's own; the sets' seeds are no pairs."""
    tta, alone = "ours-swin-l-tta-ytvis21", "ours-swin-l-ytvis21"
    rows = {alone: values(0.5, 9), "table1/ours-swin-l-ytvis19": values(0.6, 9)}
    rows[tta] = {seed: value + 0.009 + WOBBLE[seed] / 10 for seed, value in rows[alone].items()}
    other = {seed: value + 0.005 - WOBBLE[seed] / 10 for seed, value in rows["table1/ours-swin-l-ytvis19"].items()}
    report = make_report("table2", rows | {"table1/ours-swin-l-tta-ytvis19": other}, seeds=range(5))
    judged = next(each for each in report.claims if each.claim.text.startswith("TTA gains more"))
    (pair,) = judged.pairs
    assert (judged.verdict, pair.difference.test) == ("supported", "Welch's t")
    assert pair.difference.value == pytest.approx(0.004 + 0.0002)
    assert pair.paper == pytest.approx(0.4)  # 0.9 - 0.5
    assert pair.first == f"{tta} minus {alone}"
    assert report.stem == "table2"
    assert {line[1] for line in report.frame} == {tta, alone}, "rows of the other table are shown there"
    assert len(report.behind) == 20
    fewer = make_report("table2", {tta: rows[tta], alone: rows[alone]}, seeds=range(5))
    assert next(each for each in fewer.claims if each.claim.text.startswith("TTA gains more")).verdict == "not run"


def test_rows_of_another_table_have_to_be_there_and_count_where_they_compare():
    def named(row, metric="AP", **changes):
        claim = Claim(text="So.", place="", says=(statement(metric, "mean", "higher"),), pairs=((OURS, row),))
        return load_table("table1").model_copy(update={"claims": (claim,), **changes})

    assert set(rows_elsewhere(named("table2/ours-r50-ytvis21"))) == {"table2/ours-r50-ytvis21"}
    assert not rows_elsewhere(named("table3/ours-r50-ytvis21")), "other metrics"
    assert not rows_elsewhere(named("table2/ours-r50-ytvis21", protocol="server"))
    assert not rows_elsewhere(named("table2/ours-r50-ytvis21", seeds=(0,)))
    with pytest.raises(UserError, match=r"^Choose rows of table2"):
        rows_elsewhere(named("table2/nobody"))


def test_a_pair_that_was_not_asked_for_leaves_the_claim_open(claim_of):
    judged = claim_of(values(0.40, 2), values(0.35), pairs=((OURS, M2F), ("ours-r101-ytvis19", M2F)))
    assert (judged.verdict, judged.decided) == ("undecided", "1 of 2 tests decided")


def test_p_values_are_corrected_over_all_tests_of_the_table(make_report):
    claims = [
        Claim(text=metric, place="", says=(statement(metric, "mean", "higher"),), pairs=((OURS, M2F),))
        for metric in ("AP", "AP50")
    ]
    known = make_report("table1", {M2F: values(0.35), OURS: values(0.4, 2)}, seeds=range(5), claims=tuple(claims))
    alone = make_report("table1", {M2F: values(0.35), OURS: values(0.4, 2)}, seeds=range(5), claims=tuple(claims[:1]))
    both = [each.pairs[0].p for each in known.claims]
    (single,) = (each.pairs[0].p for each in alone.claims)
    assert both == [pytest.approx(2 * single)] * 2


def test_smaller_spread_is_claimed_and_the_papers_own_rows_can_say_otherwise(make_report):
    rows = {"ours-swin-t-ytvis21": values(0.4), "mask2former-swin-t-ytvis21": values(0.3, -20)}
    report = make_report("table2", rows, seeds=range(5))
    judged = next(each for each in report.claims if "smaller" in each.claim.text)
    assert judged.pairs[0].verdict == "supported"
    assert judged.pairs[0].difference.test == "Pitman-Morgan"
    assert pair_texts(judged.pairs[0])[-2] == "+0.30, not as claimed"


def test_the_papers_claims_are_packed_and_hold_of_its_own_numbers_but_for_two_spreads():
    profile = load_profile("paper")
    request = TableRequest(tuple(load_tables(["all"], profile)), profile)
    pairs = [
        (report.table.name, judged.claim.text, pair)
        for report in make_reports(request, [])
        for judged in report.claims
        for pair in judged.pairs
    ]
    texts = {text for _, text, _ in pairs}
    against = {(table, pair.first, pair.statement.of) for table, _, pair in pairs if "not as" in pair_texts(pair)[-2]}
    for words in (
        "Fewer identity switches",
        "lambda_e = 0.3 beats 0",
        "TTA raises",
        "clips beats",
        "smaller standard",
        "TTA gains more",
        "at least doubles",
        "falls at the largest",
    ):
        assert any(words in text for text in texts), words
    assert {"100 queries beat 200.", "IDR falls while IDP rises."} <= texts
    assert against == {("table1", "ours-r50-ytvis19", "std"), ("table2", "ours-swin-t-ytvis21", "std")}, "one is equal"


@pytest.mark.parametrize(
    ("change", "cure"),
    [
        ("metric: AP, of: mean", "metric: AP99, of: mean"),
        ("[ours-swin-l-ytvis19, ours-swin-l-q200-ytvis19]", "[ours-swin-l-ytvis19, nobody]"),
        ("protocol: server", "protocol: nobody"),
        ("runs: 5", "runs: 0"),
        ("of: std, side: lower", "of: std, side: smaller"),
        ("of: std, side: lower", "of: std, side: equal, margin: 1.0"),
        ("side: equal, margin: 1.0", "side: equal"),
        ("side: equal, margin: 1.0", "side: higher, margin: 1.0"),
        ("of: mean, side: equal, margin: 1.0", "of: mean, side: higher, times: 2"),
        ("[ours-swin-l-tta-ytvis19, ours-swin-l-ytvis19]", "[ours-swin-l-tta-ytvis19, table2/ours-swin-l-ytvis21]"),
        ("[ours-swin-l-tta-ytvis19, ours-swin-l-ytvis19]", "[a, b, c]"),
    ],
)
def test_a_broken_claim_is_refused_with_its_file(tmp_path, change, cure):
    from ifrvis.packed import packed

    text = packed("experiments", "tables", "table1.yaml").read_text()
    assert change in text
    path = tmp_path / "table1.yaml"
    path.write_text(text.replace(change, cure))
    with pytest.raises(UserError, match=str(path)):
        load_table(str(path))


# Against the paper.


def compared(report, row=M2F, metric="AP"):
    return report.compared(next(each.row for each in report.rows if each.row.id == row), metric)


@pytest.mark.parametrize(
    ("level", "verdict"), [(0.464, "consistent"), (0.48, "consistent"), (0.49, "above"), (0.44, "below")]
)
def test_measured_values_are_set_against_the_papers_under_its_own_protocol(make_report, level, verdict):
    options = {"profile": "paper", "protocol": "server", "scored": "server"}
    report = make_report("table1", {M2F: dict.fromkeys(range(5), level)}, seeds=range(5), **options)
    found = compared(report)  # 46.4 +- (2.776 x 0.8 x sqrt(2 / 5) + 0.5) = 44.495 to 48.305
    assert found.verdict == verdict
    assert found.expected == (pytest.approx(0.444952, abs=1e-6), pytest.approx(0.483048, abs=1e-6))
    assert found.difference == pytest.approx(level - 0.464)


def test_the_measured_spread_serves_where_the_paper_prints_none(make_report):
    counts = {seed: {"IDs": 100 + 20 * seed} for seed in range(5)}
    paper = Paper(protocol="heldout", runs=1, tolerance={"IDs": 30.0})
    report = make_report("table3", {M2F: counts}, seeds=range(5), profile="paper", metrics=("IDs",), paper=paper)
    found = compared(report, metric="IDs")  # std 31.6, four degrees of freedom, one run of the paper's
    half = 2.7764451 * 31.6227766 * (1 + 1 / 5) ** 0.5 + 30
    assert found.expected == (pytest.approx(202 - half), pytest.approx(202 + half))
    assert found.verdict == "consistent"


def test_below_the_declared_seeds_nothing_is_called_consistent(make_report):
    for seeds in ([0], [0, 1], range(4)):
        report = make_report("table3", {M2F: values(0.62, n=5)}, seeds=seeds, profile="paper")
        assert compared(report, metric="IDF1").verdict == "too few seeds"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("table1", {"profile": "paper"}),
        ("table1", {"profile": "mini"}),
        ("table3", {"profile": "smoke"}),
        ("table3", {"profile": "paper", "request": {"init": Given(Path("x"), "x", None)}}),
        ("table3", {"profile": "paper", "protocol": "server", "scored": "server"}),
    ],
)
def test_no_other_numbers_are_set_against_the_papers(make_report, name, options):
    report = make_report(name, {M2F: values(0.4)}, seeds=range(5), **options)
    assert all(compared(report, metric=metric) is None for metric in report.table.metrics)


def test_a_table_for_one_profile_alone_names_no_command_where_nothing_has_learned(make_report):
    made = make_report("ovis", {"ours-r50-mini-ovis": {0: 0.1}})
    records = [record.model_copy(update={"curve": {"0": 0.0, "9": 0.5}}) for record in made.records]
    rows = tuple(replace(each, found={0: records} if each.found else {}) for each in made.rows)
    text = markdown(replace(made, rows=rows))
    assert ("not learned, compares nothing" in text, "No row has learned" in text) == (True, False)


@pytest.mark.parametrize(("ours", "other", "says"), [(0.1, 0.1, True), (0.5, 0.1, False), (0.1, 0.5, False)])
def test_two_rows_of_which_none_has_learned_get_no_verdict(make_report, ours, other, says):
    """Gains of both are the same: what each reaches decides."""
    values = {"ours-r50-ytvis19": ours, "mask2former-r50-ytvis19": other}
    made = make_report(
        "table1",
        {row: {seed: value + seed / 1000 for seed in range(5)} for row, value in values.items()},
        seeds=range(5),
    )
    rows = tuple(
        replace(
            each,
            found={
                seed: [record.model_copy(update={"curve": {"0": 0.0, "9": 0.5}})]
                for seed, (record,) in each.found.items()
            },
        )
        for each in made.rows
    )
    report = replace(made, rows=rows)
    nothing = "not learned, compares nothing"
    verdicts = {(pair.verdict, pair.why) for claim in report.claims for pair in claim.pairs}
    assert (verdicts == {("undecided", nothing)}) is says
    text = markdown(report)
    assert (f"\n{nothing} · profile mini" in text) is says
    rows = "mask2former-r50-ytvis19,ours-r50-ytvis19"
    assert (
        f"`ifrvis run table1 --rows {rows} --profile paper` starts from real weights" in text.replace("\\", "")
    ) is says
