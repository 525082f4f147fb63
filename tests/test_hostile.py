"""Files from elsewhere, and broken ones of our own: refused with what to do, or what they say and nothing else.

Also tests: ifrvis.__main__, ifrvis.errors.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from made_records import asked

from ifrvis.cli import main
from ifrvis.errors import UserError
from ifrvis.harness.store.attempts import claim
from ifrvis.harness.store.paths import Store
from ifrvis.reporting.escape import csv_text
from studies.fuzz import ACTS, run_case
from studies.fuzz_world import CONTROL, World

ROOT = Path(__file__).parents[1]
EVALUATED = ("annotations", "results", "predictions")
CASES = dict.fromkeys(ACTS, 39) | dict.fromkeys(EVALUATED, 170)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture
def copied(tmp_path):
    """A packed YAML file with one text replaced: `copied("tables/table1", old, new)`."""

    def copy(name, old, new):
        text = (ROOT / "experiments" / f"{name}.yaml").read_text()
        assert old in text
        path = tmp_path / "mine.yaml"
        path.write_text(text.replace(old, new, 1))
        return str(path)

    return copy


def refusal(capsys, *arguments):
    """The one message of a command that refuses."""
    assert main(list(arguments)) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("ifrvis: ")
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize("kind", ACTS)
def test_a_changed_file_is_refused_or_says_something_sound(world, kind):
    outcomes = [(seed, *run_case(world, kind, seed)) for seed in range(CASES[kind])]
    bad = [each for each in outcomes if each[1] in ("traceback", "wrong")]
    assert not bad, f"python studies/fuzz.py --only '{kind}' shows {bad[0]}"
    seen = {outcome for _, outcome, _ in outcomes}
    assert seen >= {"refused", "changed"} if kind in EVALUATED else seen & {"refused", "changed"}


# Names


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "a/b", "x" * 101, "", ".", "..", "A b", "a\\nb"])
def test_names_of_files_never_lead_out_of_their_folders(name, copied, capsys, roots, tmp_path):
    table = copied("tables/table1", "name: table1", f'name: "{name}"')
    assert f"(in 'name' in {table})" in refusal(capsys, "report", table, "--profile", "smoke", *roots)
    profile = copied("profiles/smoke", "name: smoke", f'name: "{name}"')
    assert f"(in 'name' in {profile})" in refusal(capsys, "report", "table1", "--profile", profile, *roots)
    dataset = copied("datasets/smoke19", "name: smoke19", f'name: "{name}"')
    assert f"(in 'name' in {dataset})" in refusal(capsys, "data", "make-mini", dataset, *roots)
    arguments = ["--profile", "smoke", "--set", f"train.init={name}", *roots]
    assert "initial weights" in refusal(capsys, "plan", "table1", *arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


def test_paths_that_no_system_takes_are_only_missing(capsys, roots, copied):
    long = "x" * 300
    assert "there is no file" in refusal(capsys, "plan", f"{long}.yaml")
    plan = ["plan", "table1", "--profile", "smoke", "--rows", "mask2former-r50-ytvis19", *roots]
    assert "does not exist" in refusal(capsys, *plan, "--init", f"{long}.pth")
    dataset = Path(copied("datasets/ytvis19", "ytvis2019/train.json", long))
    given = ["--dataset", str(dataset), "--set", "train.init=null"]
    assert "'ytvis19' is another one" in refusal(capsys, *plan, *given)
    dataset.write_text(dataset.read_text().replace("name: ytvis19", "name: mine"))
    assert "does not exist" in refusal(capsys, *plan, *given)
    assert "(File name too long)" in refusal(capsys, "evaluate", "ap", "--gt", long, "--pred", long)


@pytest.mark.parametrize("hostile", ["\x1b]0;owned\x07", "\u202egnp.exe", "\u200f", "\x9b31m"])
def test_text_of_files_reaches_a_terminal_and_a_csv_without_what_controls_them(hostile, capsys, tmp_path):
    ids = {"id": f"a{hostile}", "width": 8, "height": 6, "length": 1, "file_names": [f"v{hostile}/0.jpg"]}
    mask = {"size": [6, 8], "counts": [40, 8]}
    track = {"id": f"t{hostile}", "video_id": ids["id"], "category_id": f"c{hostile}", "segmentations": [mask]}
    names = [{"id": f"c{hostile}", "name": f"cat{hostile}"}]
    gt, pred, frames = tmp_path / "gt.json", tmp_path / "pred.json", tmp_path / "frames" / f"v{hostile}"
    gt.write_text(json.dumps({"videos": [ids], "categories": names, "annotations": [track]}))
    other = {**track, "score": 0.5, "segmentations": [{"size": [6, 8], "counts": [0, 8, 40]}]}
    pred.write_text(json.dumps([{**track, "score": 0.9}, {**track, "score": 0.8}, other]))
    frames.mkdir(parents=True)
    (frames / "0.jpg").touch()
    (tmp_path / "mine.yaml").write_text(
        f"name: mine\ntitle: Mine\ncategories: 1\nannotation: {gt}\nframes: {frames.parent}\n"
    )
    for command in (
        ["evaluate", "identity", "--protocol", "all", "--gt", str(gt), "--pred", str(pred)],
        ["data", "stats", str(tmp_path / "mine.yaml"), "--split", "full"],
        ["data", "check", str(tmp_path / "mine.yaml")],
    ):
        main(command)
    captured = capsys.readouterr()
    assert "duplicate, object" in captured.out
    assert "cat" in captured.out
    assert not CONTROL.search(captured.out + captured.err)
    assert not CONTROL.search(csv_text(f"mine{hostile}"))


# Disks


def test_output_that_finds_no_space_is_one_message():
    command = [sys.executable, "-m", "ifrvis", "plan", "table1", "--json"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("ifrvis: Free some disk space: the output could not be written")
    assert "Traceback" not in done.stderr


def test_results_that_cannot_be_written_are_one_message(world, tmp_path, capsys):
    (tmp_path / "file").touch()
    reports = ["--reports", f"{tmp_path}/file/reports"]
    assert "Make " in refusal(capsys, "report", *world.table, *world.roots[:2], *reports)
    run = Store(tmp_path / "file").run("name-s0", "a" * 64)
    with pytest.raises(UserError, match=r"^Make .*writable"):
        claim(run, asked())
    (tmp_path / "runs" / "name-s0-aaaaaaaaaaaa").mkdir(parents=True)
    run = Store(tmp_path).run("name-s0", "a" * 64)
    run.attempts.touch()  # a file where a folder should be is no other launcher's claim
    with pytest.raises(UserError, match=r"^Make .*writable"):
        claim(run, asked())
