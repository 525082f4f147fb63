"""Tracking protocols: which predictions become tracks, as data in `experiments/protocols/`.

The paper does not say how its Table 3 chooses them, and the choice moves every number of it.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from ifrvis.datasets.splits import in_seeded_order
from ifrvis.datasets.ytvis import Id
from ifrvis.evaluation.predictions import Prediction, Tracks
from ifrvis.packed import packed_yaml
from ifrvis.schema import Model, Share, read_model


class TrackingProtocol(Model):
    """How predictions become tracks."""

    name: str
    title: str
    tracks: Tracks
    most: int | None = Field(default=None, ge=1)  # only so many of a video, best first
    # The least score; `matched`: the candidate of best IDF1 on the other half of the videos.
    threshold: Share | Literal["matched"] | None = None
    thresholds: tuple[Share, ...] = ()  # the candidates, rising, at which the metrics are computed, too
    seed: int = 0  # of the halves

    @model_validator(mode="after")
    def _check(self) -> Self:
        if list(self.thresholds) != sorted(set(self.thresholds)):
            raise ValueError(f"Let 'thresholds' rise: they are {list(self.thresholds)}.")
        if self.threshold == "matched" and not self.thresholds:
            raise ValueError("Add 'thresholds': the matched one is chosen among them.")
        return self

    @property
    def levels(self) -> tuple[float | None, ...]:
        """All thresholds at which something is computed; None keeps every track."""
        return self.thresholds if self.threshold == "matched" else (self.threshold, *self.thresholds)

    def select(self, tracks: Sequence[Prediction]) -> list[Prediction]:
        """The tracks of one video before any threshold, in their order."""
        best = sorted(range(len(tracks)), key=lambda index: -tracks[index].score)[: self.most]
        return [tracks[index] for index in sorted(best)]


def load_protocol(name: str) -> TrackingProtocol:
    """The protocol `name` of `experiments/protocols/`, or of a YAML file; UserError if there is none or it is wrong."""
    return read_model(TrackingProtocol, packed_yaml("protocols", name), "the tracking protocol")


def halves(video_ids: Iterable[Id], seed: int) -> dict[Id, int]:
    """Half 0 or 1 of each video; the order of the videos does not matter."""
    return {video_id: position % 2 for position, video_id in enumerate(in_seeded_order(video_ids, seed))}
