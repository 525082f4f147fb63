"""What the page's viewer plays: predictions and frames of a few videos, made small and kept beside the records.

results/scenes/<profile>/<dataset>-<12 digits of its records>.json

`ifrvis run` writes a scene once, where data and predictions are at hand; the page needs neither.
"""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ifrvis.datasets.catalog import WHOLE
from ifrvis.datasets.rle import checked_tube
from ifrvis.errors import UserError
from ifrvis.evaluation.scores import Count, Fraction, Kind
from ifrvis.files import canonical_json, seen_in, sha256_bytes
from ifrvis.harness.spec.request import TableRequest
from ifrvis.harness.spec.signatures import Sha256
from ifrvis.harness.spec.tables import Row
from ifrvis.schema import Model, Name, read_model

Side = Annotated[int, Field(ge=1, le=4096)]  # pixels


class PlayedTrack(Model):
    """An object, or a track of a method, by the number of the object that it stands for; masks are compressed runs."""

    identity: Annotated[int, Field(ge=0, lt=10_000)]
    name: str
    category: str
    masks: tuple[str | None, ...]
    score: Fraction | None = None


class PlayedError(Model):
    """An identity error in words, and the frames in which it holds."""

    kind: Kind
    frames: Annotated[tuple[Count, ...], Field(min_length=1)]
    text: str


class Pane(Model):
    """The ground truth, or the tracks of one row with their errors."""

    title: str
    tracks: tuple[PlayedTrack, ...]
    row: str | None = None
    errors: tuple[PlayedError, ...] = ()
    tracked: Count = 0  # the number of object-frames that they track
    lost: Count = 0  # the number of objects that they never find


class PlayedVideo(Model):
    """A video: its frames as JPEG in base64, and the panes that show them side by side."""

    name: str
    width: Side
    height: Side
    frames: Annotated[tuple[str, ...], Field(min_length=1)]
    panes: Annotated[tuple[Pane, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _can_be_played(self) -> Self:
        if not all(map(_is_jpeg, self.frames)):
            raise ValueError("Make every frame a JPEG in base64")
        for track in (track for pane in self.panes for track in pane.tracks):
            height, width = self.height, self.width
            masks = [counts and {"size": [height, width], "counts": counts} for counts in track.masks]
            checked_tube(masks, height, width, f"the masks of track {track.name!r}")
            if len(masks) != len(self.frames):
                raise ValueError("Give every track a mask or null a frame")
        if any(max(error.frames) >= len(self.frames) for pane in self.panes for error in pane.errors):
            raise ValueError("Let errors be in frames that there are")
        return self


def _is_jpeg(frame: str) -> bool:
    try:
        return base64.b64decode(frame, validate=True).startswith(b"\xff\xd8\xff")
    except ValueError:
        return False


class Scene(Model):
    """Videos of one data set with the tracks of two rows."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    dataset: Name  # the data set that was predicted
    seed: Count | None = None  # of both runs; None where they have not one
    rows: tuple[str, str]  # the ids of the rows, the baseline's first
    records: tuple[Sha256, Sha256]  # the digests of their records
    videos: tuple[PlayedVideo, ...]  # those with the most identity errors of both

    @property
    def file_name(self) -> str:
        """The name of its file."""
        return scene_name(self.dataset, self.records)

    def text(self) -> bytes:
        """The file as it is written."""
        return canonical_json(self.model_dump(by_alias=True, exclude_none=True)) + b"\n"


def scene_name(dataset: str, records: tuple[str, str]) -> str:
    """The name of the file of a scene."""
    return f"{dataset}-{sha256_bytes(canonical_json(records))[:12]}.json"


def read_scenes(folder: Path) -> list[Scene]:
    """The scenes of a profile, in the order of their names; UserError if a file is no scene, or has another's name."""
    paths = seen_in(folder, ".json")
    scenes = [read_model(Scene, path, "what the viewer plays") for path in paths]
    for path, scene in zip(paths, scenes):
        if path.name != scene.file_name:
            raise UserError(f"Remove {path}, or rename it to {scene.file_name}: the name is not its own.")
    return scenes


def rows_to_play(request: TableRequest) -> Iterator[tuple[Row, Row]]:
    """Pairs of rows of two methods that a claim compares, the baseline first; the best to look at first.

    Of a table without claims, the first row and the first of another method on its data set.
    """
    for table in sorted(request.tables, key=lambda table: "AP" in table.metrics):  # those on tracking alone
        rows = {row.id: row for row in request.selected(table)}
        pairs = [pair for claim in table.claims for pair in claim.pairs if set(pair) <= rows.keys()]
        if not table.claims and rows:
            first = next(iter(rows.values()))
            others = (row for row in rows.values() if row.method != first.method and row.dataset == first.dataset)
            pairs += [(other.id, first.id) for other in others][:1]
        for ours, other, *_ in reversed(dict.fromkeys(pairs)):
            if rows[ours].method != rows[other].method and rows[ours].part == WHOLE:
                yield rows[other], rows[ours]
