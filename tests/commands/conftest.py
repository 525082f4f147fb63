"""Kept results of one row, made without training: two seeds and the report of them."""

from dataclasses import dataclass
from pathlib import Path

import kept_runs
import pytest

from ifrvis.cli import main
from ifrvis.harness.plan.plan import Request
from ifrvis.harness.plan.planner import make_plan

ROW = "mask2former-r50-ytvis19"


@dataclass
class Kept:
    """Where everything lies, and the options that say so."""

    roots: list[str]
    request: Request
    reports: Path

    def plan(self):
        return make_plan(self.request)

    def run(self, *arguments):
        return main([*arguments, *self.roots])


@pytest.fixture(scope="session")
def smoke_data(tmp_path_factory):
    """A data root that all share."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def kept(smoke_data, tmp_path, capsys, monkeypatch):
    """Two finished runs of one row, without pretraining, and the report of them."""
    monkeypatch.setattr("os.fsync", lambda _: None)  # nothing here outlives the power, and it takes most of the time
    request = kept_runs.kept(tmp_path, ["table1"], (ROW,), 2, data_root=smoke_data)
    found = Kept(kept_runs.roots_of(request, tmp_path / "reports"), request, tmp_path / "reports")
    options = ["--profile", f"{tmp_path}/smoke.yaml", "--rows", ROW, "--seeds", "2"]
    assert found.run("report", "table1", *options) == 0
    capsys.readouterr()
    return found
