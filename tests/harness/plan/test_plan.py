"""The plan: what is shared, what exists, what is missing.

Also tests: ifrvis.harness.plan.planner.
"""

import dataclasses
import json
import shutil

from ifrvis.harness.jobs.queue import submission
from ifrvis.harness.plan.planner import make_plan
from ifrvis.harness.plan.status import plan_lines
from ifrvis.harness.spec.tables import load_table
from ifrvis.harness.store.lives import Handling
from ifrvis.packed import packed


def test_the_shape_that_json_has(make_request):
    shown = json.loads(json.dumps(make_plan(make_request(rows=None)).as_json()))
    assert set(shown) == {"tables", "trainings", "evaluations"}
    (table,) = shown["tables"]
    assert len(table["rows"]) == 17
    assert all(set(row) == {"id", "method", "backbone", "dataset", "state", "published"} for row in table["rows"])
    by_id = {row["id"]: row for row in table["rows"]}
    assert by_id["mask2former-r50-ytvis19"]["published"]["AP"] == [46.4, 0.8]
    assert by_id["mask2former-r50-ytvis19"]["published"]["AR1"] == [None, None]
    assert by_id["seqformer-r50-coco-ytvis19"]["state"] == "pending"
    training = next(each for each in shown["trainings"] if "table1/mask2former-r50-ytvis19" in each["rows"])
    assert set(training) == {"sig", "name", "seed", "rows", "state", "after", "est_gpu_hours"}
    assert training["rows"] == ["table1/mask2former-r50-ytvis19"]
    assert set(shown["evaluations"][0]) == {"sig", "train_sig", "rows", "inference", "state"}
    assert training["sig"] in {each["train_sig"] for each in shown["evaluations"]}


def test_rows_that_start_from_one_pretraining_share_it_and_know_its_identity(make_request):
    request = make_request(pretraining=True, rows=("mask2former-r50-ytvis19", "mask2former-swin-t-ytvis19"))
    trainings = make_plan(request).trainings
    assert [each.name for each in trainings[:2]] == ["pretraining-r50-smoke19", "pretraining-swin-t-smoke19"]
    assert [each.spec.init for each in trainings[2:]] == [trainings[0].sig] * 2 + [trainings[1].sig] * 2
    assert trainings[0].rows == ["table1/mask2former-r50-ytvis19"]
    shown = make_plan(request).as_json()["trainings"]
    assert shown[2]["after"] == [trainings[0].sig]


def test_a_pretraining_whose_weights_are_gone_is_made_again_where_needed(make_request, fake, launch, tmp_path):
    fake(log=str(tmp_path / "starts"))
    assert launch(one := make_request(pretraining=True, num_seeds=1))[0]
    shutil.rmtree(tmp_path / "results" / "runs")  # as in a clone, which has records alone
    assert make_plan(one).to_run == []
    assert plan_lines(make_plan(one))[-1].endswith("1/1  complete")
    two = make_request(pretraining=True, num_seeds=2)
    plan = make_plan(two)
    assert [each.name for each in plan.to_run] == ["pretraining-r50-smoke19", "mask2former-r50-ytvis19-s1"]
    assert [each.state for each in plan.trainings] == ["pending", "complete", "pending"]
    assert plan_lines(plan)[-1].startswith("pretraining-r50-smoke19 is trained again: its weights are not here")
    assert launch(two)[0]
    assert make_plan(two).to_run == []
    assert plan_lines(make_plan(two))[-1].endswith("2/2  complete")
    assert len((tmp_path / "starts").read_text().splitlines()) == 4


def test_missing_data_has_no_identity_and_says_where_it_goes(make_request):
    plan = make_plan(make_request(profile="paper"))
    assert [training.sig for training in plan.trainings] == [None, None]
    assert plan.rows[0].state == "data missing"
    data, weights = plan.data_missing
    assert "ytvis2019/train.json does not exist" in data
    assert "weights/mask2former_r50_coco_instance.pth does not exist" in weights


def test_machine_settings_leave_every_signature_alone(make_request, tmp_path):
    request = make_request()
    moved = dataclasses.replace(request, data_root=tmp_path / "elsewhere")
    before, after = make_plan(request), make_plan(moved)
    assert [each.sig for each in before.evaluations] == [each.sig for each in after.evaluations]
    asked = [submission(before.trainings[0], request, Handling(workers=workers)) for workers in (0, 4)]
    assert asked[0].model_copy(update={"workers": 4}) == asked[1]


def test_two_datasets_of_one_name_stay_two(make_request, tmp_path):
    for name, seed in (("a", 19), ("b", 20)):
        text = packed("experiments", "datasets", "smoke19.yaml").read_text().replace("name: smoke19", "name: mine")
        (tmp_path / f"{name}.yaml").write_text(text.replace("seed: 19", f"seed: {seed}"))
    request = make_request(rows=("mask2former-r50-ytvis19", "mask2former-r50-ytvis21"), num_seeds=1)
    named = {"ytvis19": f"{tmp_path}/a.yaml", "ytvis21": f"{tmp_path}/b.yaml"}
    profile = request.profile.model_copy(update={"datasets": named})
    request = dataclasses.replace(request, profile=profile, tables=(*request.tables, load_table("table2")))
    assert len({each.split.fingerprint for each in make_plan(request).trainings}) == 2


def test_length_evaluates_each_training_of_the_ablation_and_of_table_3s_resnets_five_times_and_trains_none(
    make_request,
):
    tables = tuple(map(load_table, ("ablation", "table3", "length")))
    plan = make_plan(dataclasses.replace(make_request(rows=None, num_seeds=1), tables=tables))
    named = {each.name: {row.partition("/")[0] for row in each.rows} for each in plan.trainings}
    assert all("length" in tables for name, tables in named.items() if "-r50-" in name)
    assert {"length"} not in named.values()
    rows = [row for row in tables[-1].rows if not row.frames]
    of_table3 = {"mask2former-r50-ytvis21", "ours-r50-ytvis21"}
    assert {row.id for row in rows} == {row.id for row in tables[0].rows} | of_table3
    for row in rows:
        (stem, _, dataset), same = row.id.rpartition("-"), {"id", "label", "frames"}
        cut = [each for each in tables[-1].rows if each.id.startswith(f"{stem}-frames") and each.id.endswith(dataset)]
        assert [(each.frames, each.label) for each in cut] == [(n, str(n)) for n in (2, 6, 12, 24)]
        assert all(each.model_dump(exclude=same) == row.model_dump(exclude=same) for each in cut)
    assert len({each.sig for each in plan.evaluations}) == len(plan.evaluations)
    assert sum(each.split.part.frames is not None for each in plan.evaluations) == 4 * 13  # two rows are one training


def test_a_pretraining_on_data_that_are_not_here_is_missing_them(make_request):
    request = make_request(pretraining=True, num_seeds=1)
    declared = request.profile.pretraining.model_copy(update={"dataset": "ytvis19"})
    profile = request.profile.model_copy(update={"pretraining": declared})
    plan = make_plan(dataclasses.replace(request, profile=profile))
    assert [each.state for each in plan.trainings] == ["data missing"] * 2
    assert any("Put YouTube-VIS 2019 where it is expected" in each for each in plan.data_missing), plan.data_missing
    assert plan.to_run == []


def test_rows_on_real_clips_start_from_minis_pretraining(make_request):
    real, mini = (
        make_plan(make_request(table, profile=profile, pretraining=True, rows=None, num_seeds=1))
        for table, profile in (("real", "real"), ("table3", "mini"))
    )
    (sig,) = {each.sig for each in real.trainings if each.is_pretraining}
    assert sig in {each.sig for each in mini.trainings if each.backbone == "r50"}, "set back in `real` what `mini` sets"
    assert {each.after.sig for each in real.trainings if each.after} == {sig}


def test_each_real_clip_is_evaluated_on_its_own(make_request, monkeypatch, real_vis):
    monkeypatch.setenv("IFRVIS_TEST_DATA", str(real_vis.parent))
    plan = make_plan(make_request("real", profile="real", pretraining=True, rows=None, num_seeds=1))
    _, baseline, ours = plan.trainings
    trained = {video.name for video in baseline.split.read().videos}
    assert trained == {"boys_beach_a", "boys_beach_b", "boys_beach_c", "caps", "bacteria", "hela_a"}
    assert not plan.data_missing
    for training in (baseline, ours):
        clips = [[(video.name, video.length) for video in each.split.read().videos] for each in training.evaluations]
        assert clips == [[("trampoline", 20)], [("hela_b", 10)]]
        assert min(training.spec.model["track_head"]["num_queries"], training.evaluations[1].inference["topk"]) >= 58
