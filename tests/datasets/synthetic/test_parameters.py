"""What the fingerprints of the synthetic sets know, and which parameters are refused."""

import pytest

from ifrvis.datasets.synthetic import parameters as synthetic
from ifrvis.errors import UserError
from ifrvis.files import read_yaml
from ifrvis.packed import packed
from ifrvis.schema import validated

CHANGES = {
    "seed": 7,
    "height": 80,
    "width": 100,
    "frames": (6, 7),
    "num_classes": 5,
    "objects": (0.5, 0.5),
    "diameter": (15.0, 22.0),
    "speed": (0.1, 0.3),
    "crossing": 0.1,
    "occlusion": 0.2,
    "reentry": 0.3,
    "away": 0.3,
    "videos": {"pretrain": 12, "train": 7, "dev": 2, "test": 4},
}


@pytest.mark.parametrize("field", synthetic.SyntheticParameters.model_fields)
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "'seed' in the set: it should be greater than or equal to 0"),
        ({"frames": [1, 6]}, "Make 'frames' an interval within 2 and 1000: it is 1 to 6"),
        ({"objects": [0.5, 0.4]}, "Let the shares of 'objects' add up to 1: they add up to 0.9"),
        ({"objects": [0.1] * 11}, "'objects' in the set: it should have at most 10 items"),
        ({"diameter": [20, 60]}, "Make 'diameter' an interval within 8 and 32"),
        ({"speed": [0, 0.1]}, "Make 'speed' an interval"),
        ({"crossing": 1.5}, "'crossing' in the set: it should be less"),
        ({"videos": {"train": 4}}, "Give 'videos' the keys pretrain, train, dev, test: it has train"),
        ({"videos": {"pretrain": 1, "train": -1, "dev": 1, "test": 1}}, "Correct 'train' in 'videos' in the set"),
    ],
)
def test_wrong_parameters_are_refused(change, message):
    mapping = read_yaml(packed("experiments", "datasets", "smoke19.yaml"))["synthetic"] | change
    with pytest.raises(UserError, match=message):
        validated(synthetic.SyntheticParameters, mapping, "the set")
