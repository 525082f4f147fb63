"""`prune` and `doctor`.

Also tests: ifrvis.harness.upkeep.doctor, ifrvis.harness.upkeep.prune.
"""

import json

import pytest
from made_records import asked

from ifrvis.harness.store.attempts import claim, latest
from ifrvis.harness.store.lives import Place
from ifrvis.harness.store.names import runs_named
from ifrvis.harness.upkeep import doctor
from ifrvis.harness.upkeep.prune import prunable, prunable_of, remove


def test_checkpoints_of_complete_runs_can_go_and_predictions_behind_records_stay(kept):
    found = prunable(kept.request.store, [kept.plan()])
    assert len(found) == 4
    assert {path.parent.name for path in found} == {"checkpoints"}
    remove(found)
    assert not list(kept.request.store.root.glob("runs/*/attempts/*/checkpoints"))
    assert kept.run("verify") == 0


def test_what_a_pending_row_needs_stays_and_what_lay_beside_its_record_can_go(kept):
    (record,) = kept.request.store.root.glob("records/smoke/*-s0-*.json")
    record.unlink()
    found = prunable(kept.request.store, [kept.plan()])
    assert len(found) == 3
    assert all("-s1-" in str(path) for path in found[:2])
    assert found[2] == record.with_suffix(".videos.json.gz")


def test_predictions_that_no_record_was_made_from_can_go(kept):
    (path,) = kept.request.store.root.glob("runs/*-s0-*/predictions/*/predictions.json.gz")
    stray = path.parent.with_name("whole-00000000-000000000000") / path.name
    stray.parent.mkdir()
    stray.write_bytes(b"stray")
    assert stray.parent in prunable(kept.request.store, [kept.plan()])


def test_runs_that_live_and_runs_whose_data_are_not_here_stay(kept):
    live = kept.plan().trainings[0]
    assert claim(live.run(kept.request.store), asked()) is not None
    plan = kept.plan()
    assert all("-s1-" in str(path) for path in prunable(kept.request.store, [plan]))
    plan.trainings[1].sig = None
    assert prunable(kept.request.store, [plan]) == []


@pytest.mark.parametrize("complete", [True, False])
def test_what_no_plan_knows_goes_if_it_is_asked_for_by_name(kept, complete):
    """Runs of own tables, off-spec runs, and those that are not complete: checkpoints are hours."""
    results = kept.request.store
    if not complete:
        for record in results.root.glob("records/smoke/*.json"):
            record.unlink()
    plans = [kept.plan()] if not complete else []
    assert [path for path in prunable(results, plans) if "records" not in path.parts] == []
    (named,) = runs_named(results, "mask2former-r50-ytvis19-s1")
    found = [path for path in prunable_of(results, [named]) if "records" not in path.parts]
    assert len([path for path in found if path.parent.name == "checkpoints"]) == 2
    assert len(found) == 2 + (not complete)  # predictions, too, if no record was made from them
    assert all("-s1-" in str(path) for path in found)


@pytest.mark.parametrize(("kind", "goes"), [("", True), ("error", True), ("cancelled", True), ("timeout", False)])
def test_copies_of_the_code_stay_while_a_job_may_be_requeued(kept, kind, goes):
    root = kept.request.store.root
    copies = [root / "jobs" / "ifrvis-0a" / "submit.sh", root / "snapshots" / "0b" / "ifrvis" / "cli.py"]
    for path in copies:
        path.parent.mkdir(parents=True)
        path.write_text("code")
    attempt = latest(kept.plan().trainings[0].run(kept.request.store))
    attempt.put(Place(name="ifrvis-0a", index=0, cluster="mine", user=0))
    attempt.end("stopped" if kind else "complete", kind=kind)
    found = [path for path in prunable(kept.request.store, [kept.plan()]) if path.is_dir()]
    assert found == ([root / "jobs" / "ifrvis-0a", root / "snapshots" / "0b"] if goes else [])
    remove(found)
    assert [path.exists() for path in copies] == [not goes, not goes]


def test_prune_lists_bytes_and_removes_nothing_before_yes(kept, capsys):
    before = sorted(kept.request.store.root.rglob("*"))
    assert kept.run("prune", "--yes") == 0
    assert capsys.readouterr().out.startswith("nothing can go")  # no packed profile is this one
    assert kept.run("prune", "mask2former-r50") == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("can go; add --yes to remove them")
    assert sorted(kept.request.store.root.rglob("*")) == before
    assert kept.run("prune", "mask2former-r50", "--yes") == 0
    assert not list(kept.request.store.root.glob("runs/*/attempts/*/checkpoints"))
    assert kept.run("prune", "nothing") == 2


def test_prune_of_a_name_removes_nothing_else(kept, monkeypatch, capsys):
    """Whatever else could go: other complete runs, what jobs have left."""
    monkeypatch.setattr("ifrvis.harness.upkeep.prune.known_plans", lambda *roots: [kept.plan()])
    root = kept.request.store.root
    (root / "snapshots" / "0b").mkdir(parents=True)
    assert len(prunable(kept.request.store, [kept.plan()])) == 5
    assert kept.run("prune", "mask2former-r50-ytvis19-s1", "--yes") == 0
    left = prunable(kept.request.store, [kept.plan()])
    assert len(left) == 3
    assert not any("-s1-" in str(path) for path in left)
    assert kept.run("prune", "--yes") == 0
    assert prunable(kept.request.store, [kept.plan()]) == []


def test_doctor_says_what_to_do_about_each_no_and_exits_1(kept, monkeypatch, capsys):
    said = []

    def probed():
        said.append(capsys.readouterr().out)  # what stands there while torch is imported
        return {"torch": "2.13.0", "cuda": False, "attention": "cpu"}

    monkeypatch.setattr(doctor, "probe_host", probed)
    assert kept.run("doctor", "table1", "--profile", "smoke") == 0
    printed = capsys.readouterr().out
    assert said[0].startswith("For table1 under profile smoke (as asked):\n  ok    Python ")
    assert "no GPU; profile smoke needs none" in printed
    assert "not needed on a CPU" in printed
    assert "ok    hard links" in printed
    assert "ok    caches" in printed
    assert kept.run("doctor", "--profile", "paper", "--json") == 1
    assert said[1] == ""
    checks = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert {name for name, each in checks.items() if each["state"] == "no"} >= {"CUDA", "data"}
    assert "ytvis2019/train.json does not exist" in checks["data"]["cure"]
    assert all(each["cure"] for each in checks.values() if each["state"] == "no")


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ({"error": "ImportError: no torch"}, "torch"),
        ({"torch": "2", "error": "undefined symbol"}, "mmcv's operators"),
        # mmcv imports on a machine with a GPU, as its operators are compiled for a CPU, and cannot run there
        ({"torch": "2", "cuda": True, "error": "ms_deform_attn_impl_forward: not compiled"}, "mmcv's operators"),
    ],
)
def test_doctor_finds_what_the_host_lacks(kept, monkeypatch, said, name):
    monkeypatch.setattr(doctor, "probe_host", lambda: said)
    (check,) = (each for each in doctor.examine(kept.plan()) if each.name == name)
    assert check.state == "no"
    assert "make setup" in check.cure


def test_doctor_says_that_importing_torch_took_too_long(monkeypatch):
    monkeypatch.setattr(doctor, "PROBE_LIMIT_S", 0.01)
    assert doctor.probe_host() == {"error": "the process that tried to import it was not done after 0.01 s"}


def test_doctor_runs_attention_and_its_gradients_on_the_device_there_is():
    said = doctor.probe_host()
    assert "error" not in said
    assert said["attention"] == "cpu" if not said["cuda"] else said["attention"]
