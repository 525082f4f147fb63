"""Packaged configs are literals on literals: what we read of them is what the host reads."""

import json

import pytest
from mmengine.config import Config

from ifrvis.errors import UserError
from ifrvis.harness.spec.methods import Package, packages
from ifrvis.harness.spec.recipes import KINDS, names_of, packaged_config


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in names_of(kind)])
def test_a_packaged_config_is_read_as_the_host_reads_it(kind, name):
    host = Config.fromfile(packages()[0].configs / kind / f"{name}.py").to_dict()
    assert packaged_config(kind, name) == json.loads(json.dumps(host))


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("open({canary!r}, 'w')\nmodel = dict(type='X')\n", "in literals"),
        ("_base_ = ['ifrvis::methods/nobody.py']\n", "'ifrvis::methods/nobody.py' is no config here"),
        ("_base_ = 'nobody.py'\n", "'nobody.py' is no config here"),
        ("_base_ = 'evil.py'\n", r"evil\.py builds on it, or is it\.$"),
        ("_base_ = '../methods/evil.py'\n", r"evil\.py builds on it, or is it\.$"),
        ("model = [\n", r"'\[' was never closed"),
    ],
)
def test_a_config_that_computes_or_stands_on_nothing_is_refused_and_runs_nothing(tmp_path, monkeypatch, text, cure):
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "evil.py").write_text(text.format(canary=str(tmp_path / "canary")))
    hers = Package("evil", "evil", tmp_path, tmp_path, None)
    monkeypatch.setattr("ifrvis.harness.spec.recipes.packages", lambda: (*packages(), hers))
    with pytest.raises(UserError, match=rf"^(Write|Correct) .*evil\.py.*{cure}"):
        packaged_config("methods", "evil")
    assert not (tmp_path / "canary").exists()


def test_no_package_takes_the_name_of_another_ones_method(tmp_path, monkeypatch):
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "ours.py").write_text("model = {}\n")
    hers = Package("evil", "evil", tmp_path, tmp_path, None)
    monkeypatch.setattr("ifrvis.harness.spec.recipes.packages", lambda: (*packages(), hers))
    with pytest.raises(UserError, match=r"^Rename one of the two methods 'ours'"):
        names_of("methods")
