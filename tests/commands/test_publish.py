"""`publish`: what a stranger is given, and makes the tables again of.

Also tests: ifrvis.reporting.crate.
"""

import json
import re
import shutil

import pytest
from made_records import made_record, made_train
from rocrate.rocrate import ROCrate
from without_train import said_without_train

from ifrvis.errors import UserError
from ifrvis.files import sha256_file, write_atomically
from ifrvis.harness.store.playback import Scene
from ifrvis.harness.store.records import publish_record, read_record


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def options(kept):
    """The profile that the records are of."""
    return ["--profile", str(kept.reports.parent / "smoke.yaml")]


def test_a_stranger_makes_every_table_again_of_the_folder_alone(kept, options, tmp_path):
    assert kept.run("publish", str(tmp_path / "crate"), *options, "--predictions") == 0
    there = shutil.move(tmp_path / "crate", tmp_path / "there")
    shutil.rmtree(kept.request.store.root)
    crate, written = ROCrate(there), files_of(there)
    digests = {each.id: each["sha256"] for each in crate.data_entities if each.type == "File"}
    assert digests == {name: sha256_file(there / name) for name in written if name != "ro-crate-metadata.json"}
    commands = [
        line.split() for line in re.findall("^    python -m ifrvis (.*)", (there / "README.md").read_text(), re.M)
    ]
    (verified,) = said_without_train(commands[:1], there, program=there).values()
    assert verified[0] == 0, verified
    assert " 0 wrong" in verified[1]
    changed = [there / name for name in ("CHECKLIST.md", "experiments/tables/table1.yaml")]
    for path in changed:
        path.write_bytes(path.read_bytes() + b"\n")
    (there / "environment.json").unlink()
    (verified,) = said_without_train(commands[:1], there, program=there).values()
    assert verified[0] == 1, verified
    for name, why in {
        "CHECKLIST.md": "it is not as it was published",
        "environment.json": "it was published, and is not here",
        "experiments/tables/table1.yaml": "it is not as it was published",
    }.items():
        assert re.search(rf"^wrong +{name} \({why}\)$", verified[1], re.M), verified
    for name in ("environment.json", *(str(path.relative_to(there)) for path in changed)):
        (there / name).write_bytes(written[name])
    shutil.rmtree(there / "reports")
    assert [said[0] for said in said_without_train(commands[1:], there, program=there).values()] == [0]
    again = {f"reports/{name}": content for name, content in files_of(there / "reports").items()}
    assert again == {name: content for name, content in written.items() if name.startswith("reports/")}
    checklist = (there / "CHECKLIST.md").read_text()
    for said in ("table1 0 of 17", "2 of 5 seeds (", "seed 0 (1); seed 1 (1)", "0.02 hours", "made the record (2)"):
        assert said in checklist
    assert "- [x] What was predicted is here: of 2 of 2 records" in checklist


def pretend_changed(_):
    raise UserError("it was changed")


def test_a_folder_that_holds_something_and_results_that_are_wrong_or_none_are_refused(
    kept, options, tmp_path, capsys, monkeypatch
):
    folder, store = tmp_path / "crate", kept.request.store
    folder.mkdir()
    (folder / "mine").touch()
    for taken in (folder, folder / "mine", tmp_path / ("x" * 300)):
        assert kept.run("publish", str(taken), *options) == 2
        assert "ifrvis: Choose a new folder, or an empty one" in capsys.readouterr().err
    assert [*files_of(folder)] == ["mine"]
    (folder / "mine").unlink()
    assert kept.run("publish", str(folder), "--profile", "mini") == 2
    assert "Run rows of profile mini first" in capsys.readouterr().err
    with monkeypatch.context() as changed:  # a clone of which large files are only named
        changed.setattr("ifrvis.harness.upkeep.verify.shipped_weights", pretend_changed)
        assert kept.run("publish", str(folder), *options) == 2
        assert "ifrvis: Restore " in (said := capsys.readouterr().err)
        assert "experiments/weights/" in said
    assert not folder.exists()
    beside = next(store.records("smoke").glob("*.videos.json.gz"))
    beside.write_bytes(b"other")
    assert kept.run("publish", str(folder), *options) == 2
    assert f"ifrvis: Restore {beside}" in capsys.readouterr().err
    assert not folder.exists()
    shutil.rmtree(store.records(""))
    assert kept.run("publish", str(folder)) == 2
    assert "Run rows first" in capsys.readouterr().err


def test_what_is_of_ones_own_videos_or_off_spec_is_published_only_if_it_is_named(kept, options, tmp_path, capsys):
    store, given = kept.request.store, ["publish", str(tmp_path / "crate"), *options, "--predictions"]
    tracks = [{"identity": 1, "name": "1", "category": "x", "masks": [None]}]
    video = {"name": "mine", "width": 4, "height": 4, "frames": ["/9j/"], "panes": [{"title": "t", "tracks": tracks}]}
    kinds = (("real_vis", False), ("own-clips", True), ("smoke19", True), ("smoke19", False))
    for seed, (dataset, off_spec) in enumerate(kinds, start=6):
        record = made_record(train=made_train(seed), dataset=dataset, off_spec=off_spec, profile="smoke")
        publish_record(store, record)
        record = next(read_record(each) for each in store.records("smoke").glob(f"*-s{seed}-*.json"))
        scene = {"dataset": dataset, "rows": ("a", "b"), "records": (record.digest,) * 2, "videos": [video]}
        scene = Scene.model_validate_json(json.dumps(scene | {"schema": 1}))
        write_atomically(store.scenes("smoke") / scene.file_name, scene.text())
        spec = store.run(record.name, record.train_sig).spec
        spec.parent.mkdir()
        spec.write_bytes(record.spec.text())
    for named, seeds in (([], "019"), (["own-clips"], "0179"), (["smoke19", "own-clips"], "01789")):
        assert kept.run(*given, *(f"--dataset={each}" for each in named)) == 0
        said, written = capsys.readouterr().out, files_of(tmp_path / "crate")
        for kind in ("records/smoke/*-s?-*[0-9a-f].json", "runs/*-s?-*/spec.json"):
            there = sorted((tmp_path / "crate/results").glob(kind))
            assert {re.search(r"-s(\d)-", str(each))[1] for each in there} == set(seeds)
        assert ("own-clips" in " ".join(map(str, written))) == ("own-clips" in named)
        assert f"frames of {len(seeds) - 2} videos" in said
        assert "records of real_vis (1)" in said  # packed, but nobody else has these videos
        left = said.partition("left out")[2]
        assert ("records of own-clips (1)" in left, "off-spec records of smoke19 (1)" in left) == (
            "7" not in seeds,
            "8" not in seeds,
        )
        shutil.rmtree(tmp_path / "crate")
    assert kept.run(*given, "--dataset=own-clip") == 2
    assert "did you mean 'own-clips'?" in capsys.readouterr().err


def test_smoke_is_published_only_if_asked_and_otherwise_that_which_has_reports(kept, tmp_path, capsys):
    for _ in range(2):
        assert kept.run("publish", str(tmp_path / "crate")) == 2
        assert (
            f"Say with --profile what to publish: {kept.request.store.root} has records of" in capsys.readouterr().err
        )
        for name in ("mini", "real"):
            publish_record(kept.request.store, made_record(profile=name))
    (kept.reports / "mini").mkdir()
    shutil.copy(kept.reports / "smoke/manifest.json", kept.reports / "mini")
    assert kept.run("publish", str(tmp_path / "crate")) == 0
    said = capsys.readouterr().out
    assert "profile mini: records of mini19 (1); no frames of videos" in said
    assert "profile smoke (--profile)" in said
    assert {each.name for each in (tmp_path / "crate/results/records").iterdir()} == {"mini"}
