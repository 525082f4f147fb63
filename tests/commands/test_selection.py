"""What the options say of a selection reaches another process whole."""

import argparse
import re
import shutil

import pytest

from ifrvis.cli import main
from ifrvis.commands.selection import request_of, selection_again, selection_arguments

MINE = "name: mine\ntitle: mine\ncategories: 1\nannotation: gt.json\nframes: frames\nschedule: ytvis19\n"
ROW = "mask2former-r50-ytvis19"
CASES = [
    [],
    ["--rows", "ours-r50-ytvis19,mask2former-r50-ytvis19", "--seeds", "2"],
    ["--set", "train.iterations=3", "--set", "train.precision=fp32", "--no-shipped-weights"],
    ["--dataset", "mine.yaml", "--init", "weights.pth"],
]


@pytest.mark.parametrize("options", CASES)
def test_a_selection_typed_again_elsewhere_is_the_same(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(MINE)
    parser = argparse.ArgumentParser()
    selection_arguments(parser)
    given = parser.parse_args(["table1", "--profile", "smoke", "--data-root", "data", "--results", "r", *options])
    again, first = selection_again(given), request_of(given)[0]
    monkeypatch.chdir("/")
    other = request_of(parser.parse_args(again))[0]
    for key in ("tables", "profile", "rows", "num_seeds", "overrides", "no_shipped_weights"):
        assert getattr(first, key) == getattr(other, key), key
    assert other.data_root == tmp_path / "data"
    assert other.store.root == tmp_path / "r"
    assert (other.init and other.init.path) == (tmp_path / "weights.pth" if first.init else None)
    assert other.dataset == (str(tmp_path / "mine.yaml") if first.dataset else None)


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


@pytest.fixture
def row(kept, tmp_path, capsys):
    """A command on a row of which two seeds are kept: its status and what it said."""

    def call(command, *arguments):
        (tmp_path / "frames").mkdir(exist_ok=True)
        status = kept.run(command, *arguments, "--profile", f"{tmp_path}/smoke.yaml")
        return status, "".join(capsys.readouterr())

    return call


@pytest.mark.parametrize(
    ("command", "more", "said"),
    [
        ("logs", [], "has no log"),
        ("retry", [], "nothing of it waits"),
        ("cancel", [], "nothing of it runs"),
        ("prune", [], f"{ROW}-s1-"),
        ("submission", ["--out", "{tmp}/results.zip"], "results.zip: "),
        ("predict", ["{tmp}/frames"], "Give a video with at least one frame"),
    ],
)
def test_a_row_and_a_seed_stand_for_a_run(command, more, said, row, tmp_path):
    more = [each.format(tmp=tmp_path) for each in more]
    for name in (ROW, f"table1/{ROW}"):
        assert said in (found := row(command, name, *more, "--seed", "1")[1])
        assert f"{ROW}-s0-" not in found
    status, found = row(command, ROW, *more, "--seed", "4")
    assert (status, f"Run {ROW} first" in found, "with seed 4 under profile smoke" in found) == (2, True, True)


def test_a_row_without_a_seed_may_be_several_runs(row):
    for arguments, message in (
        (("logs", ROW), "Name one run, or add --seed: of those in "),
        (("show", ROW[:-2]), f"; rows that begin so are {ROW}, mask2former-r50-ytvis21: of those in "),
        (("retry", "table1", "--seed", "0"), "Name a row with --seed"),
        (("logs", "mask2fromer-r50-ytvis19"), f"did you mean {ROW!r}?"),
    ):
        status, found = row(*arguments)
        assert (status, message in found) == (2, True)


def test_a_row_on_another_set_says_which(roots, tmp_path, capsys):
    (tmp_path / "results").mkdir()
    for command, said in (
        ("plan", f"{ROW} +0/1  pending, off-spec on smoke21"),
        ("status", f"{ROW} +0/1 on smoke21 "),
    ):
        options = ["--profile", "smoke", "--rows", ROW, "--seeds", "1", "--dataset", "smoke21", *roots]
        assert main([command, "table1", *options]) == 0
        assert re.search(said, capsys.readouterr().out)


AGAIN = "`ifrvis reproduce {again}`: kept of {run} is its record"
TRAINED = "trained on one in 0.01 hours, by commit cccccccccccc"


@pytest.mark.parametrize("lost", ["attempts", "."])
@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        ("logs RUN", 2, [AGAIN, "not its log", TRAINED]),
        ("logs ROW", 2, [AGAIN, "not its log", TRAINED]),
        ("predict RUN frames", 2, [AGAIN, "not its checkpoint", TRAINED]),
        ("submission ROW", 2, ["trained"]),
        ("show RUN", 0, ["run: {run}", "global_batch"]),
        ("cancel RUN", 0, ["nothing of it runs"]),
        ("retry ROW", 0, ["nothing of it waits for a retry"]),
        ("prune ROW", 0, ["nothing can go"]),
        ("explain RUN --row table1/" + ROW, 0, ["Looked at: the record"]),
        ("compare RUN OTHER", 0, ["A: ", "B: "]),
    ],
)
def test_what_is_kept_of_a_run_that_was_trained_elsewhere(kept, command, status, said, lost, capsys, tmp_path):
    (folder,) = kept.request.store.root.glob("runs/*-s1-*")
    (record,) = kept.request.store.root.glob(f"records/smoke/{folder.name}-*[0-9a-f].json")
    shutil.rmtree(folder / lost)
    row, name = f"{ROW} --seed 1 --profile {tmp_path}/smoke.yaml", folder.name.rpartition("-")[0]
    typed = command.replace("RUN", name).replace("ROW", row).replace("OTHER", f"{ROW}-s0").split()
    assert kept.run(*typed) == status
    printed = " ".join("".join(capsys.readouterr()).split())
    for each in said:
        assert each.format(run=folder.name, again=row if "ROW" in command else record) in printed


def test_a_complete_run_without_checkpoints_is_trained_again_not_first(kept, capsys):
    (folder,) = kept.request.store.root.glob("runs/*-s1-*")
    assert kept.run("prune", str(folder), "--yes") == 0
    (folder / "weights.pth").unlink()
    assert kept.run("predict", str(folder), "frames") == 2
    assert f"kept of {folder.name} is its record" in capsys.readouterr().err
