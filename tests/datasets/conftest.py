"""Datasets that are small enough to be made by a test."""

import json

import pytest

from ifrvis.datasets.catalog import load_config


@pytest.fixture(scope="session")
def parameters_of():
    """The parameters of a packed synthetic set, some of them changed."""

    def load(name, **changes):
        return load_config(name)[0].synthetic.model_copy(update=changes)

    return load


@pytest.fixture
def dataset_of(tmp_path):
    """Write a dataset of one-frame videos of these names; `dataset_of(names, rule)` gives the path of its YAML."""

    def make(names, rule="{draw: 3, seed: 1, groups: [beach_*]}", categories=1):
        entries = [{"id": k, "width": 4, "height": 4, "file_names": [f"{name}/0.jpg"]} for k, name in enumerate(names)]
        content = {"videos": entries, "categories": [{"id": 1, "name": "a"}], "annotations": []}
        (tmp_path / "gt.json").write_text(json.dumps(content))
        for name in names:
            (tmp_path / "frames" / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "frames" / name / "0.jpg").touch()
        text = f"name: mine\ntitle: mine\ncategories: {categories}\nannotation: gt.json\nframes: frames\n"
        (tmp_path / "mine.yaml").write_text(f"{text}heldout: {rule}\n")
        return str(tmp_path / "mine.yaml")

    return make
