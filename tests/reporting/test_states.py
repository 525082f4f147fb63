"""From a plan to the state of its tables."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from ifrvis.harness.plan.plan import Evaluation, Plan, PlannedRow, Request
from ifrvis.harness.spec.tables import load_table
from ifrvis.harness.store.paths import Store
from ifrvis.reporting.frame import table_states


def plan(**options):
    table = load_table("table1")
    profile = SimpleNamespace(name="mini")
    request = Request((table,), profile, num_seeds=3, data_root=Path("data"), store=Store(Path("results")), **options)
    done = PlannedRow(table, table.rows[2])
    for seed, record in ((0, {"seed": 0}), (1, None), (2, {"seed": 2})):
        state = "complete" if record else "running"
        done.evaluations[seed] = Evaluation(None, {}, None, "heldout", None, state=state, record=record)
    absent = PlannedRow(table, table.rows[0], unavailable="not implemented")
    return Plan(request, [absent, done], [])


def test_state_holds_the_records_that_are_there_and_the_rows_states():
    (state,) = table_states(plan())
    assert (state.profile, state.seeds, state.off_spec, state.stem) == ("mini", (0, 1, 2), "", "table1")
    assert [(each.row.id, each.state, sorted(each.records)) for each in state.rows] == [
        ("seqformer-r50-coco-ytvis19", "not implemented", []),
        ("mask2former-r50-ytvis19", "running", [0, 2]),
    ]


def test_options_that_leave_the_specification_are_named_without_folders():
    (state,) = table_states(
        plan(dataset="/home/me/real_vis.yaml", init=Path("/home/me/w.pth"), overrides={"train.iterations": 3})
    )
    assert state.off_spec == "--dataset real_vis --init w.pth --set train.iterations=3"
    assert state.stem == "table1-off-spec"


def test_a_table_without_a_row_of_those_asked_for_is_not_reported():
    made = plan()
    other = load_table("table3")
    request = replace(made.request, tables=(*made.request.tables, other), num_seeds=None)
    assert [state.table.name for state in table_states(Plan(request, made.rows, []))] == ["table1"]
