"""Which records belong to which row and seed: each to its own, whatever else is kept beside it."""

import pytest
from made_records import made_record, record_of

from ifrvis.harness.plan.plan import Request
from ifrvis.harness.plan.planner import make_plan
from ifrvis.harness.plan.status import headline, plan_lines
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.spec.tables import load_tables
from ifrvis.harness.store.paths import Store
from ifrvis.packed import packed
from ifrvis.reporting.grid import make_grid
from ifrvis.reporting.match import make_reports
from ifrvis.reporting.output import outputs_of
from ifrvis.reporting.report import COLUMNS

ROW = "mask2former-r50-ytvis19"


@pytest.fixture
def planned(tmp_path):
    """The plan of some tables, of which no data are there."""

    def make(*names, profile="smoke", **changes):
        tables = tuple(load_tables(names, load_profile("paper")))  # those for every profile
        roots = {"data_root": tmp_path / "data", "store": Store(tmp_path / "results")}
        return make_plan(Request(tables, load_profile(profile), **changes, **roots))

    return make


def records_of(plan, **changes):
    """A record of every evaluation but those of pretrainings, by the id of the evaluation."""
    said = {"profile": plan.request.profile.name} | changes
    trainings = [each for each in plan.trainings if not each.is_pretraining]
    return {id(each): record_of(training, each, **said) for training in trainings for each in training.evaluations}


def found(request, records):
    """The records of each row and seed that has any."""
    rows = [(report.table.name, each) for report in make_reports(request, records) for each in report.rows]
    return {(table, each.row.id, seed): records for table, each in rows for seed, records in each.found.items()}


@pytest.mark.parametrize("profile", ["mini", "smoke"])
def test_every_record_belongs_to_its_own_rows_and_seeds_alone(planned, profile):
    plan = planned("all", profile=profile, num_seeds=2)
    records = records_of(plan)
    own = {
        (each.table.name, each.row.id, seed): [records[id(evaluation)]]
        for each in plan.rows
        for seed, evaluation in each.evaluations.items()
    }
    assert found(plan.request, reversed(records.values())) == own


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": "smoke21"},
        {"init": "another"},
        {"scoring": 1},
        {"name": "mask2former-r50-stills-ytvis19-s0"},  # trained on stills, too, which no other key tells
        {"inference": {"mode": "whole", "side": 48}},
        {"role": "dev"},
        {"spec": None},
    ],
)
def test_a_record_of_something_else_belongs_to_no_row(planned, change):
    plan = planned("table1", rows=(ROW,), num_seeds=1)
    (record,) = records_of(plan).values()
    assert found(plan.request, [record]) == {("table1", ROW, 0): [record]}
    assert found(plan.request, [record.model_copy(update=change)]) == {}


@pytest.mark.parametrize("split", ["train", "evaluation", "pretraining"])
def test_of_a_made_set_the_fingerprint_has_to_be_its_own(planned, split):
    plan = planned("table1", rows=(ROW,), num_seeds=1)
    (training,) = (each for each in plan.trainings if not each.is_pretraining)
    (evaluation,) = training.evaluations
    key = {"train": "data", "pretraining": "init"}.get(split)
    training.spec = training.spec.model_copy(update={key: "a" * 64} if key else {})
    record = record_of(training, evaluation)
    if not key:
        record = record.model_copy(update={"data": record.data.model_copy(update={"evaluation": "a" * 64})})
    assert found(plan.request, [record]) == {}


def test_stills_of_a_made_set_stand_for_others_and_are_known_before_they_are_made(planned):
    stills = {"train.stills": {"dataset": "coco", "ratio": None}}
    plan, plain = (planned("table1", rows=(ROW,), num_seeds=1, overrides=each) for each in (stills, {}))
    (training,) = (each for each in plan.trainings if not each.is_pretraining)
    assert not plan.data_missing
    assert {each.split.makeable for each in plan.trainings} == {True}
    assert training.spec.data not in {each.spec.data for each in plain.trainings}
    right = record_of(training, training.evaluations[0])
    training.spec = training.spec.model_copy(update={"data": "a" * 64})
    assert found(plan.request, [right, record_of(training, training.evaluations[0])]) == {("table1", ROW, 0): [right]}


def test_a_claim_finds_its_rows_of_another_table_and_the_report_is_a_function_of_their_records(planned):
    plan = planned("table2", "table1", num_seeds=1)
    kept = records_of(plan)
    request = type(plan.request)(**{**vars(plan.request), "tables": plan.request.tables[:1]})
    (report,) = make_reports(request, kept.values())
    assert set(report.others) == {"table1/ours-swin-l-tta-ytvis19", "table1/ours-swin-l-ytvis19"}
    for each in report.others.values():
        (record,) = each.counted
        assert record in report.behind
        assert record not in report.records


def test_records_of_data_and_weights_that_are_not_here_are_found_and_two_of_one_seed_are_kept_apart(planned):
    plan = planned("table1", profile="paper", rows=(ROW,), num_seeds=1)
    (training,) = plan.trainings
    assert training.sig is None
    said = {"profile": "paper", "dataset": "ytvis19", "name": training.name, "init": training.init_name}
    said |= {"inference": training.evaluations[0].inference}
    one, other = (
        made_record(train=training.spec.model_copy(update={"data": digit * 64, "init": "b" * 64}), **said)
        for digit in "ac"
    )
    assert found(plan.request, [one]) == {("table1", ROW, 0): [one]}
    ((row,),) = ((report.rows) for report in make_reports(plan.request, [one, other]))
    assert (row.missing, row.counted) == ("2 records", [])
    assert row.found == {0: sorted([one, other], key=lambda record: record.file_name)}


def test_a_record_of_another_protocol_is_no_number_and_is_told(planned):
    plan = planned("table1", rows=(ROW,), num_seeds=1)
    (record,) = records_of(plan).values()
    table = plan.request.tables[0].model_copy(update={"protocol": "server"})
    (report,) = make_reports(type(plan.request)(**{**vars(plan.request), "tables": (table,)}), [record])
    assert (report.rows[0].found, report.rows[0].missing) == ({}, "other protocol")


def test_rows_of_other_tables_that_a_claim_names_need_not_have_what_is_set(planned):
    plan = planned("table1", rows=(ROW,), num_seeds=1, overrides={"model.backbone.stem_channels": 16})
    assert [*found(plan.request, records_of(plan).values())] == [("table1", ROW, 0)]


@pytest.mark.parametrize("change", [{"overrides": {"train.iterations": 3}}, {"dataset": "mini19"}])
def test_runs_off_the_specification_belong_to_reports_that_are_so_alike(planned, change):
    plain, plan = (planned("table1", rows=(ROW,), num_seeds=1, **each) for each in ({}, change))
    records = [*records_of(plan).values(), *records_of(plain).values()]
    assert found(plan.request, records) == {("table1", ROW, 0): records[:1]}
    assert found(plain.request, records) == {("table1", ROW, 0): records[1:]}


COCO, OTHER = "seqformer-r50-coco-ytvis19", "mask2former-r50-ytvis21"
STILLS = {"train.stills": {"dataset": "coco", "ratio": None}}
UNCHANGED = [
    {"overrides": {"train.iterations": 4, "train.init": "pretraining"}},  # the profile's own values
    {"overrides": STILLS, "rows": (COCO,)},
    {"overrides": {"train.stills.ratio": None}, "rows": (COCO,)},
    {"dataset": "smoke19"},
    {"dataset": str(packed("experiments", "datasets", "smoke19.yaml"))},
    {"overrides": {"inference.side": 64}},
]


@pytest.mark.parametrize("options", UNCHANGED)
def test_options_that_change_nothing_take_nothing_off_its_specification(planned, options):
    options = {"rows": (ROW,), "num_seeds": 1} | options
    plan, plain = planned("table1", **options), planned("table1", rows=options["rows"], num_seeds=1)
    assert plan.as_json() == plain.as_json()
    assert [each.off_spec for each in plan.evaluations] == [False] * len(plan.evaluations)
    records = records_of(plan)
    assert found(plain.request, records.values()) == found(plan.request, records.values()) != {}
    ours, own = (make_reports(each.request, records.values())[0] for each in (plan, plain))
    assert outputs_of(ours) == outputs_of(own)


@pytest.mark.parametrize(
    ("tables", "options", "changed"),
    [
        (["table1", "table2"], {"rows": (ROW, OTHER), "dataset": "smoke19"}, [OTHER]),
        (["table1", "table2"], {"rows": (ROW, OTHER), "overrides": {"train.iterations": 3}}, [ROW, OTHER]),
        (["table1"], {"rows": (ROW, COCO), "overrides": STILLS}, [ROW]),
        (["figure4"], {"overrides": {"model.track_head.lambda_e": 0.1}}, ["a0-", "a0.3", "a0.5", "a1.0"]),
        (["table4"], {"overrides": {"inference.clip_frames": 2}}, ["clip5-ytvis19", "clip5-ytvis21"]),
    ],
)
def test_rows_that_options_change_are_off_spec_and_no_others_each_with_its_own_records(
    planned, tables, options, changed
):
    plan, plain = planned(*tables, num_seeds=1, **options), planned(*tables, num_seeds=1, rows=options.get("rows"))
    off_spec = [each.row.id for each in plan.rows if each.off_spec]
    assert all(part in name for part, name in zip(changed, off_spec, strict=True))
    own = {(each.table.name, each.row.id, 0): each.evaluations[0] for each in plain.rows}
    for asked in (plan, plain):  # whoever has run what
        records = records_of(asked)
        shown = {name: each for name, (each,) in found(plan.request, records.values()).items()}
        if asked is plan:
            assert shown == {(e.table.name, e.row.id, 0): records[id(e.evaluations[0])] for e in plan.rows}
        theirs = {name: each for name, (each,) in found(plain.request, records.values()).items()}
        assert all(theirs[name].eval_sig == own[name].sig for name in theirs)
        assert {name[1] for name in own} - set(off_spec) <= {name[1] for name in theirs}


def test_one_run_that_two_rows_are_is_planned_once_and_no_row_of_its_own_is_off_spec(planned):
    plan = planned("figure4", num_seeds=1, overrides={"model.track_head.lambda_e": 0.1})
    (training,) = (each for each in plan.trainings if not each.is_pretraining)
    assert training.name == "ours-r50-lambda_e0.1-ytvis19-s0"
    assert [each.off_spec for each in training.evaluations] == [False]
    assert [", off-spec" in line for line in plan_lines(plan)] == [False, True, False, True, True, True]
    assert headline(plan, "", jobs=1).endswith(" Off-spec in 4 of 5 rows: not the tables' own runs.")
    (report,) = make_reports(plan.request, records_of(plan).values())
    marked = [line.heads[1].endswith(" (off-spec)") for line in make_grid(report).lines]
    assert marked == [True, False, True, True, True]
    assert make_grid(report).flags == "smoke, partly off-spec (--set model.track_head.lambda_e=0.1) · "
    assert {line[COLUMNS.index("profile")] for line in report.frame} == {"smoke", "smoke off-spec"}


def test_a_quoted_row_needs_no_recipe_and_has_no_records(planned):
    request = planned("table1", rows=(ROW,), num_seeds=1).request
    (row,) = request.selected(request.tables[0])
    quoted = row.model_copy(update={"method": "theirs", "quoted": True, "source": "Them", "protocol": "server"})
    table = request.tables[0].model_copy(update={"rows": (quoted,), "claims": ()})
    (report,) = make_reports(type(request)(**{**vars(request), "tables": (table,)}), [])
    assert (report.rows[0].found, report.rows[0].missing) == ({}, "quoted")
