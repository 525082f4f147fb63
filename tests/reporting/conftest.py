"""States of small tables with known records, and golden files rewritten under UPDATE_GOLDEN=1."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ifrvis.harness.tables import load_table
from ifrvis.reporting.frame import RowState, TableState

GOLDEN = Path(__file__).parents[1] / "golden" / "reporting"


def record(row, seed, metrics, profile):
    return {
        "schema": 1,
        "digest": f"{seed:064x}",
        "name": f"{row.id}-seed{seed}",
        "train_sig": f"{seed:064x}",
        "eval_sig": f"{seed + 256:064x}",
        "seed": seed,
        "method": row.method,
        "backbone": row.backbone,
        "dataset": row.dataset if profile == "paper" else row.dataset.replace("ytvis", "mini"),
        "protocol": "heldout",
        "metrics": metrics,
    }


@pytest.fixture
def make_state():
    """A state of some rows of a packed table: `values[row id][seed]` is one value for every metric, or a dict."""

    def build(name, values, *, seeds=(0, 1), profile="mini", states=None, off_spec="", **changes):
        table = replace(load_table(name), **changes)
        rows = []
        for row in table.rows:
            if row.id in values:
                metrics = {
                    seed: each if isinstance(each, dict) else dict.fromkeys(table.metrics, each)
                    for seed, each in values[row.id].items()
                }
                records = {seed: record(row, seed, each, profile) for seed, each in metrics.items()}
                rows.append(RowState(row, (states or {}).get(row.id, "complete"), records))
        return TableState(table, profile, tuple(seeds), tuple(rows), off_spec)

    return build


@pytest.fixture
def golden():
    """Compare a text with a golden file; with UPDATE_GOLDEN=1 in the environment write it instead."""

    def check(name, text):
        path = GOLDEN / name
        if os.environ.get("UPDATE_GOLDEN") == "1":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.read_text(encoding="utf-8") == text, "review the change, then run with UPDATE_GOLDEN=1"

    return check
