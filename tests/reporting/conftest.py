"""States of small tables with known records."""

import pytest

from ifrvis.harness.spec.tables import load_table
from ifrvis.reporting.frame import RowState, TableState


def record(row, seed, metrics, profile, protocol):
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
        "protocol": protocol,
        "metrics": metrics,
        "attempts": [{"reason": "complete", "kind": "", "seconds": 720.0}],
        "peak_memory_bytes": 3 << 30,
        "provenance": {"code": {"version": "1", "commit": "c" * 40}, "versions": {"torch": "2"}},
    }


@pytest.fixture
def make_state():
    """A state of some rows of a packed table: `values[row id][seed]` is one value for every metric, or a dict."""

    def build(name, values, *, seeds=(0, 1), profile="mini", states=None, off_spec="", scored="heldout", **changes):
        table = load_table(name).model_copy(update=changes)
        rows = []
        for row in table.rows:
            if row.id in values:
                metrics = {
                    seed: each if isinstance(each, dict) else dict.fromkeys(table.metrics, each)
                    for seed, each in values[row.id].items()
                }
                records = {seed: record(row, seed, each, profile, scored) for seed, each in metrics.items()}
                rows.append(RowState(row, (states or {}).get(row.id, "complete"), records))
        return TableState(table, profile, tuple(seeds), tuple(rows), off_spec)

    return build
