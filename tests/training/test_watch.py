"""A watched run: when it is measured, on which videos, and never twice."""

import pytest
from kept_runs import half

from ifrvis.datasets.catalog import load_dataset
from ifrvis.training import watch


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    dataset = load_dataset("smoke19", tmp_path_factory.mktemp("data"))
    dataset.make("heldout")
    return dataset.split("heldout")


def test_ap_is_measured_at_the_start_and_at_the_end_on_a_few_videos(split, monkeypatch):
    predicted, curves = [], []

    def predict(model, annotations, frames, inference):
        predicted.append([video.id for video in annotations.videos])
        return [half(video, annotations) for video in annotations.videos]

    monkeypatch.setattr(watch, "predict_split", predict)
    annotations = split.read()
    for known in ({}, {"0": 0.5}):
        sizes = {"videos": 2, "iterations": 10, "curve": known}
        watched = watch.Watch(annotations, split.frames, {}, **sizes, publish=curves.append)
        for iteration in range(11):
            watched(None, iteration)
    assert list(curves[1]) == list(curves[2]) == ["0", "10"]
    assert all(0 < value < 1 for value in curves[1].values())
    assert curves[2] == curves[1] | {"0": 0.5}  # known before: not measured again
    assert len(curves) == len(predicted) == 3
    ids = [video.id for video in annotations.videos]
    assert all(each == ids[:: len(ids) // 2] for each in predicted)
