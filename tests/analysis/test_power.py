"""What claims need: by the spread of the records there are, or a given one, for the paper's difference and for ours."""

import pytest
from made_reports import made_report

from ifrvis.analysis.power import need_line, needs

OURS, M2F = "ours-r50-ytvis19", "mask2former-r50-ytvis19"
THREE = {0: 0.010, 1: 0.030, 2: 0.020}  # differences with a std of one point about two


@pytest.fixture
def ap_of():
    """What the claim needs that Ours has a higher AP than Mask2Former, whose AP is 40 with each of five seeds."""

    def build(differences, std=None, profile="mini"):
        ours = {seed: 0.4 + value for seed, value in differences.items()}
        rows = {OURS: ours, M2F: dict.fromkeys(range(5), 0.4)}
        (need,) = needs(made_report("table1", rows, seeds=range(5), profile=profile), std)
        return need

    return build


def test_what_a_claim_needs_follows_from_the_seeds_that_both_rows_have(ap_of):
    need = ap_of(THREE)
    assert (need["rows"], need["metric"], need["pairs"]) == ([OURS, M2F], "AP", 3)
    assert (need["std"], need["shown"]) == (pytest.approx(1.0), pytest.approx(1.682, abs=5e-4))
    assert need["takes"] == {"the paper's": (pytest.approx(0.1), 787), "the measured": (pytest.approx(2.0), 5)}
    line = f"  AP {OURS} minus {M2F}: std 1.00 (3 seeds kept of all rows): 5 seeds show 1.68"
    assert need_line(need) == f"{line}, the paper's +0.1 takes 787, the measured +2.0 takes 5"


@pytest.mark.parametrize("differences", [{}, {1: 0.01}])
def test_without_two_seeds_a_std_has_to_be_given(ap_of, differences):
    need = ap_of(differences)
    assert (need["std"], need["shown"], need["takes"]) == (None, None, {})
    assert "kept of all rows; say with --std how much" in need_line(need)
    given = ap_of(differences, 0.5)
    assert (given["std"], given["shown"]) == (0.5, pytest.approx(0.841, abs=5e-4))
    assert f"std 0.50 (as given; {'one seed' if differences else 'no seeds'} kept of all rows)" in need_line(given)


def test_what_takes_too_many_seeds_says_so_and_smoke_knows_no_paper(ap_of):
    need = ap_of(THREE, 20.0, profile="smoke")
    assert need["takes"] == {"the measured": (pytest.approx(2.0), 787)}
    assert "the measured +2.0 takes more than 1000" in need_line(ap_of(THREE, 40.0))


def test_claims_on_stds_on_equality_and_on_two_sets_are_left_out():
    rows = {row: dict.fromkeys(range(5), 0.4) for row in (OURS, M2F, "seqformer-r50-coco-ytvis19")}
    assert [need["rows"] for need in needs(made_report("table1", rows, seeds=range(5)), 1.0)] == [[OURS, M2F]]
    length = [f"{each}-{part}ytvis19" for part in ("", "frames2-") for each in ("ours-r50", "mask2former-r50")]
    four = {row: {seed: 0.1 * seed * place for seed in range(5)} for place, row in enumerate(length)}
    found = [*needs(made_report("length", four, seeds=range(5)), None)]
    assert [(need["rows"], need["metric"]) for need in found] == [(length, "IDF1"), (length, "IDs")]
    assert found[0]["std"] == pytest.approx(0.0, abs=1e-9)  # 0 - 1 - 2 + 3
