"""Packaged configs are literals on literals: what we read of them is what the host reads."""

import json

import pytest
from mmengine.config import Config

from ifrvis.errors import UserError
from ifrvis.harness.spec.recipes import KINDS, config_folders, names_of, packaged_config


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in names_of(kind)])
def test_a_packaged_config_is_read_as_the_host_reads_it(kind, name):
    (folder,) = config_folders()
    host = Config.fromfile(folder / kind / f"{name}.py").to_dict()
    assert packaged_config(kind, name) == json.loads(json.dumps(host))


def test_a_config_that_computes_is_refused_and_runs_nothing(tmp_path, monkeypatch):
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "evil.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')\nmodel = dict(type='X')\n")
    monkeypatch.setattr("ifrvis.harness.spec.recipes.config_folders", lambda: [tmp_path])
    with pytest.raises(UserError, match=r"^Write .*evil\.py in literals"):
        packaged_config("methods", "evil")
    assert not (tmp_path / "canary").exists()
