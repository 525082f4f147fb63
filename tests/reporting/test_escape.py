"""Hostile text in labels, groups, notes and titles stays text."""

import csv
import io

import pytest

from ifrvis.reporting.escape import csv_text, latex_text, markdown_text, plain_text
from ifrvis.reporting.formats import latex, markdown, seeds_csv, terminal

ROW = "mask2former-r50-ytvis19"
HOSTILE = "50% & $x_1$ #~^{}\\input{/etc/passwd}\n\n<script>|\x1b[31m"


@pytest.fixture
def hostile(make_report, hostile_copy):
    return hostile_copy(make_report("table1", {ROW: {0: 0.2, 1: 0.4}}), HOSTILE)


def test_latex_special_characters_are_escaped():
    assert latex_text(r"50% & $x_1$ #~^{}\a") == (
        r"50\% \& \$x\_1\$ \#\textasciitilde{}\textasciicircum{}\{\}\textbackslash{}a"
    )
    assert latex_text("<a> 1 ± 2 λ↑ – [x]* 日") == (
        r"\textless{}a\textgreater{} 1 $\pm$ 2 $\lambda$$\uparrow$ -- {[}x{]}{*} ?"
    )
    assert latex_text("run `ifrvis plan a_b --set x=1` ---") == r"run \texttt{ifrvis plan a\_b -{}-set x=1} -{}-{}-"
    assert latex_text("one ` alone, a – dash") == "one ' alone, a -- dash"
    assert latex_text("“α ≥ Δ” é ą ð") == r"``$\alpha$ $\ge$ $\Delta$'' é ? ?"


def test_latex_of_hostile_text_has_no_foreign_command(hostile):
    text = latex(hostile)
    assert r"\input" not in text
    assert "\n\n" not in text
    assert text.count(r"\begin") == text.count(r"\end{") == 3  # with the document around it


def test_markdown_of_hostile_text_keeps_its_columns(hostile):
    table = [line for line in markdown(hostile).splitlines() if line.startswith("|")]
    assert len({line.replace(r"\|", "").count("|") for line in table}) == 1
    assert "<script" not in markdown(hostile).replace(r"\<", "")
    assert markdown_text("a*b_c") == r"a\*b\_c"


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\t@x", "＝1+1", "＠x"]
)
def test_csv_text_is_never_a_formula(text):
    assert csv_text(text) == f"'{text}"


def test_csv_quotes_formulas_in_text_and_leaves_negative_numbers(make_report, hostile_copy):
    report = hostile_copy(make_report("table1", {ROW: {0: 0.2}}), "=1+1")
    line = next(csv.DictReader(io.StringIO(seeds_csv(report))))
    assert line["group"] == "'=1+1"
    tracking = make_report("table3", {ROW: {0: {"MOTA": -0.5}}}, seeds=[0])
    assert next(csv.DictReader(io.StringIO(seeds_csv(tracking))))["value"] == "-0.5"


def test_terminal_prints_no_control_sequence(hostile, shown):
    assert "\x1b" not in shown(terminal(hostile))
    assert plain_text("a\x1b[31m\nb") == "a [31m b"
