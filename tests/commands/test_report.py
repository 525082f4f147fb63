"""`report`: from tables and records alone, wherever data, runs and GPUs are."""

import shutil

import pytest
from kept_runs import finish, perfect

from ifrvis.cli import main
from ifrvis.harness.plan.planner import make_plan
from ifrvis.harness.upkeep.footage import write_scenes

ROWS = ("mask2former-r50-ytvis19", "ours-r50-ytvis19")


@pytest.fixture
def played(kept):
    """The options of `report all` of two rows, of which a scene is kept."""
    request = type(kept.request)(**{**vars(kept.request), "rows": ROWS})
    for training in make_plan(request).trainings:
        if training.method == "ours":
            finish(training, request, perfect)
    assert len(write_scenes(make_plan(request))) == 1
    return ["all", "--profile", str(kept.reports.parent / "smoke.yaml"), "--rows", ",".join(ROWS), "--seeds", "2"]


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_reports_from_records_alone_are_the_same_bytes_elsewhere_and_verify(kept, played, tmp_path, capsys):
    assert kept.run("report", *played) == 0
    written, folder = files_of(kept.reports / "smoke"), kept.reports / "smoke"
    said = f"wrote {len(written)} files to {folder}; look at {folder / 'index.html'}\n"
    assert capsys.readouterr().out.endswith(said)
    page = written["index.html"].decode()
    assert '"rows":["mask2former-r50-ytvis19","ours-r50-ytvis19"]' in page
    assert '"frames":["/9j/' in page
    there = tmp_path / "there"
    for kind in ("records", "scenes"):
        shutil.copytree(tmp_path / "results" / kind, there / "results" / kind)
    roots = [f"--data-root={there / 'data'}", f"--results={there / 'results'}", f"--reports={there / 'reports'}"]
    assert main(["report", *played, *roots]) == 0
    assert files_of(there / "reports" / "smoke") == written
    assert main(["verify", *roots]) == 0
    capsys.readouterr()
    (scene,) = (there / "results" / "scenes" / "smoke").iterdir()
    scene.write_bytes(scene.read_bytes() + b" ")
    assert main(["verify", *roots]) == 1
    assert scene.name in capsys.readouterr().out


def test_records_of_one_profile_are_reported_whatever_data_and_gpus_are_here(kept, capsys):
    assert kept.run("report", "table1", "--seeds", "2") == 0
    said = capsys.readouterr().out
    assert "profile smoke" in said
    (line,) = [line for line in said.splitlines() if "wrote" in line]
    folder = kept.reports / "smoke"
    said = f" files to {folder}; look at {folder / 'table1.md'}; `ifrvis report all` makes the page, of every table"
    assert line.endswith(said)
