"""A run that was planned on other data is refused before it reads any."""

import pytest

from ifrvis.datasets.catalog import load_dataset
from ifrvis.datasets.planned import planned_split, planned_training
from ifrvis.errors import UserError


def test_data_that_changed_since_they_were_planned_are_refused(tmp_path, monkeypatch, dataset_of):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    dataset = load_dataset(dataset_of(["a", "b"], "{videos: [b]}"), tmp_path)
    planned = dataset.split("train").fingerprint
    assert planned_split(dataset, "train", planned).fingerprint == planned
    assert planned_training(dataset, "train", planned, None)[1] is None
    (tmp_path / "frames" / "a" / "0.jpg").write_bytes(b"another")
    for refused in (planned_split, lambda *of: planned_training(*of, None)):
        with pytest.raises(UserError, match=f"^Start the row again: .*was {planned} and is"):
            refused(dataset, "train", planned)
