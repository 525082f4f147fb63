"""The LaTeX of reports compiles, by itself and inside a document, whatever the tables and records say."""

import shutil
import subprocess

import pytest

from ifrvis.harness.spec.tables import load_table
from ifrvis.reporting.figure import figure_files
from ifrvis.reporting.formats import claims_latex, compact_latex, figure_latex, latex

pytestmark = pytest.mark.slow
HOSTILE = "50% & $x_1$ #~^{}\\input{/etc/passwd} <script>| 日 “x” [2] * αΛΨ…≤ «ąðĦ»"
M2F, OURS = "mask2former-r50-ytvis19", "ours-r50-ytvis19"
VALUES = {seed: 0.4 + 0.01 * seed for seed in range(5)}


@pytest.fixture
def compiled():
    """Compile one file; returns the text of the PDF."""
    if shutil.which("pdflatex") is None or shutil.which("pdftotext") is None:
        pytest.skip("pdflatex and pdftotext are not installed: no LaTeX is compiled")

    def run(path):
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", path.name]
        done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, errors="replace", check=False)
        assert done.returncode == 0, done.stdout[-3000:]
        assert not [wrong for wrong in ("Overfull", "Float too large") if wrong in done.stdout]
        text = subprocess.run(["pdftotext", path.with_suffix(".pdf"), "-"], capture_output=True, text=True, check=True)
        return text.stdout

    return run


@pytest.fixture
def files(make_report, hostile_copy, tmp_path):
    """Floats of tables in several states, by the name of their file."""
    rows = {M2F: VALUES, OURS: {seed: value + 0.03 + 0.001 * (seed % 2) for seed, value in VALUES.items()}}
    paper = {"profile": "paper", "protocol": "server", "scored": "server"}
    hostile = hostile_copy(make_report("table1", rows, seeds=range(5)), HOSTILE)
    figure = make_report("figure4", {"ours-r50-lambda0.3-ytvis19": VALUES}, seeds=range(5))
    clips = {"ours-swin-l-ytvis19": VALUES, "ours-swin-l-clip2-ytvis19": {}}
    long = dict.fromkeys((row.id for row in load_table("length").rows), VALUES)
    texts = {
        "server": latex(make_report("table1", rows, seeds=range(5), **paper)),
        "hostile": latex(hostile),
        "hostile-claims": claims_latex(hostile),
        "table3": latex(make_report("table3", rows, seeds=range(5), profile="paper")),
        "table4": latex(make_report("table4", clips, seeds=range(5))),
        "length": latex(make_report("length", long, seeds=range(5))),
        "empty": latex(make_report("table1", {M2F: {}, OURS: {}})),
        "figure": figure_latex(figure),
        "compact": compact_latex(make_report("table1", rows, seeds=range(5))),
        "length-compact": compact_latex(make_report("length", long, seeds=range(5))),
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.tex").write_text(text, encoding="utf-8")
    (tmp_path / "figure4.pdf").write_bytes(figure_files(figure)["figure4.pdf"])
    return [tmp_path / f"{name}.tex" for name in texts]


def test_each_file_is_a_document_by_itself(compiled, files):
    texts = {path.stem: compiled(path) for path in files}
    assert "Mask2Former" in texts["server"]
    assert "47.0 ± 1.6" in texts["server"] or "42.0 ± 1.6" in texts["server"]
    assert "/etc/passwd" in texts["hostile"]
    assert "root:" not in texts["hostile"]
    assert "supported" in texts["hostile-claims"]
    assert "Below" not in texts["compact"]
    assert "Clip length (T)" in texts["table4"]
    assert "that 0.3 is best" in " ".join(texts["figure"].split())
    assert [texts["length"].count(each) for each in ("Part 1 of 3", "Part 3 of 3", "42.0 ± 1.6")] == [1, 1, 75 * 2]


def test_all_of_them_stand_in_one_document(compiled, files):
    document = files[0].with_name("all.tex")
    inputs = "".join(rf"\input{{{path.stem}}}" for path in files)
    papers = r"\newcommand{\paperrow}[1]{#1}"
    document.write_text(
        rf"\documentclass[twocolumn]{{article}}\usepackage{{booktabs,graphicx}}\begin{{document}}{papers}{inputs}\end{{document}}"
    )
    text = compiled(document)
    assert [f"{name} {number}" in text for name in ("Table",) for number in range(1, 10)] == [True] * 9
    assert "Figure 1" in text
    assert "Below: paper (YouTube-VIS 2019, server)" in " ".join(text.split())
