"""The records of the mini study: all there, sound, of the frozen code, and made again from what lies beside them.

`study.json` names the commit that froze the settings, and the records. `python tests/frozen/test_study.py` writes their
names and the reports of them anew, which is done where records are committed.
"""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from ifrvis.cli import main
from ifrvis.datasets.catalog import load_dataset
from ifrvis.harness.store.paths import Store
from ifrvis.harness.store.records import read_record
from ifrvis.harness.upkeep.verify import verify_records

ROOT = Path(__file__).resolve().parents[2]
LIST = Path(__file__).with_name("study.json")
STUDY = json.loads(LIST.read_text())
STORE = Store(ROOT / "results")
FOLDER = STORE.records("mini")
REPORTS = ROOT / "reports" / "mini"
PATHS = [FOLDER / f"{name}.json" for name in STUDY["records"]]
WHAT_NUMBERS_DEPEND_ON = (
    *(f"ifrvis/{room}" for room in ("models", "datasets", "training", "inference", "evaluation", "configs")),
    *("experiments/profiles/mini.yaml", "experiments/datasets", "experiments/protocols", "experiments/weights"),
)


def test_the_records_are_those_that_are_listed():
    assert sorted(path.name for path in FOLDER.glob("*.json")) == sorted(path.name for path in PATHS)


def test_every_record_is_sound_and_the_sum_of_its_videos(tmp_path):
    found = list(verify_records(STORE, tmp_path, profiles=["mini"]))
    assert [str(each) for each in found if each.outcome == "wrong"] == []
    of_records = {each.path: each.outcome for each in found if each.path in PATHS}
    assert of_records.keys() == set(PATHS)
    assert {path.name: of for path, of in of_records.items() if of not in ("from videos", "recomputed")} == {}


def test_every_record_is_of_the_frozen_code():
    codes = {(code.commit, code.uncommitted) for code in (read_record(path).provenance.code for path in PATHS)}
    assert not any(uncommitted for _, uncommitted in codes)
    for commit in {commit for commit, _ in codes} - {STUDY["freeze"]}:  # later ones ask the history
        _git("merge-base", "--is-ancestor", STUDY["freeze"], commit)
        _git("diff", "--quiet", STUDY["freeze"], commit, "--", *WHAT_NUMBERS_DEPEND_ON)


def test_the_reports_are_made_again_byte_for_byte(tmp_path):
    report(tmp_path)
    kept, again = ({path.name: path.read_bytes() for path in at.iterdir()} for at in (REPORTS, tmp_path / "mini"))
    assert kept.keys() == again.keys()
    assert [name for name in kept if kept[name] != again[name]] == []


def report(at):
    """Write all reports of the study's records under a folder."""
    assert main(["report", "all", "--profile", "mini", "--results", str(STORE.root), "--reports", str(at)]) == 0


def _git(*arguments):
    subprocess.run(["git", "-C", str(ROOT), *arguments], check=True)


@pytest.mark.slow
def test_two_records_are_made_again_from_made_videos_and_kept_predictions(tmp_path):
    records = [read_record(path) for path in PATHS]
    runs = {run.train_sig: run for run in STORE.runs()}
    kept = [each for each in records if each.train_sig in runs]
    assert len({each.name for each in kept}) >= 2
    for name in {each.dataset for each in kept}:
        load_dataset(name, tmp_path).make("heldout")
    found = verify_records(STORE, tmp_path, profiles=["mini"])
    assert {each.path for each in found if each.outcome == "recomputed"} == {FOLDER / each.file_name for each in kept}


if __name__ == "__main__":
    names = sorted(path.stem for path in FOLDER.glob("*.json"))
    LIST.write_text(json.dumps(STUDY | {"records": names}, indent=2) + "\n")
    shutil.rmtree(REPORTS, ignore_errors=True)
    report(REPORTS.parent)
