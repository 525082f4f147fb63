"""A run that is watched: AP on a few held-out videos before its first iteration and after its last."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from ifrvis.datasets.ytvis import Annotations
from ifrvis.evaluation.ap import average_precision
from ifrvis.evaluation.predictions import results_of
from ifrvis.inference.modes import predict_split


@dataclass
class Watch:
    """What `train` calls with the model and the iterations behind it."""

    annotations: Annotations  # the held-out split; the watched videos are evenly spaced in it
    frames: Path  # folder that the file names of frames are relative to
    inference: Mapping[str, Any]  # how videos are predicted
    videos: int  # how many are watched
    iterations: int  # of the whole training
    curve: Mapping[str, float | None]  # AP by iteration, as far as it is known: nothing is measured twice
    publish: Callable[[dict[str, float | None]], None]  # given the whole curve after each measurement

    def __call__(self, model: nn.Module, iteration: int) -> None:
        """Measure if this is the time."""
        if iteration not in (0, self.iterations) or str(iteration) in self.curve:
            return
        step = max(1, len(self.annotations.videos) // self.videos)
        watched = self.annotations.subset({video.id for video in self.annotations.videos[::step]})
        results = results_of(predict_split(model, watched, self.frames, self.inference))
        self.curve = {**self.curve, str(iteration): average_precision(watched, results)["AP"]}
        self.publish(self.curve)
