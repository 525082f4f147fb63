"""Names of what is kept: made of signatures in one place, and understood there alone.

Also tests: ifrvis.harness.store.names.
"""

import re
from pathlib import Path

import pytest
from made_records import made_run

import ifrvis
from ifrvis.errors import UserError
from ifrvis.harness.store.names import runs_named
from ifrvis.harness.store.paths import Store, run_at, run_holding

FOLDERS = "records|runs|attempts|snapshots|jobs|scenes|bootstrap|checkpoints|predictions"


def test_a_run_is_found_by_its_name_its_folder_and_what_lies_there(tmp_path):
    store = Store(tmp_path)
    first, other = made_run(store, seed=1), made_run(store, seed=10)
    assert runs_named(store, "mask2former-r50-ytvis19-s1") == [first]  # the whole name, not the beginning of another
    assert runs_named(store, "mask2former") == [first, other]
    assert [each.folder for each in runs_named(store, str(other.folder))] == [other.folder]
    assert store.runs() == [run_at(folder) for folder in store.run_folders()] == [first, other]
    assert run_holding(first.attempts / "0001" / "x.pth") == first
    assert run_holding(tmp_path / "x.pth") is None


def test_a_folder_under_another_name_is_no_run(tmp_path):
    store = Store(tmp_path)
    folder = made_run(store).folder
    for name in ("mask2former-r50-ytvis19-s1-" + folder.name[-12:], "mask2former-r50-ytvis19-s0-" + "0" * 12, "stray"):
        folder = folder.rename(folder.with_name(name))
        with pytest.raises(UserError, match=r"^(Restore|Move) "):
            run_at(folder)
        assert store.runs() == []


def test_no_other_room_knows_the_name_of_a_folder():
    root = Path(ifrvis.__file__).parent
    sources = {path: path.read_text() for path in root.rglob("*.py") if "store" not in path.parts}
    joined = re.compile(rf"""/ f?["']({FOLDERS})["'/]|glob\(f?["']({FOLDERS})/""")
    assert [path for path, text in sources.items() if joined.search(text)] == []
