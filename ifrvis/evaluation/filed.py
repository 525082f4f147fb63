"""Predictions that stay in their files, as ground truth does in `datasets.filed`: a video's are read for its score."""

from array import array
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ifrvis.datasets.filed import FiledAnnotations, Places, Read, add_place, parts_of
from ifrvis.datasets.rle import expect
from ifrvis.datasets.ytvis import Annotations, Id, checked_id
from ifrvis.evaluation.predictions import (
    Prediction,
    expect_all,
    expect_schema,
    one_class_each,
    prediction_of,
    queries_of,
    results_of,
    video_predictions_of,
)
from ifrvis.evaluation.processes import ByVideo
from ifrvis.files import unpack
from ifrvis.parts import PartsFile, split_json

Tracks = Literal["queries", "entries"]
_NONE: "array[int]" = array("q")


class Filed(NamedTuple):
    """The predicted tracks of a file."""

    tracks: ByVideo
    num_tracks: int  # entries; of the predictions file of a run, tracks
    num_videos: int  # that have any


def open_tracks(
    path: Path,
    annotations: FiledAnnotations,
    tracks: Tracks,
    folder: Path,
    on_read: Read,
    *,
    official_quirks: bool = False,
) -> Filed:
    """Look through predicted tracks, of which a video is read when it is scored.

    Args:
        path: The predictions file of a run (`.gz`), or a results file.
        annotations: The ground truth that they are about.
        tracks: Every entry, or what `queries_of` or `one_class_each` makes of them.
        folder: For what is packed, until all is scored.
        on_read: Told how many bytes are read, and how many there are.
        official_quirks: As of `read_results`.

    Raises:
        UserError: As of `read_predictions` and `read_results`, at once or when a video is read.
    """
    if path.suffix == ".gz":
        unpack(path, "the predictions file", folder / "predictions.json")
        return _open_run(path, annotations, tracks, folder / "predictions.json", on_read)
    places: Places = {}
    count, size = 0, path.stat().st_size if path.is_file() else 0

    def take(_: str, start: int, end: int, entry: Any) -> None:
        nonlocal count
        where = f"{path}: [{count}]"
        expect(isinstance(entry, dict), where, "an object", entry)
        add_place(places, checked_id(entry, "video_id", annotations.videos, where), count, start, end)
        count += 1
        on_read(end, size)

    content, file = split_json(path, "the results file", ("",), take)
    expect(isinstance(content, list), str(path), "a list of predicted tracks", content)
    read = partial(_read_results, file, official_quirks, tracks)
    return Filed(ByVideo(lambda video_id: partial(read, places.get(video_id, _NONE))), count, len(places))


def _read_results(
    file: PartsFile, any_length: bool, tracks: Tracks, places: "array[int]", annotations: Annotations
) -> list[Prediction]:
    parts = parts_of(file, places)
    found = [prediction_of(entry, annotations, file.name, index, any_length=any_length) for index, entry in parts]
    return list(one_class_each(found)) if tracks == "queries" else found


def _open_run(path: Path, annotations: FiledAnnotations, tracks: Tracks, unpacked: Path, on_read: Read) -> Filed:
    places: Places = {}
    numbers, size, key = list[int](), unpacked.stat().st_size, "by_query" if tracks == "queries" else "by_class"

    def take(_: str, start: int, end: int, entry: Any) -> None:
        where = f"{path}: videos[{len(places)}]"
        expect(isinstance(entry, dict), where, "an object", entry)
        video_id: Id = checked_id(entry, "video_id", annotations.videos, where)
        expect(video_id not in places, f"{where}.video_id", "each video once", video_id)
        add_place(places, video_id, len(places), start, end)
        scored = entry.get(key)
        numbers.append(len(scored) if isinstance(scored, list) else 0)
        on_read(end, size)

    content, file = split_json(unpacked, "the predictions file", ("videos",), take, name=str(path))
    expect_schema(content, str(path))
    expect_all(annotations.videos.keys() - places.keys(), str(path))
    read = ByVideo(lambda video_id: partial(_read_run, file, tracks, places[video_id]))
    return Filed(read, sum(numbers), sum(map(bool, numbers)))


def _read_run(file: PartsFile, tracks: Tracks, places: "array[int]", annotations: Annotations) -> list[Prediction]:
    ((index, entry),) = parts_of(file, places)
    video = video_predictions_of(entry, annotations, f"{file.name}: videos[{index}]")
    return list((queries_of if tracks == "queries" else results_of)([video]))
