"""Requests for a small table on the smoke profile, run by the fake worker."""

import json
import os
from pathlib import Path

import fake_worker
import pytest
from made_records import iteration, made_run

from ifrvis.harness.jobs.local import LocalQueue
from ifrvis.harness.plan.plan import Request
from ifrvis.harness.plan.planner import make_plan
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.spec.tables import load_table
from ifrvis.harness.store.paths import Store


@pytest.fixture
def make_request(tmp_path):
    """Make a request: `make_request(rows=..., num_seeds=..., overrides=...)`; without pretraining unless asked for."""

    def make(table="table1", *, profile="smoke", pretraining=False, **changes):
        chosen = {"rows": ("mask2former-r50-ytvis19",), "num_seeds": 2} | changes
        loaded = load_profile(profile)
        if not pretraining and loaded.pretraining:
            alone = {method: of_method | {"train.init": None} for method, of_method in loaded.alone.items()}
            changed = {"pretraining": None, "set": loaded.set | {"train.init": None}, "alone": alone}
            loaded = loaded.model_copy(update=changed)
        return Request(
            tables=(load_table(table),),
            profile=loaded,
            data_root=tmp_path / "data",
            store=Store(tmp_path / "results"),
            **chosen,
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


@pytest.fixture
def run(tmp_path):
    """A run that nobody has tried."""
    return made_run(Store(tmp_path))


@pytest.fixture
def launch():
    """Launch a request with the fake worker: whether all succeeded, and the queue."""

    def run(request, *, jobs=2, on_poll=lambda items: None):
        how = {"run_attempt": fake_worker.run_attempt, "tell": print}
        queue = LocalQueue(make_plan(request).to_run, request, jobs=jobs, **how)
        return queue.run(on_poll), queue

    return run


@pytest.fixture
def midway(launch):
    """Launch a request and do something with the queue's items once its first run has come to a step."""

    def run(request, step, do):
        done = []

        def on_poll(items):
            if not done and iteration(items[0].attempt) >= step:
                done.append(step)
                do(items)

        result = launch(request, jobs=1, on_poll=on_poll)
        assert done
        return result

    return run
