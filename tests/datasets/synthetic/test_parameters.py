"""What the fingerprints of the synthetic sets know, and which parameters are refused."""

import dataclasses

import pytest

from ifrvis.datasets.synthetic import parameters as synthetic
from ifrvis.errors import UserError
from ifrvis.files import read_yaml
from ifrvis.packed import packed

CHANGES = {
    "seed": 7,
    "height": 80,
    "width": 100,
    "frames": 7,
    "num_classes": 5,
    "objects": (3, 6),
    "diameter": (15.0, 22.0),
    "speed": (0.1, 0.3),
    "crossing": 0.1,
    "occlusion": 0.2,
    "reentry": 0.3,
    "videos": {"pretrain": 12, "train": 7, "dev": 2, "test": 4},
}


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(synthetic.SyntheticParameters)])
def test_each_parameter_changes_the_fingerprint(field, parameters_of):
    before, after = parameters_of("smoke19"), parameters_of("smoke19", **{field: CHANGES[field]})
    assert synthetic.split_fingerprint(before, "train") != synthetic.split_fingerprint(after, "train")


def test_fingerprints_differ_between_splits_and_ignore_the_size_of_others(parameters_of):
    before, after = parameters_of("smoke19"), parameters_of("smoke19", videos=CHANGES["videos"])
    prints = [synthetic.split_fingerprint(before, split) for split in (*synthetic.SPLITS, "all")]
    assert len(set(prints)) == 5
    assert all(len(each) == 64 for each in prints)
    assert synthetic.split_fingerprint(after, "test") == synthetic.split_fingerprint(before, "test")
    assert synthetic.split_fingerprint(after, "all") != synthetic.split_fingerprint(before, "all")


def test_the_generator_version_changes_the_fingerprint(monkeypatch, parameters_of):
    before = synthetic.split_fingerprint(parameters_of("smoke19"), "test")
    monkeypatch.setattr(synthetic, "GENERATOR_VERSION", synthetic.GENERATOR_VERSION + 1)
    assert synthetic.split_fingerprint(parameters_of("smoke19"), "test") != before


@pytest.mark.parametrize("name", ["mini19", "mini21", "smoke19", "smoke21"])
def test_each_yaml_is_read(name, parameters_of):
    content = read_yaml(packed("experiments", "datasets", f"{name}.yaml"))
    assert content["name"] == name
    assert content["categories"] == parameters_of(name).num_classes
    assert set(parameters_of(name).videos) == set(synthetic.SPLITS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": 1}, "colour"),
        ({"seed": "1"}, "seed"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"frames": 1}, "frames must lie between"),
        ({"frames": True}, "frames"),
        ({"objects": [2, 4]}, "objects must be an interval"),
        ({"objects": [5, 4]}, "objects must be an interval"),
        ({"num_classes": 3}, "num_classes must lie"),
        ({"diameter": [20, 60]}, "diameter must lie"),
        ({"height": 8}, "height and width"),
        ({"speed": [0, 0.1]}, "speed must be"),
        ({"crossing": 1.5}, "crossing, occlusion and reentry"),
        ({"videos": {"train": 4}}, "videos needs pretrain, train, dev, test"),
        ({"videos": {"pretrain": 1, "train": -1, "dev": 1, "test": 1}}, "fewer than 0"),
    ],
)
def test_wrong_parameters_are_refused(change, message):
    mapping = read_yaml(packed("experiments", "datasets", "smoke19.yaml"))["synthetic"] | change
    with pytest.raises(UserError, match=message):
        synthetic.SyntheticParameters.from_mapping(mapping)
