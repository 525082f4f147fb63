"""What each video adds to the numbers of a record: all that AP, AR, IDF1, MOTA and HOTA are made of, without a mask,
and its identity errors.

Every such number is computed from this, whether the videos have just been matched or are read from what lies beside a
record, `<record>.videos.json.gz` (gzip time 0), whose SHA-256 the record holds:

    {"schema": 1,
     "categories": ["1", "2"],           of the data set, as text, in the order of its file
     "video_ids": [7, 8],                of the split, in their order, as what follows
     "detections": [                     AP: the predictions of each video, best first in each category
       {"objects": {"1": [2, 2, 0, 0]},  by category the ground truth that counts: of any size, small, medium, large
        "categories": ["1", "1"],
        "scores": [0.9, 0.4],
        "hits": [[1023, 0], ...],        for these four a number a prediction: bit k says that it matches at the k-th
                                         of `ap.IOU_THRESHOLDS`
        "ignored": [[0, 0], ...]}, ...], likewise: that it is neither a match nor a false positive
     "tracking": [                       of each video, under each recorded protocol
       {"matched": {"frames": 36, "gt_boxes": 70, "pred_boxes": 68, "tracks": 3,
                    "detections": 66, "switches": 1, "id_matches": 60,
                    "pairs": [[36, 35, [0, 1, ...]], ...]}, ...}, ...],
     "identity": [{"change": 1, ...}, ...]}

`Counts` says what tracking's are, `scores.Identity` the last.
"""

import gzip
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ifrvis.datasets.ytvis import Id
from ifrvis.evaluation.scores import Count, Identity
from ifrvis.files import canonical_json, read_packed_json
from ifrvis.schema import Model, validated

_Bits = tuple[Annotated[int, Field(ge=0, lt=1 << 10)], ...]  # of each prediction, one for each IoU threshold
_Flags = tuple[_Bits, _Bits, _Bits, _Bits]  # one for each range of sizes
_Numbers = Annotated[tuple[Count, ...], Field(min_length=19, max_length=19)]


class Detections(Model):
    """What AP is made of; the module's docstring says what the fields are."""

    objects: dict[str, tuple[Count, Count, Count, Count]]
    categories: tuple[str, ...]
    scores: tuple[float, ...]
    hits: _Flags
    ignored: _Flags

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if len({len(each) for each in (self.categories, self.scores, *self.hits, *self.ignored)}) > 1:
            raise ValueError("Give each prediction a category, a score, hits and ignored")
        return self


class Counts(Model):
    """What tracking metrics are sums of."""

    frames: Count  # of the video
    gt_boxes: Count  # boxes of ground truth in all frames
    pred_boxes: Count  # boxes of the predicted tracks that count
    tracks: Count  # predicted tracks that have a box
    detections: Count  # boxes of ground truth that are matched frame by frame (CLEAR MOT)
    switches: Count  # of them, those that are matched to another track than the object was last
    id_matches: Count  # boxes of ground truth that are matched when each object is given one track of the video (IDTP)
    # Of each object and track that HOTA matches: boxes of the object, boxes of the track, and frames where they are
    # matched with an IoU from each of `hota.ALPHAS` to the next.
    pairs: tuple[tuple[Count, Count, _Numbers], ...]


class Videos(Model):
    """What the videos of a split add, one after the other."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    categories: tuple[str, ...]
    video_ids: tuple[Id, ...]
    detections: tuple[Detections, ...]
    tracking: tuple[dict[str, Counts], ...]
    identity: tuple[Identity, ...]

    @model_validator(mode="after")
    def _fit(self) -> Self:
        named = {name for each in self.detections for name in (*each.objects, *each.categories)}
        if not named <= set(self.categories):
            raise ValueError("Name in 'categories' those of every object and prediction")
        if {len(self.video_ids)} != {len(each) for each in (self.detections, self.tracking, self.identity)}:
            raise ValueError("Give each video detections, tracking and identity")
        if len({frozenset(each) for each in self.tracking}) > 1:
            raise ValueError("Count all videos under the same tracking protocols")
        return self

    def packed(self) -> bytes:
        """The file."""
        return gzip.compress(canonical_json(self.model_dump(by_alias=True)), mtime=0)


def read_videos(path: Path) -> Videos:
    """Read and check what lies beside a record; UserError if it is missing, broken or something else."""
    return validated(Videos, read_packed_json(path, "what the videos of a record add"), str(path))
