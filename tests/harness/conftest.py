"""Requests for a small table on the smoke profile, run by the fake worker."""

import json
import os
from pathlib import Path

import pytest

from ifrvis.harness.compose import load_profile
from ifrvis.harness.plan import Request
from ifrvis.harness.planner import make_plan
from ifrvis.harness.runs import Results
from ifrvis.harness.tables import load_table


@pytest.fixture
def make_request(tmp_path):
    """Make a request: `make_request(rows=..., num_seeds=..., overrides=...)`."""

    def make(table="table1", **changes):
        chosen = {"rows": ("mask2former-r50-ytvis19",), "num_seeds": 2} | changes
        return Request(
            tables=(load_table(table),),
            profile=load_profile(changes.pop("profile", "smoke")),
            data_root=tmp_path / "data",
            results=Results(tmp_path / "results"),
            **{key: value for key, value in chosen.items() if key != "profile"},
        )

    return make


@pytest.fixture
def fake(monkeypatch):
    """Set what the fake worker does: `fake(fail=[0], slow_s=0.1)`; jobs find it on their path."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]))

    def behave(**behaviour):
        monkeypatch.setenv("IFRVIS_FAKE", json.dumps(behaviour))

    behave()
    return behave


@pytest.fixture
def states():
    """The states of all evaluations of a request, as a new plan finds them."""
    return lambda request: [evaluation.state for evaluation in make_plan(request).evaluations]
