"""A run that is watched: AP on a few held-out videos before its first iteration and after its last."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ifrvis.datasets.ytvis import Annotations
from ifrvis.evaluation.ap import average_precision
from ifrvis.evaluation.predictions import results_of
from ifrvis.inference.modes import predict_split


class Watch:
    """What `train` calls with the model and the iterations behind it."""

    def __init__(
        self,
        annotations: Annotations,  # the held-out split; the watched videos are evenly spaced in it
        frames: Path,  # folder that the file names of frames are relative to
        inference: Mapping[str, Any],  # how videos are predicted
        *,
        videos: int,  # how many are watched
        iterations: int,  # of the whole training
        curve: Mapping[str, float | None],  # AP by iteration, as far as it is known: nothing is measured twice
        publish: Callable[[dict[str, float | None]], None],  # given the whole curve after each measurement
    ) -> None:
        step = max(1, len(annotations.videos) // videos)
        self._watched = annotations.subset({video.id for video in annotations.videos[::step]})
        self._frames, self._inference, self._iterations = frames, inference, iterations
        self._curve, self._publish = dict(curve), publish

    def __call__(self, model: nn.Module, iteration: int) -> None:
        """Measure if this is the time."""
        if iteration not in (0, self._iterations) or str(iteration) in self._curve:
            return
        results = results_of(predict_split(model, self._watched, self._frames, self._inference))
        self._curve[str(iteration)] = average_precision(self._watched, results)["AP"]
        self._publish(dict(self._curve))
