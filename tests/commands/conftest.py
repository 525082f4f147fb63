"""Kept results of one row, made without training: two seeds and the report of them."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from kept_runs import finish

from ifrvis.cli import main
from ifrvis.datasets.catalog import load_dataset
from ifrvis.harness.plan.plan import Request
from ifrvis.harness.plan.planner import make_plan
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.spec.tables import load_table
from ifrvis.harness.store.paths import Store

ROW = "mask2former-r50-ytvis19"
SMOKE = ["--profile", "smoke", "--rows", ROW, "--seeds", "2"]


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
    """A data root with the held-out split of the smoke set."""
    root = tmp_path_factory.mktemp("data")
    load_dataset("smoke19", root).make("heldout")
    return root


@pytest.fixture
def kept(smoke_data, tmp_path, capsys, monkeypatch):
    """Two finished runs of one row, without pretraining, and the report of them."""
    monkeypatch.setattr("os.fsync", lambda _: None)  # nothing here outlives the power, and it takes most of the time
    profile = tmp_path / "smoke.yaml"
    text = (Path(__file__).parents[2] / "experiments" / "profiles" / "smoke.yaml").read_text()
    profile.write_text(text.replace("train.init: pretraining", "train.init: null"))
    results, reports = tmp_path / "results", tmp_path / "reports"
    request = Request(
        (load_table("table1"),), load_profile(str(profile)), (ROW,), 2, data_root=smoke_data, store=Store(results)
    )
    for training in make_plan(request).trainings:
        finish(training, request)
    roots = ["--data-root", str(smoke_data), "--results", str(results), "--reports", str(reports)]
    found = Kept(roots, request, reports)
    assert found.run("report", "table1", "--profile", str(profile), "--rows", ROW, "--seeds", "2") == 0
    capsys.readouterr()
    return found
