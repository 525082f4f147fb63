"""The commit that a record names is that of the code that ran, or none."""

import subprocess
import sys

import pytest

from ifrvis.harness.store import provenance
from ifrvis.harness.store.provenance import SHADOWED, _code, pinned_versions
from ifrvis.harness.upkeep.doctor import _packages


def git(folder, *arguments):
    named = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    return subprocess.check_output(["git", "-C", str(folder), *named, *arguments], text=True).strip()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with this package in it, to which its provenance belongs."""
    module = tmp_path / "checkout/ifrvis/harness/store/provenance.py"
    module.parent.mkdir(parents=True)
    module.write_text("x = 1\n")
    git(tmp_path, "init", "-q", "checkout")
    git(tmp_path / "checkout", "add", ".")
    git(tmp_path / "checkout", "commit", "-q", "-m", "One")
    monkeypatch.setattr(provenance, "__file__", str(module))
    return tmp_path / "checkout"


def test_the_commit_and_what_was_not_committed_are_told(checkout):
    commit = git(checkout, "rev-parse", "HEAD")
    assert (_code().commit, _code().uncommitted) == (commit, None)
    for name in ("new.py", "n\u00e9w.py"):
        (checkout / "ifrvis" / name).write_text("y = 1\n")
        added = _code()
        assert (added.commit, len(added.uncommitted)) == (commit, 64)
        (checkout / "ifrvis" / name).write_text("y = 2\n")
        assert _code().uncommitted != added.uncommitted


def test_a_checkout_of_somebody_else_as_in_a_container_has_its_commit(checkout, monkeypatch):
    commit = git(checkout, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert _code().commit == commit


def test_the_repository_of_a_hook_is_not_taken_for_the_code(checkout, tmp_path, monkeypatch):
    commit = git(checkout, "rev-parse", "HEAD")
    git(tmp_path, "init", "-q", "other")
    git(tmp_path / "other", "commit", "-q", "--allow-empty", "-m", "Two")
    for name, path in (("GIT_DIR", ".git"), ("GIT_WORK_TREE", ""), ("GIT_INDEX_FILE", ".git/index")):
        monkeypatch.setenv(name, str(tmp_path / "other" / path))
    assert (_code().commit, _code().uncommitted) == (commit, None)


def test_where_git_cannot_say_what_has_changed_no_commit_is_told(checkout):
    (checkout / ".git/index").write_text("broken")
    assert _code().commit is None


def test_another_program_for_differences_hides_none(checkout):
    git(checkout, "config", "diff.external", "true")
    (checkout / "ifrvis/harness/store/provenance.py").write_text("x = 2\n")
    assert _code().uncommitted is not None


@pytest.mark.parametrize("file", ["mmdet/__init__.py", "mmdet-3.3.0.dist-info/METADATA"])
def test_a_host_that_may_be_another_is_not_recorded_as_the_installed_one(tmp_path, monkeypatch, file):
    """Of a checkout that PYTHONPATH names, and beside OpenMMLab's own package."""
    pinned = pinned_versions()
    assert _packages().state == "ok"
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mmdet", raising=False)
    said = provenance.provenance().versions
    assert said["onedl-mmdetection"] == pinned["onedl-mmdetection"] + SHADOWED
    assert said["onedl-mmengine"] == pinned["onedl-mmengine"]
    assert (_packages().state, _packages().found) == ("no", "another in the place of onedl-mmdetection")
