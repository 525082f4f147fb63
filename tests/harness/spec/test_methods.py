"""Methods of packages from outside: the one of `docs/add-a-method.md`, planned, run, copied and named."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from outside_package import METHOD, MODULE, ROW, install

from ifrvis.errors import UserError
from ifrvis.harness.jobs import snapshot
from ifrvis.harness.plan.planner import make_plan
from ifrvis.harness.spec import allowed, methods, recipes
from ifrvis.harness.spec.methods import Package, packages
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.spec.tables import load_table
from ifrvis.harness.store.paths import Store
from ifrvis.harness.store.provenance import Code, provenance

ROOT = Path(__file__).parents[3]
HEAD = {"track_head": {"type": "FrameClassHead"}}


@pytest.fixture
def hers(tmp_path, monkeypatch):
    """The package as it is found when it is installed, in this process."""
    folder = install(tmp_path / "hers")
    monkeypatch.syspath_prepend(str(folder))
    known = (packages, recipes.packaged_config, recipes.recipe, allowed._known, allowed._types_of)
    for each in known:
        each.cache_clear()
    yield packages()[1]
    monkeypatch.undo()
    for each in known:
        each.cache_clear()


def in_process(folder, *arguments, **more):
    """Python with the package's folder on its path."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], env=environment, capture_output=True, text=True, **more
    )


def test_what_is_installed_may_be_named_and_nothing_else(hers):
    assert (hers.name, hers.version) == (MODULE, "0.1")
    assert MODULE not in sys.modules, "it is not imported"
    allowed.check_types({"model": HEAD}, "here")
    assert allowed.brought_by(HEAD) == [hers]
    assert not allowed.brought_by({"track_head": {"type": "IFRHead"}}), "a base's types are not hers"
    with pytest.raises(UserError, match=r"^Set model\.track_head\.type"):
        allowed.check_types({"model": {"track_head": {"type": "AnotherHead"}}}, "here")


def test_what_is_not_installed_may_not_be_named():
    with pytest.raises(UserError, match=r"^Set model\.track_head\.type"):
        allowed.check_types({"model": HEAD}, "here")


@pytest.mark.parametrize("value", ["nowhere", "os:path", "os", "experiments", "ifrvis"])
def test_an_entry_point_that_names_no_package_is_said(tmp_path, monkeypatch, value):
    entry = type("Entry", (), {"name": "x", "value": value, "dist": None})
    monkeypatch.setattr(methods, "entry_points", lambda group: [entry])
    with pytest.raises(UserError, match=r"^Let the entry point 'x' of ifrvis\.methods name a package"):
        methods._outside(tmp_path)


def test_a_package_that_cannot_be_imported_is_named(hers):
    (hers.folder / "__init__.py").write_text("1 / 0\n")
    with pytest.raises(UserError, match=r"^Repair frame_classes, .*ZeroDivisionError"):
        allowed.register_types(HEAD)


def test_a_package_adds_to_profiles_for_its_own_methods_alone(hers):
    path = hers.folder / "profiles" / "mini.yaml"
    path.parent.mkdir()
    added = {"methods": {METHOD: {"model.track_head.copy_image_decoder": True}}, "pretrained_by": {METHOD: "ours"}}
    path.write_text(json.dumps(added))
    profile = load_profile("mini")
    assert profile.methods.keys() == {"ours", METHOD}
    assert profile.pretraining.behind(METHOD) == ("ours", "pretraining-ours")
    assert profile.pretraining.behind("ours") == ("mask2former", "pretraining")
    path.write_text(json.dumps({"pretrained_by": {METHOD: "nobody"}}))
    with pytest.raises(UserError, match=r"^Rename 'nobody' in 'methods' to one of .*mini\.yaml"):
        load_profile("mini")
    path.write_text(json.dumps({"methods": {"ours": {}}}))
    with pytest.raises(UserError, match=r"^Remove 'ours' from .*mini\.yaml: a package speaks of the methods"):
        load_profile("mini")


def test_a_pretraining_belongs_to_a_method_and_a_backbone(hers, make_request):
    """Her method starts from Mask2Former's unless it is said to be trained on stills itself, or by another."""
    table = load_table(str(hers.folder.parent / "my-table.yaml"))
    request = make_request(rows=None, num_seeds=1, pretraining=True)

    def planned(**of):
        pretraining = request.profile.pretraining.model_copy(update={"of": of})
        changed = {"tables": (table,), "profile": request.profile.model_copy(update={"pretraining": pretraining})}
        trainings = make_plan(type(request)(**{**vars(request), **changed})).trainings
        return {each.name: (each.sig, each.after and each.after.name) for each in trainings}

    shared, own = planned(), planned(**{METHOD: METHOD})
    assert list(shared) == ["pretraining-r50-smoke19", "ours-r50-ytvis19-s0", f"{ROW}-s0"]
    assert {after for _, after in shared.values()} == {None, "pretraining-r50-smoke19"}
    assert own[f"{ROW}-s0"][1] == f"pretraining-{METHOD}-r50-smoke19"
    assert own["ours-r50-ytvis19-s0"] == shared["ours-r50-ytvis19-s0"]
    assert own["pretraining-r50-smoke19"] == shared["pretraining-r50-smoke19"]
    assert own[f"{ROW}-s0"][0] != shared[f"{ROW}-s0"][0]


def test_a_copy_of_the_code_has_the_package_and_knows_it_whatever_is_installed(hers, tmp_path):
    copy = snapshot.take_snapshot(Store(tmp_path / "results"))
    before = provenance(HEAD).code.methods
    assert before[MODULE].model_dump() == {"version": "0.1", "sha256": hers.digest()}
    assert provenance({}).code.methods == {}
    (hers.folder / "__init__.py").write_text("1 / 0\n")
    assert snapshot.take_snapshot(Store(tmp_path / "results")) != copy
    code = (
        "import json, ifrvis.harness.spec.allowed as a, ifrvis.harness.store.provenance as p, frame_classes as f;"
        f"print(f.__file__, json.dumps(p.provenance({HEAD}).code.model_dump()['methods']))"
    )
    done = in_process(copy, "-P", "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    where, _, found = done.stdout.partition(" ")
    assert where == str(copy / MODULE / "__init__.py")
    assert json.loads(found)[MODULE] == before[MODULE].model_dump()


def test_records_without_such_packages_say_what_they_always_said():
    assert Code(version="1").model_dump() == {"version": "1", "commit": None, "uncommitted": None}


def test_a_plan_imports_neither_the_package_nor_torch_nor_numpy(tmp_path):
    folder = install(tmp_path / "hers")
    arguments = ["plan", "my-table.yaml", "--profile", "smoke", "--seeds", "1", "--json"]
    absent = {"torch", "numpy", MODULE}
    code = f"import sys, ifrvis.cli; ifrvis.cli.main({arguments}); assert not {absent} & {{*sys.modules}}"
    done = in_process(folder, "-c", code, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert {each["id"]: each["state"] for each in json.loads(done.stdout)["tables"][0]["rows"]}[ROW] == "pending"


@pytest.mark.slow
def test_a_row_of_the_package_runs_here_and_its_record_names_it(tmp_path):
    folder = install(tmp_path / "hers")
    arguments = ["-m", "ifrvis", "run", "my-table.yaml", "--profile", "smoke", "--seeds", "1", "--rows", ROW]
    done = in_process(folder, *arguments, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (folder / "results" / "records" / "smoke").glob(f"{ROW}-*.json")
    record = json.loads(path.read_text())
    assert record["spec"]["train"]["model"]["track_head"]["type"] == "FrameClassHead"
    own = Package(MODULE, MODULE, folder / MODULE, folder / MODULE, "0.1")
    assert record["provenance"]["code"]["methods"] == {MODULE: {"version": "0.1", "sha256": own.digest()}}
    asked = ["predict", f"{ROW}-s0", "smoke19:heldout/id=1", "--out", "p"]
    predicted = in_process(folder, "-m", "ifrvis", *asked, cwd=folder)
    assert predicted.returncode == 0, predicted.stderr
