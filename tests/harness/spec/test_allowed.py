"""Data never runs code: what no packaged recipe names is refused wherever a specification comes from."""

import json
import os

import pytest
import yaml
from made_records import asked, evaluation

from ifrvis.cli import main
from ifrvis.errors import UserError
from ifrvis.harness.spec.allowed import check_training, check_types, differing
from ifrvis.harness.spec.compose import compose
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.spec.signatures import train_signature, train_spec
from ifrvis.harness.store.attempts import attempts_of, claim
from ifrvis.harness.store.paths import Store
from ifrvis.options import leaves
from ifrvis.packed import packed
from ifrvis.worker import run_attempt


@pytest.fixture
def hostile(tmp_path):
    """Types that run a command when something builds them, and whether one did."""
    mark = tmp_path / "it-ran"
    command = {"type": "os.system", "command": f"touch {mark}"}

    def ran():
        return mark.exists()

    os.system(command["command"])  # the command itself works
    assert ran()
    mark.unlink()
    return command, ran


def thin():
    """The parts of a specification that are sound."""
    composed = compose("ours", "r50", "ytvis19", load_profile("smoke"), num_classes=4)
    return composed, train_spec(composed, data="0" * 64, init=None, seed=0)


def refused(*arguments, capsys):
    assert main([*map(str, arguments)]) == 2
    return capsys.readouterr().err


def hostile_table(tmp_path, command):
    table = yaml.safe_load(packed("experiments", "tables", "table1.yaml").read_text())
    row = next(row for row in table["rows"] if row["method"] == "ours")
    (tmp_path / "t.yaml").write_text(
        json.dumps(table | {"name": "mine", "rows": [row | {"set": {"model.backbone": command}}], "claims": []})
    )
    return [tmp_path / "t.yaml", "--profile", "smoke"]


def hostile_profile(tmp_path, command):
    profile = load_profile("smoke").model_dump(mode="json")
    profile["backbones"]["r50"]["model.backbone.norm_cfg"] = command
    (tmp_path / "p.yaml").write_text(json.dumps(profile))
    return ["table1", "--profile", tmp_path / "p.yaml"]


def hostile_option(tmp_path, command):
    return ["table1", "--profile", "smoke", "--set", f"model.data_preprocessor={json.dumps(command)}"]


@pytest.mark.parametrize("command", ["plan", "run"])
@pytest.mark.parametrize("asked", [hostile_table, hostile_profile, hostile_option])
def test_tables_profiles_and_options_run_nothing(hostile, asked, command, tmp_path, capsys):
    places = [f"--data-root={tmp_path}/data", f"--results={tmp_path}/results"]
    assert "'os.system'." in refused(command, *asked(tmp_path, hostile[0]), *places, capsys=capsys)
    assert not hostile[1]()
    assert not (tmp_path / "results").exists()


@pytest.fixture
def run_from_elsewhere(hostile, tmp_path):
    """A run's folder whose specification has the signature that its name says."""
    composed, spec = thin()
    spec.model["backbone"] = hostile[0]
    run = Store(tmp_path / "results").run("ours-r50-ytvis19-s0", train_signature(spec))
    run.write_spec(spec)
    return claim(run, asked(evaluations=(evaluation(composed.inference),)))


def test_a_run_from_elsewhere_runs_nothing(hostile, run_from_elsewhere, tmp_path, capsys):
    weights = run_from_elsewhere.folder / "w.pth"
    weights.write_bytes(b"")
    (tmp_path / "frames").mkdir()
    for model in ("ours", weights):
        error = refused("predict", model, tmp_path / "frames", f"--results={tmp_path}/results", capsys=capsys)
        assert "or remove 'command' from model.backbone of " in error
    run_attempt(str(run_from_elsewhere.folder))
    ending = attempts_of(run_from_elsewhere.run)[-1].ending()
    assert (ending.reason, ending.kind) == ("failed", "input")
    assert "or remove 'command' from model.backbone" in ending.message
    assert not hostile[1]()


PRETRAINED = {"type": "Pretrained", "checkpoint": "https://example.org/w.pth"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model.type", "os.system"),
        ("model.type", "mmdet.Mask2FormerVideo"),
        ("model.type", ["os.system"]),
        ("model.type", {"type": "os.system"}),
        ("model.backbone.type", "IFRHead"),  # a recipe names it, elsewhere
        ("model.backbone.norm_cfg.type", "torch.hub.load"),
        ("model.backbone.init_cfg", PRETRAINED),
        ("model.init_cfg", [PRETRAINED]),
        ("model.backbone.pretrained", "https://example.org/w.pth"),
        ("model.backbone.init_cfg", None),
        ("model.backbone._scope_", "os"),
        ("model.backbone._delete_", True),
        ("model.track_head.act_cfg", {"type": "os.system"}),
        ("model.track_head.in_channels", [{"type": "os.system"}]),
        ("model.track_head.encoder.num_layers", [[{"type": "os.system"}]]),
        ("model._base_", "/tmp/evil.py"),
        ("custom_imports", {"imports": ["os"]}),
        ("train.sampler.type", "os.system"),
        ("train.optimizer.betas", [{"type": "os.system"}, 0.9]),
    ],
)
def test_what_recipes_do_not_have_is_refused_wherever_it_stands(path, value):
    composed, _ = thin()
    config = {"model": composed.model, "train": composed.train, "inference": composed.inference}
    check_types(config, "here")
    *parents, last = path.split(".")
    node = config
    for part in parents:
        node = node[part]
    node[last] = value
    with pytest.raises(UserError, match=r"^(Set|Remove) .* of here"):
        check_types(config, "here")


def test_a_sound_specification_passes_and_each_recipe_is_one():
    spec = thin()[1].model_dump()
    check_training(spec, "here")
    spec["sampler"] = {"type": "os.system"}
    with pytest.raises(UserError, match=r"^Install the package .*, or remove 'type' from train\.sampler of here"):
        check_training(spec, "here")


def test_keys_differ_where_their_json_does_and_what_is_lacking_is_null():
    one = leaves({"a": {"same": [1], "size": 1, "off": None}, "b": 2})
    assert differing(one, leaves({"a": {"same": [1], "size": 1.0}, "c": {}})) == ["b", "a.size", "c"]
    assert differing({"x": {"p": 1, "q": 2}}, {"x": {"q": 2, "p": 1}}) == []
