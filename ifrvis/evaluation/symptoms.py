"""What a results file alone shows of a wrong set-up: ids, sizes, scores and numbers of its tracks.

The file may be one that scoring refuses: it is read as far as it can be.
"""

import reprlib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from ifrvis.datasets.rle import expect
from ifrvis.datasets.ytvis import Annotations, Id, checked_number, id_order
from ifrvis.errors import UserError
from ifrvis.evaluation.predictions import Prediction, checked_results, one_class_each
from ifrvis.evaluation.processes import tasks_of
from ifrvis.evaluation.tubes import overlaps
from ifrvis.files import read_json, read_packed_json

LEAST_IOU = 0.5  # of a track and the object that it is on
LEAST_TRACKS = 5  # from which on what they have in common is no chance
LARGEST = sys.float_info.max


class Symptom(NamedTuple):
    """What a file shows, what it should, and what follows."""

    what: str
    yours: str
    wanted: str
    effect: str
    sure: bool = True  # whether it can be nothing but a mistake


def results_symptoms(path: Path, annotations: Annotations | None, *, topk: int | None) -> list[Symptom]:
    """What is wrong in a results file, or in the predictions file of a run (`.gz`), the gravest first; UserError if it
    is neither.

    Without `annotations`, the ground truth, ids and sizes are not looked at; a video should have `topk` tracks, or any
    number.
    """
    entries, found = _entries(path), list[Symptom]()
    if not entries:
        return [Symptom("tracks", "none", "some in every video", "AP 0")]
    if annotations:
        found += _about_truth(entries, annotations)
        try:
            found += _shifted_categories(annotations, checked_results(entries, annotations, str(path)))
        except UserError as error:
            found = found or [Symptom("the file", "scoring refuses it", "sound", str(error))]
    return [*found, *_alone(entries, topk)]


def _entries(path: Path) -> list[dict[str, Any]]:
    """The entries of either file as those of a results file, their fields of the right types, no more."""
    if path.suffix != ".gz":
        given: Any = read_json(path, "the results file")
    else:
        content = read_packed_json(path, "the predictions file")
        try:
            given = [
                {"video_id": video["video_id"], "category_id": category, "score": score}
                | {"segmentations": video["masks"][str(query)]}
                for video in content["videos"]
                for query, category, score in video["by_class"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"Predict again: {path} is no predictions file of a run ({error!r}).") from error
    expect(isinstance(given, list), str(path), "a list of predicted tracks", given)
    for index, entry in enumerate(given):
        where = f"{path}: [{index}]"
        expect(isinstance(entry, dict), where, "an object", entry)
        for key in ("video_id", "category_id"):
            expect(type(entry.get(key)) in (int, str), f"{where}.{key}", "a whole number or a text", entry.get(key))
        checked_number(entry.get("score"), -LARGEST, LARGEST, f"{where}.score")
        expect(isinstance(entry.get("segmentations"), list), f"{where}.segmentations", "a list of masks", None)
    return list(given)


def _about_truth(entries: Sequence[dict[str, Any]], annotations: Annotations) -> Iterator[Symptom]:
    """What does not fit the ground truth's videos and categories."""
    videos, labels = annotations.video_by_id, annotations.labels
    given, categories = ({entry[key] for entry in entries} for key in ("video_id", "category_id"))
    if others := given - videos.keys():
        yield Symptom("videos", f"{len(others)} that the set has not", _ids(videos), "scoring refuses the file")
    if lacking := len(videos.keys() - given):
        share, many = f"{lacking} of {len(videos)} without a track", lacking * 10 > len(videos)
        yield Symptom("videos", share, "tracks in every video", "all objects there are missed", sure=many)
    if categories - labels.keys():
        yours = _ids(categories) + " (counted from 0)" * (0 in categories and 0 not in labels)
        yield Symptom("categories", yours, _ids(labels), "tracks are scored under other categories, or refused")
    elif len(categories) == 1 < len({track.category_id for track in annotations.tracks}):
        yield Symptom("categories", f"{_ids(categories)} alone", _ids(labels), "AP of every other category is 0")
    known = [(entry["segmentations"], videos[entry["video_id"]]) for entry in entries if entry["video_id"] in videos]
    shapes = Counter(
        (reprlib.repr(mask.get("size")), repr([video.height, video.width]))
        for masks, video in known
        for mask in masks
        if isinstance(mask, dict) and mask.get("size") != [video.height, video.width]
    )
    for (has, wants), number in shapes.most_common(1):
        text = "masks are not resized to their video: scoring refuses them"
        yield Symptom("size of masks", f"{has} ({number} masks)", f"{wants}, the video's", text)
    lengths = [(len(masks), video.length) for masks, video in known]
    for length, frames in [each for each in lengths if each[0] != each[1]][:1]:
        yield Symptom("frames of a track", str(length), f"{frames}, the video's", "scoring refuses the file")


def _shifted_categories(annotations: Annotations, results: Iterable[Prediction]) -> Iterator[Symptom]:
    """Whether most tracks that lie on an object have the category that is so many places beside the object's."""
    labels, shifts = annotations.labels, Counter[int]()
    for load in tasks_of(annotations, one_class_each(results), crowds=False):
        video, gts, preds = load()
        both = overlaps(video, [pred.masks for pred in preds], [gt.masks for gt in gts])
        shared, areas = both.shared.sum(axis=0), np.add.outer(both.pred_areas.sum(axis=0), both.gt_areas.sum(axis=0))
        for pred, ious in zip(preds, shared / np.maximum(areas - shared, 1)):
            if ious.max(initial=0) >= LEAST_IOU:
                shifts[labels[pred.category_id] - labels[gts[ious.argmax()].category_id]] += 1
    for shift, number in shifts.most_common(1):
        if shift and number * 2 > shifts.total() >= LEAST_TRACKS:
            yours = f"{number} of {shifts.total()} tracks on an object are {shift:+d}"
            yield Symptom("categories", yours, "the object's", "tracks are scored under other categories: AP near 0")


def _alone(entries: Sequence[dict[str, Any]], topk: int | None) -> Iterator[Symptom]:
    """What needs no ground truth."""
    scores = sorted(entry["score"] for entry in entries)
    if scores[0] < 0 or scores[-1] > 1:
        text = "percent or logits: no threshold means what it says"
        yield Symptom("scores", f"{scores[0]:g} to {scores[-1]:g}", "0 to 1", text)
    elif len(scores) >= LEAST_TRACKS and scores[0] == scores[-1]:
        yield Symptom("scores", f"all {scores[0]:g}", "of each track its own", "AP ranks by scores: nothing is ranked")
    seen = median(sum(bool(mask) for mask in entry["segmentations"]) for entry in entries)
    frames = median(len(entry["segmentations"]) for entry in entries)
    if seen <= 1 < frames - 1:
        text = "identities are not linked over frames, or masks are lost"
        yield Symptom("frames of a track", f"{seen:g} of {frames:g} with a mask", "where the object is seen", text)
    most = max(Counter(entry["video_id"] for entry in entries).values())
    if topk is not None and most != topk:
        cause = "more outputs than asked for" if most > topk else "a threshold on scores, or fewer outputs"
        yield Symptom("tracks of a video", f"at most {most}", str(topk), f"{cause}: size not known", sure=False)


def _ids(given: Iterable[Id]) -> str:
    known = sorted(given, key=id_order)
    return f"{known[0]} to {known[-1]}" if len(known) > 1 else str(known[0])
