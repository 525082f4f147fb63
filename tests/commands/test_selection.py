"""What the options say of a selection reaches another process whole."""

import argparse
import re
from pathlib import Path

import pytest
from made_records import made_record

from ifrvis.cli import main
from ifrvis.commands.selection import add_selection, profile_of, request_of, typed_again
from ifrvis.datasets.catalog import load_dataset
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.store.paths import Store
from ifrvis.harness.store.records import publish_record

MINE = "name: mine\ntitle: mine\ncategories: 1\nannotation: gt.json\nframes: frames\nschedule: ytvis19\n"
ROW = "mask2former-r50-ytvis19"
CASES = [
    [],
    ["--rows", "ours-r50-ytvis19,mask2former-r50-ytvis19", "--seeds", "2"],
    ["--set", "train.iterations=3", "--set", "train.precision=fp32", "--no-shipped-weights"],
    ["--dataset", "mine.yaml", "--init", "weights.pth"],
    ["--dataset", "folder"],
]


@pytest.mark.parametrize("options", CASES)
def test_a_selection_typed_again_elsewhere_is_the_same(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(MINE)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/dataset.yaml").write_text(MINE)
    parser = argparse.ArgumentParser()
    add_selection(parser)
    given = parser.parse_args(["table1", "--profile", "smoke", "--data-root", "data", "--results", "r", *options])
    again, first = typed_again(given), request_of(given)[0]
    monkeypatch.chdir("/")
    other = request_of(parser.parse_args(again))[0]
    for key in ("tables", "profile", "rows", "num_seeds", "overrides", "no_shipped_weights"):
        assert getattr(first, key) == getattr(other, key), key
    assert other.data_root == tmp_path / "data"
    assert other.store.root == tmp_path / "r"
    assert (other.init and other.init.path) == (tmp_path / "weights.pth" if first.init else None)
    assert other.dataset == (str(tmp_path / first.dataset) if first.dataset else None)


def test_what_is_asked_of_ones_own_videos_can_be_asked_again(smoke_data, tmp_path):
    """As `status --watch` does, and `cancel`."""
    load_dataset("smoke19", smoke_data).make("heldout")
    split = load_dataset("smoke19", smoke_data).split("heldout")
    parser = argparse.ArgumentParser()
    add_selection(parser)
    named = ["--annotations", str(split.annotation), "--frames", str(split.frames), "--data-root", str(tmp_path)]
    given = parser.parse_args(["table1", *named])
    first, again = (request_of(given)[0].dataset for _ in range(2))
    assert first == again == str(first)


def test_blanks_between_rows_are_no_part_of_them():
    parser = argparse.ArgumentParser()
    add_selection(parser)
    given = parser.parse_args(["table1", "--profile", "smoke", "--rows", "ours-r50-ytvis19, mask2former-r50-ytvis19 "])
    assert request_of(given)[0].rows == ("ours-r50-ytvis19", ROW)


@pytest.mark.parametrize(
    ("kept", "chosen"),
    [
        (["mini"], "mini"),
        (["mini", "real", "smoke"], "mini"),  # which has a turn
        (["real"], "real"),
        (["real", "smoke"], "paper"),
        (["mini", "paper"], "paper"),
        ([], "paper"),
    ],
)
def test_what_is_read_is_of_the_profile_that_is_kept(kept, chosen, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "ifrvis.harness.jobs.launch.choose_profile", lambda *_, **__: (load_profile("paper"), "by turn")
    )
    for name in kept:
        publish_record(Store(tmp_path / "results"), made_record(profile=name))
    given = argparse.Namespace(profile=None, results=tmp_path / "results", data_root=tmp_path)
    assert profile_of(given, of_kept=True)[0].name == chosen
    assert profile_of(given)[0].name == "paper"


def test_a_variable_that_is_empty_is_none(tmp_path, monkeypatch):
    (tmp_path / "mine.yaml").write_text(MINE + "root_variable: IFRVIS_MINE\n")
    for name in ("DATA", "RESULTS", "MINE"):
        monkeypatch.setenv(f"IFRVIS_{name}", "")
    add_selection(parser := argparse.ArgumentParser())
    given = parser.parse_args(["table1"])
    assert (given.data_root, given.results) == (Path("data"), Path("results"))
    dataset = load_dataset(str(tmp_path / "mine.yaml"), tmp_path / "data")
    assert dataset.files("full") == (tmp_path / "data" / "gt.json", tmp_path / "data" / "frames")


def test_a_report_on_ones_own_videos_has_tracking_and_no_value_of_the_paper_and_is_verified(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(MINE)
    (tmp_path / "results").mkdir()
    given = ["table1", "--profile", "mini", "--dataset", "mine.yaml", "--rows", "ours-r50-ytvis19"]
    assert main(["report", *given, "--results", "results"]) == 0
    text = (tmp_path / "reports" / "mini" / "table1-off-spec.md").read_text()
    assert "| IDF1↑ heldout | MOTA↑ heldout | HOTA↑ heldout | IDs↓ heldout | errors↓ heldout |" in text
    assert "paper" not in text.partition("## Claims")[0]
    assert (tmp_path / "reports" / "mini" / "index-off-spec.html").is_file()
    assert main(["verify", "--results", "results"]) == 0


def test_a_row_on_another_set_says_which(roots, tmp_path, capsys):
    (tmp_path / "results").mkdir()
    for command, said in (
        ("plan", f"{ROW} +0/1  pending, off-spec on smoke21"),
        ("status", f"{ROW} +0/1 on smoke21 "),
    ):
        options = ["--profile", "smoke", "--rows", ROW, "--seeds", "1", "--dataset", "smoke21", *roots]
        assert main([command, "table1", *options]) == 0
        assert re.search(said, capsys.readouterr().out)
