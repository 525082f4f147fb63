"""Jobs run from a copy of the code, one for each content."""

import json
import subprocess
import sys
from pathlib import Path

import ifrvis
from ifrvis.harness.jobs import snapshot
from ifrvis.harness.jobs.snapshot import in_snapshot, take_snapshot
from ifrvis.harness.store.paths import Store
from ifrvis.packed import packed


def test_a_copy_runs_by_itself_and_knows_its_commit(tmp_path):
    copy = take_snapshot(Store(tmp_path))
    assert take_snapshot(Store(tmp_path)) == copy
    assert [each.name for each in copy.parent.iterdir()] == [copy.name]
    code = (
        "import json, ifrvis, ifrvis.harness.spec.tables as t, ifrvis.harness.store.provenance as p;"
        "print(json.dumps([ifrvis.__file__, t.load_table('table1').name, p.provenance().code.model_dump()]))"
    )
    run = [sys.executable, "-P", "-c", code]
    done = subprocess.run(run, env={"PYTHONPATH": str(copy)}, cwd=tmp_path, capture_output=True, text=True, check=True)
    where, table, commit = json.loads(done.stdout)
    assert where == str(copy / "ifrvis" / "__init__.py")
    assert table == "table1"
    assert commit == json.loads((copy / "code.json").read_text())


def test_a_change_of_the_code_is_another_copy(tmp_path, monkeypatch):
    first = take_snapshot(Store(tmp_path))
    monkeypatch.setattr(ifrvis, "__file__", str(first / "ifrvis" / "__init__.py"))
    monkeypatch.setattr(snapshot, "packed", lambda *parts: first.joinpath(*parts))
    assert take_snapshot(Store(tmp_path / "other")).name == first.name
    (first / "ifrvis" / "errors.py").write_text("changed = 1\n")
    assert take_snapshot(Store(tmp_path / "other")).name != first.name


def test_what_belongs_to_the_code_is_found_in_the_copy_and_all_else_where_it_is(tmp_path):
    weights = packed("experiments", "weights", "x.pth")
    assert in_snapshot(weights, tmp_path) == tmp_path / "experiments" / "weights" / "x.pth"
    assert in_snapshot(Path("/data/x.pth"), tmp_path) == Path("/data/x.pth")
