"""Identity: every key that changes the numbers changes the signature, nothing else does."""

import pytest

from ifrvis.files import temporary_beside
from ifrvis.harness.spec.compose import Composed, compose
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.spec.signatures import TrainSpec, eval_signature, run_name, train_signature, train_spec
from ifrvis.harness.store.paths import record_name, videos_beside

SMOKE = compose("mask2former", "r50", "ytvis19", load_profile("smoke"), num_classes=4)
COMPOSED = Composed(SMOKE.model, SMOKE.train | {"workers_of_a_machine": 4}, SMOKE.inference, {})
SPEC = train_spec(COMPOSED, data="d" * 64, init="e" * 64, seed=0)


def test_the_specification_holds_exactly_the_keys_of_the_design():
    assert len(TrainSpec.model_fields) == 12
    assert "workers_of_a_machine" not in SPEC.model_dump()


@pytest.mark.parametrize("key", TrainSpec.model_fields)
def test_each_key_changes_the_signature(key):
    other = {dict: {"other": 1}, int: 7, str: "f" * 64}[type(getattr(SPEC, key))]
    assert train_signature(SPEC.model_copy(update={key: other})) != train_signature(SPEC)


def test_order_and_machine_settings_do_not():
    assert train_signature(TrainSpec(**dict(reversed(SPEC.model_dump().items())))) == train_signature(SPEC)
    other = Composed(COMPOSED.model, COMPOSED.train | {"workers_of_a_machine": 9}, COMPOSED.inference, {})
    assert train_signature(train_spec(other, data="d" * 64, init="e" * 64, seed=0)) == train_signature(SPEC)


def test_a_name_tells_of_many_changes_what_has_room(tmp_path):
    changes = {f"train.optimizer.key_number_{number}": number for number in range(10, 30)}
    name = run_name("mask2former", "r50", changes=changes, dataset="ytvis19", seed=3)
    assert name.startswith("mask2former-r50-key_number_1010-key_number_1111-")
    assert name.endswith("-ytvis19-s3")
    record = tmp_path / record_name(name, "a" * 64, "b" * 64)
    with temporary_beside(videos_beside(record)) as (_, path):
        assert len(path.name) == 255


def test_training_inference_and_split_each_change_the_evaluation():
    base = eval_signature("a" * 64, {"mode": "whole"}, "b" * 64)
    others = {
        eval_signature("c" * 64, {"mode": "whole"}, "b" * 64),
        eval_signature("a" * 64, {"mode": "clips"}, "b" * 64),
        eval_signature("a" * 64, {"mode": "whole"}, "c" * 64),
    }
    assert len(others | {base}) == 4


def test_names_come_from_content():
    assert run_name("ours", "r50", "ytvis19", {}, 3) == "ours-r50-ytvis19-s3"
    stills = [
        {"dataset": name, "ratio": ratio} for name, ratio in (("coco", None), ("coco", 0.5), ("/x/my.yaml", None))
    ]
    names = [run_name("ours", "r50", "ytvis19", {"train.stills": each}, 0) for each in stills]
    parts = ("stills", "stills0.5", "stillsmy.yaml")  # what no signature tells before the data are there
    assert names == [f"ours-r50-{part}-ytvis19-s0" for part in parts]
    theirs = {"dataset": "/x/\u65e5\u672c.yaml", "ratio": None}  # file systems count bytes
    assert run_name("ours", "r50", "ytvis19", {"train.stills": theirs}, 0) == "ours-r50-stills__.yaml-ytvis19-s0"
    name = run_name("ours", "r50", "ytvis19", {"model.track_head.lambda_e": 0.1}, 0)
    assert name == "ours-r50-lambda_e0.1-ytvis19-s0"
