"""Every number of a record, and what such numbers can be. How they are made is in `scoring`."""

from typing import Annotated

from pydantic import AfterValidator, Field

from ifrvis.schema import Model

RECORDED = ("top10", "common", "matched")  # the tracking protocols of every record
SHOWN = "matched"  # the protocol of Table 3's cells
IDENTITY = "common"  # the protocol under which identity errors are counted

Count = Annotated[int, Field(ge=0, lt=10**15)]
Fraction = Annotated[float, Field(ge=0, le=1)]
# What a metric may be, by its name: a new one is a line here.
RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("AP", "AP50", "AP75", "APs", "APm", "APl"), (0, 1)),
    **dict.fromkeys(("AR1", "AR10", "AR100", "ARs", "ARm", "ARl"), (0, 1)),
    **dict.fromkeys(("IDF1", "IDP", "IDR", "HOTA", "DetA", "AssA"), (0, 1)),
    "MOTA": (-1e15, 1),
    **dict.fromkeys(("IDs", "ids_per_recalled_box", "tracks_per_video", "false_positives_per_frame"), (0, 1e15)),
}
COUNTED = ("IDs",)  # the metrics that are whole numbers


def _known(metrics: dict[str, int | float | None]) -> dict[str, int | float | None]:
    for name, value in metrics.items():
        if name not in RANGES:
            raise ValueError(f"Make {name!r} a metric that this version knows: it is {value}")
        low, high = RANGES[name]
        if value is not None and not (low <= value <= high and isinstance(value, int) == (name in COUNTED)):
            kind = "whole number" if name in COUNTED else "number"
            raise ValueError(f"Make {name!r} a {kind} from {low:g} to {high:g}: it is {value}")
    return metrics


Metrics = Annotated[dict[str, int | float | None], AfterValidator(_known)]  # null: undefined


class Tracked(Model):
    """The tracking metrics under one protocol, and its threshold of scores, or that of each half of the videos."""

    threshold: float | tuple[float, float] | None
    metrics: Metrics


class Scores(Model):
    """What is known of some predictions.

    Attributes:
        metrics: AP and the tracking metrics, under `SHOWN`, that tables show.
        per_category: AP and AR by category id as text.
        by_iou: `AP` and `AR100`, one value a threshold of `ap.IOU_THRESHOLDS`.
        tracking: The tracking metrics under every recorded protocol.
        over_thresholds: `threshold` and the tracking metrics at each candidate of protocol `SHOWN`.
        identity: Numbers of identity errors under protocol `IDENTITY`.
    """

    metrics: Metrics
    per_category: dict[str, Metrics] = Field(default={})
    by_iou: dict[str, tuple[Fraction | None, ...]] = Field(default={})
    tracking: dict[str, Tracked] = Field(default={})
    over_thresholds: dict[str, tuple[int | float | None, ...]] = Field(default={})
    identity: dict[str, Count] = Field(default={})
