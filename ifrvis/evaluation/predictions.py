"""Predictions of a model, and results files of anyone.

A run keeps `predictions.json.gz`: per video the masks of the queries that matter, once, and two lists that refer to
them (docs/architecture.md, "Predictions"). A results file is the flat list that the YouTube-VIS server takes. Both
become `Prediction`s, the one thing that metrics read. Files are checked like any foreign input. They are read as a
whole, or stay where they are, as `ytvis` says, until a video is scored.
"""

import gzip
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ifrvis.datasets.rle import Rle, expect
from ifrvis.datasets.ytvis import Annotations, FiledAnnotations, Id, checked_id, checked_masks, checked_number, id_order
from ifrvis.errors import MismatchError, UserError
from ifrvis.files import canonical_json, read_json, read_packed_json, unpack, write_atomically
from ifrvis.parts import PartsFile, Place, Places, Read, split_json

Tracks = Literal["queries", "entries"]  # each query under its best class, or every entry
SCHEMA = 1
MOST_QUERIES = 10  # of a video, that tracking metrics are about where an inference does not say so


@dataclass(frozen=True)
class Prediction:
    """One predicted track: a mask or None a frame, a category and a score.

    `number` is what its file calls it: the number of the query, or the index in a results file.
    """

    video_id: Id
    category_id: Id
    score: float
    masks: tuple[Rle | None, ...]
    number: int = field(default=-1, compare=False)

    def reaches(self, threshold: float | None) -> bool:
        """Whether its score does; None keeps every track."""
        return threshold is None or self.score >= threshold

    def to_json(self) -> dict[str, Any]:
        """The entry of a results file."""
        head = {"video_id": self.video_id, "category_id": self.category_id, "score": self.score}
        return {**head, "segmentations": list(self.masks)}


# Predicted tracks by video: what gives those of one, given its ground truth; another process can call that, too.
ByVideo = Callable[[Id], Callable[[Annotations], list[Prediction]]]
Predicted = Iterable[Prediction] | ByVideo


def by_video(predictions: Predicted) -> ByVideo:
    """Predicted tracks by video, each video's in their order."""
    if callable(predictions):
        return predictions
    preds: dict[Id, list[Prediction]] = defaultdict(list)
    for prediction in predictions:
        preds[prediction.video_id].append(prediction)
    return lambda video_id: partial(_given, preds[video_id])


def _given(preds: list[Prediction], annotations: Annotations) -> list[Prediction]:
    return preds


class Scored(NamedTuple):
    """A query under one category, with its score in [0, 1]."""

    query: int
    category_id: Id
    score: float


@dataclass(frozen=True)
class VideoPredictions:
    """What a model says of one video; the fields are those of the file."""

    video_id: Id
    height: int  # pixels
    width: int
    length: int  # frames
    masks: dict[int, tuple[Rle | None, ...]]  # by query; one or None a frame
    by_class: tuple[Scored, ...]  # the best pairs of query and class: AP
    by_query: tuple[Scored, ...]  # the best queries, each under its best class: tracking


def write_predictions(path: Path, videos: Iterable[VideoPredictions]) -> None:
    """Write the predictions file; equal predictions give equal bytes, whatever the order of the videos."""
    ordered = sorted(videos, key=lambda video: id_order(video.video_id))
    content = canonical_json({"schema": SCHEMA, "videos": [vars(video) for video in ordered]})
    write_atomically(path, gzip.compress(content, compresslevel=6, mtime=0))


def read_predictions(path: Path, annotations: Annotations) -> tuple[VideoPredictions, ...]:
    """Read and check the predictions for exactly the videos of `annotations`; UserError if missing or wrong."""
    content = read_packed_json(path, "the predictions file")
    _expect_schema(content, path)
    entries = {f"{path}: videos[{index}]": entry for index, entry in enumerate(content["videos"])}
    seen: set[Id] = set()
    for where, entry in entries.items():
        seen.add(_check_video_id(entry, annotations.video_by_id, seen, where))
    _expect_all(annotations.video_by_id.keys() - seen, path)
    return tuple(_video_predictions_of(entry, annotations, where) for where, entry in entries.items())


def _expect_schema(content: Any, path: Path) -> None:
    good = isinstance(content, dict) and type(content.get("schema")) is int and content["schema"] == SCHEMA
    expect(good, str(path), f"predictions of schema {SCHEMA} (of a results file, its .json unpacked)", content)
    expect(isinstance(content.get("videos"), list), f"{path}: videos", "a list", content.get("videos"))


def _check_video_id(entry: Any, known: Collection[Id], seen: Collection[Id], where: str) -> Id:
    """The video that an entry of a predictions file is about, and no other one."""
    expect(isinstance(entry, dict), where, "an object", entry)
    video_id = _known_id(entry, "video_id", known, where)
    expect(video_id not in seen, f"{where}.video_id", "each video once", video_id)
    return video_id


def _known_id(entry: dict[str, Any], key: str, known: Collection[Id], where: str) -> Id:
    try:
        return checked_id(entry, key, known, where)
    except UserError as error:
        raise MismatchError(*error.args) from None


def _expect_all(missing: Collection[Id], path: Path) -> None:
    if missing:
        first = min(missing, key=id_order)
        raise MismatchError(f"Predict again: {path} lacks {len(missing)} of the videos, the first with id {first!r}.")


def _video_predictions_of(entry: dict[str, Any], annotations: Annotations, where: str) -> VideoPredictions:
    video = annotations.video_by_id[entry["video_id"]]
    for key, expected in (("height", video.height), ("width", video.width), ("length", video.length)):
        good = type(entry.get(key)) is int and entry[key] == expected
        expect(good, f"{where}.{key}", f"the annotation file's {expected}", entry.get(key))
    expect(isinstance(entry.get("masks"), dict), f"{where}.masks", "an object", entry.get("masks"))
    masks: dict[int, tuple[Rle | None, ...]] = {}
    for query, of_query in entry["masks"].items():
        expect(_is_query(query), f"{where}.masks", "numbers of queries as keys", query)
        masks[int(query)] = checked_masks(of_query, video, f"{where}.masks[{query!r}]", keep_runs=True)
    by_class, by_query = (_scored(entry, key, masks, annotations, where) for key in ("by_class", "by_query"))
    pairs, single = {scored[:2] for scored in by_class}, {scored.query for scored in by_query}
    expect(len(pairs) == len(by_class), f"{where}.by_class", "each pair of query and category once", by_class)
    expect(len(single) == len(by_query), f"{where}.by_query", "each query once", by_query)
    return VideoPredictions(video.id, video.height, video.width, video.length, masks, by_class, by_query)


def _is_query(key: str) -> bool:
    return key.isascii() and key.isdecimal() and len(key) < 10 and str(int(key)) == key


def _scored(
    entry: dict[str, Any], key: str, masks: dict[int, Any], annotations: Annotations, where: str
) -> tuple[Scored, ...]:
    expect(isinstance(entry.get(key), list), f"{where}.{key}", "a list", entry.get(key))
    scored = []
    for index, triple in enumerate(entry[key]):
        here = f"{where}.{key}[{index}]"
        expect(isinstance(triple, list) and len(triple) == 3, here, "[query, category_id, score]", triple)
        fields = dict(zip(Scored._fields, triple))
        query, score = fields["query"], fields["score"]
        expect(type(query) is int and query in masks, f"{here}.query", "a query that has masks", query)
        category_id = _known_id(fields, "category_id", annotations.labels, here)
        scored.append(Scored(query, category_id, checked_number(score, 0, 1, f"{here}.score")))
    return tuple(scored)


def results_of(videos: Iterable[VideoPredictions]) -> tuple[Prediction, ...]:
    """The predicted tracks that AP is about: each video's best pairs of query and class."""
    return tuple(_track_of(video, scored) for video in videos for scored in video.by_class)


def queries_of(videos: Iterable[VideoPredictions]) -> tuple[Prediction, ...]:
    """The predicted tracks that tracking metrics are about: each video's best queries, under their best class."""
    return tuple(_track_of(video, scored) for video in videos for scored in video.by_query)


def _track_of(video: VideoPredictions, scored: Scored) -> Prediction:
    return Prediction(video.video_id, scored.category_id, scored.score, video.masks[scored.query], scored.query)


def videos_of(results: Iterable[Prediction], annotations: Annotations, path: Path) -> tuple[VideoPredictions, ...]:
    """A results file as the predictions of a model: entries of one video with the same masks are one query; UserError
    if a score is no probability, without which no threshold means anything.
    """
    found = []
    of_video: dict[Id, list[Prediction]] = {video.id: [] for video in annotations.videos}
    for result in results:
        expect(0 <= result.score <= 1, f"{path}: [{result.number}].score", "a score from 0 to 1", result.score)
        of_video[result.video_id].append(result)
    for video in annotations.videos:
        queries: dict[Any, int] = {}
        by_class: dict[tuple[int, Id], Scored] = {}
        masks: dict[int, tuple[Rle | None, ...]] = {}
        for result in of_video[video.id]:
            key = tuple(mask and mask["counts"] for mask in result.masks)
            query = queries.setdefault(key, len(masks))
            if (query, result.category_id) in by_class:  # the same entry twice stays two
                query = len(masks)
            masks.setdefault(query, result.masks)
            by_class[query, result.category_id] = Scored(query, result.category_id, result.score)
        best: dict[int, Scored] = {}
        for scored in by_class.values():
            if scored.query not in best or scored.score > best[scored.query].score:
                best[scored.query] = scored
        by_query = tuple(sorted(best.values(), key=lambda scored: -scored.score)[:MOST_QUERIES])
        size = video.height, video.width, video.length
        found.append(VideoPredictions(video.id, *size, masks, tuple(by_class.values()), by_query))
    return tuple(found)


def read_videos_of(path: Path, annotations: Annotations) -> tuple[VideoPredictions, ...]:
    """What is predicted of each video, in the predictions file of a run (`.gz`) or in a results file; UserError as of
    `read_predictions`, or `read_results` and `videos_of`.
    """
    if path.suffix == ".gz":
        return read_predictions(path, annotations)
    return videos_of(read_results(path, annotations), annotations, path)


def one_class_each(results: Iterable[Prediction]) -> tuple[Prediction, ...]:
    """Of entries of one video with the same masks, which are one query under several classes, the best, in order."""
    best: dict[Any, Prediction] = {}
    for result in results:
        key = (result.video_id, tuple(mask and mask["counts"] for mask in result.masks))
        if key not in best or result.score > best[key].score:
            best[key] = result
    return tuple(best.values())


_OF_RUN = {"queries": queries_of, "entries": results_of}
_OF_RESULTS: dict[Tracks, Callable[[Iterable[Prediction]], tuple[Prediction, ...]]]
_OF_RESULTS = {"queries": one_class_each, "entries": tuple}


def read_tracks(path: Path, annotations: Annotations, tracks: Tracks) -> tuple[Prediction, ...]:
    """Read predicted tracks from the predictions file of a run (`.gz`) or from a results file, with errors of its
    reader.
    """
    if path.suffix == ".gz":
        return _OF_RUN[tracks](read_predictions(path, annotations))
    return _OF_RESULTS[tracks](read_results(path, annotations))


class Filed(NamedTuple):
    """The predicted tracks of a file, of which a video is read when it is needed."""

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
    """Look through what `read_tracks` reads as a whole, with its errors, at once or when a video is read.

    What is packed lies in `folder`, until all is scored; with `official_quirks` tracks of a results file may be shorter
    or longer than their video, as for the official evaluator.
    """
    if path.suffix == ".gz":
        unpack(path, "the predictions file", folder / "predictions.json")
        return _open_run(path, annotations, tracks, folder / "predictions.json", on_read)
    places = Places(annotations.videos)

    def owner_of(_: str, index: int, entry: Any) -> Id:
        expect(isinstance(entry, dict), f"{path}: [{index}]", "an object", entry)
        return _known_id(entry, "video_id", annotations.videos, f"{path}: [{index}]")

    content, file = split_json(path, "the results file", {"": places}, owner_of, on_read)
    expect(isinstance(content, list), str(path), "a list of predicted tracks", content)
    read = partial(_read_results, file, official_quirks, tracks)
    return Filed(lambda video_id: partial(read, places.of(video_id)), len(places), places.num_owners)


def _read_results(
    file: PartsFile, any_length: bool, tracks: Tracks, places: list[Place], annotations: Annotations
) -> list[Prediction]:
    entries = file.read(places)
    found = [_prediction_of(entry, annotations, file.name, index, any_length=any_length) for index, entry in entries]
    return list(_OF_RESULTS[tracks](found))


def _open_run(path: Path, annotations: FiledAnnotations, tracks: Tracks, unpacked: Path, on_read: Read) -> Filed:
    places, key = Places(annotations.videos), "by_query" if tracks == "queries" else "by_class"
    numbers: dict[Id, int] = {}

    def owner_of(_: str, index: int, entry: Any) -> Id:
        video_id = _check_video_id(entry, annotations.videos, numbers, f"{path}: videos[{index}]")
        numbers[video_id] = len(scored) if isinstance(scored := entry.get(key), list) else 0
        return video_id

    content, file = split_json(unpacked, "the predictions file", {"videos": places}, owner_of, on_read, name=str(path))
    _expect_schema(content, path)
    _expect_all(annotations.videos.keys() - numbers.keys(), path)
    read = partial(_read_run, file, tracks)
    counts = sum(numbers.values()), sum(map(bool, numbers.values()))
    return Filed(lambda video_id: partial(read, places.of(video_id)), *counts)


def _read_run(file: PartsFile, tracks: Tracks, places: list[Place], annotations: Annotations) -> list[Prediction]:
    ((index, entry),) = file.read(places)
    video = _video_predictions_of(entry, annotations, f"{file.name}: videos[{index}]")
    return list(_OF_RUN[tracks]([video]))


def read_results(path: Path, annotations: Annotations) -> tuple[Prediction, ...]:
    """Read and check a results file of the YouTube-VIS format, a list of objects with video_id, category_id, any finite
    score and segmentations; UserError, with file, index and field, if it is missing or wrong.
    """
    return checked_results(read_json(path, "the results file"), annotations, str(path))


def checked_results(entries: Any, annotations: Annotations, where: str) -> tuple[Prediction, ...]:
    """The same for the content of a results file; `where` names it in errors."""
    expect(isinstance(entries, list), where, "a list of predicted tracks", entries)
    return tuple(_prediction_of(entry, annotations, where, index) for index, entry in enumerate(entries))


def _prediction_of(
    entry: Any, annotations: Annotations, path: str, index: int, *, any_length: bool = False
) -> Prediction:
    where = f"{path}: [{index}]"
    expect(isinstance(entry, dict), where, "an object", entry)
    video = annotations.video_by_id[_known_id(entry, "video_id", annotations.video_by_id, where)]
    category_id = _known_id(entry, "category_id", annotations.labels, where)
    score = checked_number(entry.get("score"), -sys.float_info.max, sys.float_info.max, f"{where}.score")
    segmentations, here = entry.get("segmentations"), f"{where}.segmentations"
    masks = checked_masks(segmentations, video, here, any_length=any_length, keep_runs=True)
    return Prediction(video.id, category_id, score, masks, index)
