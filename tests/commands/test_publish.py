"""`publish`: what a stranger is given, and makes the tables again of.

Also tests: ifrvis.reporting.crate.
"""

import re
import shutil

import pytest
from rocrate.rocrate import ROCrate
from without_train import said_without_train

from ifrvis.files import sha256_file


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
    assert "table1.md" in verified[1]
    shutil.rmtree(there / "reports")
    assert [said[0] for said in said_without_train(commands[1:], there, program=there).values()] == [0]
    again = {f"reports/{name}": content for name, content in files_of(there / "reports").items()}
    assert again == {name: content for name, content in written.items() if name.startswith("reports/")}
    checklist = (there / "CHECKLIST.md").read_text()
    for said in ("table1 1 of 17", "2 of 5 seeds (", "seed 0 (1); seed 1 (1)", "0.02 hours", "made the record (2)"):
        assert said in checklist
    assert "- [x] What was predicted is here: of 2 of 2 records" in checklist


def test_a_folder_that_holds_something_and_results_that_are_wrong_or_none_are_refused(kept, options, tmp_path, capsys):
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
    beside = next(store.records("smoke").glob("*.videos.json.gz"))
    beside.write_bytes(b"other")
    assert kept.run("publish", str(folder), *options) == 2
    assert f"ifrvis: Restore {beside}" in capsys.readouterr().err
    assert not folder.exists()
    shutil.rmtree(store.records(""))
    assert kept.run("publish", str(folder)) == 2
    assert "Run rows first" in capsys.readouterr().err
