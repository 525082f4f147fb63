"""Every number of a record, and what such numbers can be. How they are made is in `scoring`."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from ifrvis.schema import Model

RECORDED = ("top10", "common", "matched")  # the tracking protocols of every record
SHOWN = "matched"  # the protocol of Table 3's cells, under which identity errors are counted, too
Kind = Literal["change", "switch", "merged", "lost", "duplicate"]  # of identity errors (`identity`)
KINDS: tuple[Kind, ...] = get_args(Kind)

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
# Of stored values; what is not here is a fraction.
UNITS = {
    **dict.fromkeys((*COUNTED, "Parameters"), "count"),
    **dict.fromkeys((*KINDS, "errors", "errors_at_half"), "per object-frame tracked"),
    **{"ids_per_recalled_box": "per box recalled", "tracks_per_video": "per video"},
    **{"false_positives_per_frame": "per frame", "threshold": "score", "FPS": "frames per second"},
}


def units_of(names: Iterable[str]) -> dict[str, str]:
    """The unit of each stored value, by its name."""
    return {name: UNITS.get(name, "fraction") for name in names}


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


class Identity(Model):
    """Numbers of identity errors by kind, and what they are set beside."""

    change: Count = 0
    switch: Count = 0
    merged: Count = 0
    lost: Count = 0
    duplicate: Count = 0
    never_found: Count = 0  # objects that are lost wherever they are visible
    tracked: Count = 0  # object-frames, one for each object and frame where it is visible, in which it is tracked
    object_frames: Count = 0  # all of them
    objects: Count = 0  # that are visible anywhere

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if self.tracked > self.object_frames or self.never_found > self.objects:
            raise ValueError("Let 'tracked' and 'never_found' be some of 'object_frames' and 'objects'")
        return self

    @property
    def errors(self) -> int:
        """Of all kinds."""
        return sum(getattr(self, kind) for kind in KINDS)

    @property
    def shares(self) -> dict[str, float | None]:
        """Errors of each kind and of all per object-frame tracked, and the shares tracked and never found."""
        of = dict.fromkeys((*KINDS, "errors"), self.tracked)
        of |= {"tracked": self.object_frames, "never_found": self.objects}
        return {name: getattr(self, name) / number if number else None for name, number in of.items()}


# What a table may have columns of: all that records show (`Record.shown`).
COLUMNS = (*RANGES, *Identity().shares, "errors_at_half", "Parameters", "FPS")
IDENTITY_CURVE = (*KINDS, "never_found", "tracked")  # what changes with the threshold of scores


def together(videos: Iterable[Identity]) -> Identity:
    """The sums over some videos."""
    sums = dict.fromkeys(Identity.model_fields, 0)
    for each in videos:
        for name in sums:
            sums[name] += getattr(each, name)
    return Identity(**sums)


class Scores(Model):
    """What is known of some predictions."""

    metrics: Metrics  # AP and the tracking metrics, under `SHOWN`, that tables show
    per_category: dict[str, Metrics] = Field(default={})  # AP and AR by category id as text
    # `AP` and `AR100`, one value a threshold of `ap.IOU_THRESHOLDS`.
    by_iou: dict[str, tuple[Fraction | None, ...]] = Field(default={})
    tracking: dict[str, Tracked] = Field(default={})  # the tracking metrics under every recorded protocol
    # `threshold` and the tracking metrics at each candidate of protocol `SHOWN`.
    over_thresholds: dict[str, tuple[int | float | None, ...]] = Field(default={})
    # Identity errors under protocol `SHOWN`; None where only a server has the ground truth.
    identity: Identity | None = None
    identity_curve: dict[str, tuple[Count, ...]] = Field(default={})  # each of `IDENTITY_CURVE` at these candidates

    @model_validator(mode="after")
    def _fit(self) -> Self:
        curve, thresholds = self.identity_curve, self.over_thresholds.get("threshold", ())
        if curve and (curve.keys() != {*IDENTITY_CURVE} or {len(thresholds)} != {*map(len, curve.values())}):
            raise ValueError(f"Give 'identity_curve' {', '.join(IDENTITY_CURVE)}, each at every threshold")
        return self

    @property
    def shown(self) -> dict[str, int | float | None]:
        """What a column of a table may show, by its name: metrics and identity errors.

        The latter are shares of the object-frames tracked (`Identity.shares`); `errors_at_half` are all of them where
        half of all object-frames are tracked, so that methods whose scores are not alike are compared.
        """
        of_half = {"errors_at_half": self.errors_at(0.5)}
        return self.metrics | (self.identity.shares | of_half if self.identity else {})

    def errors_at(self, recall: float) -> float | None:
        """Identity errors per object-frame tracked where a share of all object-frames, in (0, 1], is tracked.

        Methods whose scores are not alike are compared so. Between neighbouring thresholds both numbers are
        interpolated, as if part of the videos had one of them, part the other; above the highest no track is kept, and
        nothing is wrong. None where the share is not reached.
        """
        if self.identity is None or not self.identity_curve:
            return None
        curve, wanted = self.identity_curve, recall * self.identity.object_frames
        errors = map(sum, zip(*(curve[kind] for kind in KINDS)))
        points = [*zip(curve["tracked"], errors), (0, 0)]
        for (less, few), (more, many) in pairwise(points[::-1]):
            if less < wanted <= more:
                return (few + (many - few) * (wanted - less) / (more - less)) / wanted
        return None
