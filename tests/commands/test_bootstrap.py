"""`bootstrap`: intervals over videos are made once, kept with what they are of, shown by reports, and made again.

Also tests: ifrvis.reporting.over_videos.
"""

import json

import kept_runs
import pytest

from ifrvis.cli import main
from ifrvis.evaluation.bootstrap import difference_intervals
from ifrvis.evaluation.videos import read_videos
from ifrvis.reporting.over_videos import Kept, _digest, read_kept

ROWS = M2F, OURS = "mask2former-r50-ytvis19", "ours-r50-ytvis19"


@pytest.fixture
def run(smoke_data, tmp_path, monkeypatch, capsys):
    """A command on two rows of Table 3 with two seeds each, of which Ours is perfect: its status and what it said."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    monkeypatch.setattr("ifrvis.evaluation.bootstrap.LEAST_VIDEOS", 4)
    request = kept_runs.kept(tmp_path, ["table3"], ROWS, 2, {"ours": kept_runs.perfect}, data_root=smoke_data)
    asked = ["table3", "--profile", f"{tmp_path}/smoke.yaml", "--rows", ",".join(ROWS)]

    def call(command, *arguments, what=asked, seeds=2):
        options = [*what, "--seeds", str(seeds)] if what is asked else what
        status = main([command, *options, *arguments, *kept_runs.roots_of(request, tmp_path / "reports")])
        return status, "".join(capsys.readouterr())

    return call


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results/bootstrap/smoke.json"


def records(tmp_path, row):
    return sorted((tmp_path / "results/records/smoke").glob(f"{row}-s*.json"))


def idf1_of(tmp_path):
    """What the report's claim on IDF1 shows of intervals over videos."""
    claims = json.loads((tmp_path / "reports/smoke/table3.json").read_text())["claims"]
    pairs = [pair for claim in claims for pair in claim["pairs"] if pair["statement"]["metric"] == "IDF1"]
    return pairs[0]["difference"]["over_videos"]


def test_intervals_are_those_of_what_lies_beside_the_records_and_are_shown_where_they_fit(run, path, tmp_path):
    status, said = run("bootstrap")
    assert status == 0
    assert f"{OURS} minus {M2F}: AP +" in said
    (kept,) = read_kept(path)
    beside = [
        [read_videos(each.with_suffix(".videos.json.gz")) for each in records(tmp_path, row)] for row in (OURS, M2F)
    ]
    assert kept.intervals.items() <= difference_intervals(*beside, dataset="smoke19").items()
    assert kept.intervals["IDF1"][0] > 0
    run("report")
    assert idf1_of(tmp_path) == list(kept.intervals["IDF1"])
    status, said = run("verify", "--all", what=[])
    assert (status, f"from videos {path} ({OURS} minus {M2F})" in said) == (0, True)
    run("report", seeds=1)
    assert idf1_of(tmp_path) is None, "they are of other records"


def test_what_was_changed_or_lost_is_said(run, path, tmp_path):
    run("bootstrap")
    run("report")
    sound = path.read_text()
    path.write_text(sound.replace('"resamples": 2000', '"resamples": 2001'))
    for command, what in (("report", None), ("bootstrap", None), ("verify", [])):
        status, said = run(command, **({} if what is None else {"what": what}))
        assert (status, "it was changed after it was written" in said) == (1 if what == [] else 2, True), command
    content = json.loads(sound)
    content["kept"][0]["intervals"]["IDF1"][0] += 0.01
    content["digest"] = _digest(Kept.model_validate_json(json.dumps(each)) for each in content["kept"])
    path.write_text(json.dumps(content))
    status, said = run("verify", what=[])
    assert (status, f"{OURS} minus {M2F} is another" in said) == (1, True)
    assert "table3.md (" in said, "the report shows an interval that is gone"
    path.write_text(sound)
    for beside in records(tmp_path, OURS):
        beside.with_suffix(".videos.json.gz").unlink()
    status, said = run("verify", "--all", what=[])
    assert (status, f"not kept    {path} (what lies behind {OURS} minus {M2F})" in said) == (0, True)
    status, said = run("bootstrap")
    assert (status, f"left out {OURS} minus {M2F}: Restore " in said) == (1, True)
    assert path.read_text() == sound


def test_what_is_of_records_that_are_gone_is_dropped(run, path, tmp_path):
    run("bootstrap")
    run("bootstrap", seeds=1)
    assert [len(each.records[0]) for each in read_kept(path)] == [2, 1]
    records(tmp_path, OURS)[1].unlink()
    run("bootstrap", seeds=1)
    assert [len(each.records[0]) for each in read_kept(path)] == [1]
    status, said = run("bootstrap")
    assert (status, "no two that are compared have the records of all seeds" in said) == (2, True)
