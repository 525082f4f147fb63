"""The records of the mini study: all there, sound, of the frozen code, and made again from what lies beside them.

`study.json` names the commit that froze the settings, and the records. `python tests/frozen/test_study.py` writes their
names and the reports of them anew, which is done where records are committed.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path
from statistics import fmean, stdev

import pytest

from ifrvis.cli import main
from ifrvis.datasets.catalog import load_dataset
from ifrvis.harness.store.paths import Store
from ifrvis.harness.store.records import read_record
from ifrvis.harness.upkeep.verify import verify_records
from ifrvis.reporting.style import difference_text, measured_text

ROOT = Path(__file__).resolve().parents[2]
LIST = Path(__file__).with_name("study.json")
STUDY = json.loads(LIST.read_text())
STORE = Store(ROOT / "results")
REPORTS = ROOT / "reports"
PROFILES = list(STUDY["records"])
PATHS = [STORE.records(profile) / f"{name}.json" for profile in PROFILES for name in STUDY["records"][profile]]
WHAT_NUMBERS_DEPEND_ON = (
    *(f"ifrvis/{room}" for room in ("models", "datasets", "training", "inference", "evaluation", "configs")),
    *(f"experiments/profiles/{profile}.yaml" for profile in PROFILES),
    *(f"experiments/{room}" for room in ("datasets", "protocols", "weights")),
)


def test_the_records_are_those_that_are_listed():
    assert sorted(STORE.root.glob("records/*/*.json")) == sorted(PATHS)


def test_every_record_is_sound_and_the_sum_of_its_videos(tmp_path):
    found = list(verify_records(STORE, tmp_path, profiles=PROFILES))
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


@pytest.mark.parametrize("profile", PROFILES)
def test_the_reports_are_made_again_byte_for_byte(tmp_path, profile):
    report(profile, tmp_path)
    kept, again = ({path.name: path.read_bytes() for path in (at / profile).iterdir()} for at in (REPORTS, tmp_path))
    assert kept.keys() == again.keys()
    assert [name for name in kept if kept[name] != again[name]] == []


SETS = {"mini19": "ytvis19", "mini21": "ytvis21"}
SIDES = {"Ours": "ours", "Mask2Former": "mask2former"}
TOLD = {  # how lines of the page begin, of which metrics and how many middle frames their numbers are
    "higher AP": [("AP", None)],
    "higher IDF1": [("IDF1", None)],
    "higher MOTA": [("MOTA", None)],
    "fewer identity switches": [("IDs", None)],
    "IDP rises": [("IDP", None), ("IDR", None)],
    "what it has more of IDF1": [("IDF1", 2), ("IDF1", 12), ("IDF1", None)],
}


def test_the_words_about_five_seeds_have_the_numbers_of_their_records():
    """Those of the README's table and, of differences, of the study's page: no difference of rounded means is one."""
    readme, page = ((ROOT / name).read_text() for name in ("README.md", "docs/mini-study.md"))
    assert "| five seeds, thin ResNet-50 |" in readme
    assert "Five seeds of Table 3's ResNet-50 rows." in page
    known = [each for each in map(read_record, PATHS) if each.inference.get("recurrence", True)]
    records = {(each.name, each.data.part.frames): each.metrics for each in known}
    trainings = len({name for name, _ in records})
    assert [re.findall(r"(\d+) of the 105\s+trainings", text) for text in (readme, page)] == [[str(trainings)]] * 2

    def values(side, dataset, metric, frames=None):
        return [records[f"{SIDES[side]}-r50-{SETS[dataset]}-s{seed}", frames][metric] for seed in range(5)]

    columns, told = ("AP", "AP50", "IDF1", "MOTA", "IDs"), {}
    for side, dataset, text in re.findall(r"(?m)^\| (Mask2Former|Ours) \| (mini\d\d) \| (.*) \|$", readme):
        of = [values(side, dataset, name) for name in columns]
        told[side, dataset] = text, " | ".join(map(measured_text, columns, map(fmean, of), map(stdev, of)))
    assert len(told) == 4
    for begins, wanted in TOLD.items():
        (cells,) = re.findall(rf"(?m)^\| {begins}[^|]*\| ([^|]*) \| ([^|]*) \|", page)
        for dataset, cell in zip(SETS, cells):
            of = [[fmean(values(side, dataset, *each)) for side in SIDES] for each in wanted]
            found = [difference_text(name, ours - other) for (name, _), (ours, other) in zip(wanted, of)]
            told[begins, dataset] = cell, ", ".join(found)
    assert {what: pair for what, pair in told.items() if pair[0] != pair[1]} == {}


def report(profile, at):
    """Write all reports of the study's records of a profile under a folder."""
    assert main(["report", "all", "--profile", profile, "--results", str(STORE.root), "--reports", str(at)]) == 0


def _git(*arguments):
    subprocess.run(["git", "-C", str(ROOT), *arguments], check=True)


@pytest.mark.slow
def test_two_records_are_made_again_from_made_videos_and_kept_predictions(tmp_path):
    records = {path: read_record(path) for path in PATHS}
    kept = {path: each for path, each in records.items() if each.predictions(STORE).is_file()}
    assert len({each.name for each in kept.values()}) >= 2
    for name in {each.dataset for each in kept.values()}:
        load_dataset(name, tmp_path).make("heldout")
    found = verify_records(STORE, tmp_path, profiles=PROFILES)
    assert {each.path for each in found if each.outcome == "recomputed"} == set(kept)


if __name__ == "__main__":
    names = {at.name: sorted(path.stem for path in at.glob("*.json")) for at in sorted(STORE.root.glob("records/*"))}
    LIST.write_text(json.dumps(STUDY | {"records": names}, indent=2) + "\n")
    for name in names:
        shutil.rmtree(REPORTS / name, ignore_errors=True)
        report(name, REPORTS)
