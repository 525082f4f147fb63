import gzip
import json
from pathlib import Path

import pytest
from made_sets import as_json

from ifrvis.datasets.ytvis import Annotations, Category, Video, open_annotations
from ifrvis.errors import UserError
from ifrvis.evaluation.predictions import (
    Prediction,
    Scored,
    VideoPredictions,
    open_tracks,
    queries_of,
    read_predictions,
    read_results,
    read_tracks,
    results_of,
    write_predictions,
)

RLE = {"size": [4, 5], "counts": "34="}  # runs 3, 4, 13
ANNOTATIONS = Annotations(
    Path("gt.json"),
    (Category(1, "cat"), Category("d", "dog")),
    (Video(7, 5, 4, ("v/0.jpg", "v/1.jpg"), "v"), Video("w", 5, 4, ("w/0.jpg",), "w")),
    (),
)
FIRST = VideoPredictions(
    video_id=7,
    height=4,
    width=5,
    length=2,
    masks={12: (RLE, None), 3: (None, None)},
    by_class=(Scored(12, 1, 0.1 + 0.2), Scored(12, "d", 0.25), Scored(3, 1, 0.0)),
    by_query=(Scored(12, 1, 0.1 + 0.2),),
)
EMPTY = VideoPredictions("w", 4, 5, 1, {}, (), ())
ENTRY = {"video_id": 7, "category_id": 1, "score": 3.5, "segmentations": [RLE, None]}


def read_by_video(path, tracks="entries", **options):
    """The predicted tracks of a file, video by video, each read when it is asked for; and how many the file has."""
    (path.parent / "gt.json").write_text(json.dumps(as_json(ANNOTATIONS)))
    annotations = open_annotations(path.parent / "gt.json", lambda done, total: None)
    filed = open_tracks(path, annotations, tracks, path.parent, lambda done, total: None, **options)
    found = [filed.tracks(video_id)(annotations.of_video(video_id)()) for video_id in (7, "w")]
    assert filed.num_videos == sum(map(bool, found))
    return tuple(each for of in found for each in of), filed.num_tracks


def both_refuse(read, path, match):
    """Whole or video by video, a file is refused in the same words."""
    said = []
    for each in (lambda: read(path, ANNOTATIONS), lambda: read_by_video(path)):
        with pytest.raises(UserError, match=match) as caught:
            each()
        said.append(str(caught.value))
    assert said[0] == said[1]


def zipped(folder, content):
    path = folder / "predictions.json.gz"
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    return path


def content_with(**changes):
    return {"schema": 1, "videos": [{**vars(FIRST), **changes}, vars(EMPTY)]}


def test_predictions_come_back_as_they_were(tmp_path):
    path = tmp_path / "predictions.json.gz"
    write_predictions(path, [EMPTY, FIRST])
    assert read_predictions(path, ANNOTATIONS) == (FIRST, EMPTY)
    assert read_by_video(path) == (results_of([FIRST]), 3)
    assert read_by_video(path, "queries") == (queries_of([FIRST]), 1)
    before = path.read_bytes()
    write_predictions(path, [FIRST, EMPTY])
    assert path.read_bytes() == before
    assert before[4:8] == b"\0\0\0\0"  # gzip's time


def test_results_are_the_pairs_of_query_and_class(tmp_path):
    results = results_of([FIRST, EMPTY])
    assert [(each.category_id, each.score) for each in results] == [(1, 0.1 + 0.2), ("d", 0.25), (1, 0.0)]
    path = tmp_path / "results.json"
    path.write_text(json.dumps([each.to_json() for each in results]))
    assert read_results(path, ANNOTATIONS) == read_by_video(path)[0] == results
    assert [each.number for each in read_by_video(path, "queries")[0]] == [0, 2]


MASKS = {"12": [RLE, None], "3": [None, None]}
BROKEN = {
    "list": [],
    "newer": {"schema": 2, "videos": []},
    "schema true": {"schema": True, "videos": []},
    "no videos": {"schema": 1},
    "video missing": {"schema": 1, "videos": [vars(FIRST)]},
    "video twice": {"schema": 1, "videos": [vars(FIRST), vars(FIRST)]},
    "not an object": {"schema": 1, "videos": [7]},
    "unknown video": content_with(video_id=8),
    "unhashable video": content_with(video_id=[]),
    "height": content_with(height=5),
    "width": content_with(width=5.0),
    "length": content_with(length=3),
    "masks": content_with(masks=[]),
    "masks short": content_with(masks={**MASKS, "3": [None]}),
    "masks not a list": content_with(masks={**MASKS, "3": None}),
    "mask of another size": content_with(masks={**MASKS, "3": [None, {"size": [5, 4], "counts": "34="}]}),
    "mask too short": content_with(masks={**MASKS, "3": [None, {"size": [4, 5], "counts": "34"}]}),
    **{
        f"query {query!r}": content_with(masks={**MASKS, query: []}) for query in ("-1", "a", "", "03", "²", "9" * 5000)
    },
    "by_class": content_with(by_class=None),
    "by_class twice": content_with(by_class=[[12, 1, 0.5], [12, 1, 0.4]]),
    "by_query twice": content_with(by_query=[[12, 1, 0.5], [12, "d", 0.4]]),
    "pair": content_with(by_query=[[12, 1]]),
    "query without masks": content_with(by_query=[[4, 1, 0.5]]),
    "query as text": content_with(by_query=[["12", 1, 0.5]]),
    "unknown category": content_with(by_query=[[12, 2, 0.5]]),
    **{f"score {score!r}": content_with(by_query=[[12, 1, score]]) for score in (float("nan"), 1.01, -0.1, None, True)},
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=[name[:24] for name in BROKEN])
def test_broken_predictions_are_refused(tmp_path, content):
    both_refuse(read_predictions, zipped(tmp_path, content), r"^(Correct|Predict again:) .*predictions\.json\.gz")


def test_the_error_names_index_and_field(tmp_path):
    path = zipped(tmp_path, content_with(by_query=[[12, 1, 1.5]]))
    with pytest.raises(UserError, match=r"videos\[0\]\.by_query\[0\]\.score: expected a number from 0 to 1, got 1\.5"):
        read_predictions(path, ANNOTATIONS)


@pytest.mark.parametrize(
    "data",
    [b"", b"text", gzip.compress(b"[1")[:-9], *map(gzip.compress, (b"[1", b"\xff\xfe", b'{"a": 1, "a": 1}'))],
    ids=["empty", "text", "cut short", "no JSON", "no UTF-8", "a key twice"],  # packed bytes tell the time
)
def test_a_file_that_cannot_be_unpacked_is_refused(tmp_path, data):
    path = tmp_path / "p.json.gz"
    path.write_bytes(data)
    for read in (lambda: read_predictions(path, ANNOTATIONS), lambda: read_by_video(path)):
        with pytest.raises(UserError, match=r"^Replace .*p\.json\.gz"):
            read()


@pytest.mark.parametrize(
    "text", ["", "{}", "3", "[", "[{}", "[null]", '[{"video_id": 7}, {"video_id": 7, "video_id": 7}]', "\xff"]
)
def test_what_is_no_results_file_is_refused(tmp_path, text):
    (tmp_path / "results.json").write_text(text, encoding="latin-1")
    for read in (lambda path: read_results(path, ANNOTATIONS), read_by_video):
        with pytest.raises(UserError, match=r"^(Correct|Replace) .*results\.json"):
            read(tmp_path / "results.json")


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("r.zip", b"PK\3\4\xff", "^Unpack .*r.zip: "),
        ("r.json.gz", gzip.compress(b"[]"), "a results file, its .json unp"),
    ],
    ids=["a server's zip", "a packed list"],
)
def test_a_packed_results_file_is_told_to_be_unpacked(tmp_path, name, data, says):
    (tmp_path / name).write_bytes(data)
    for read in (lambda path: read_tracks(path, ANNOTATIONS, "entries"), read_by_video):
        with pytest.raises(UserError, match=says):
            read(tmp_path / name)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_predictions(tmp_path / "none.json.gz", ANNOTATIONS)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"video_id": 1}, "video_id"),
        ({"category_id": "1"}, "category_id"),
        ({"score": float("inf")}, "score"),
        ({"score": 10**400}, "score"),
        ({"score": "1"}, "score"),
        ({"segmentations": [RLE]}, "segmentations"),
        ({"segmentations": [None] * 3}, "segmentations"),
        ({"segmentations": None}, "segmentations"),
        ({"segmentations": [{}, None]}, "segmentations"),
    ],
)
def test_broken_results_are_refused_by_index_and_field(tmp_path, change, field):
    path = tmp_path / "results.json"
    path.write_text(json.dumps([ENTRY, {**ENTRY, **change}]))
    both_refuse(read_results, path, rf"results\.json: \[1\]\.{field}")


def test_only_official_quirks_accept_tracks_of_another_length(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps([{**ENTRY, "segmentations": [RLE]}]))
    assert read_by_video(path, official_quirks=True) == ((Prediction(7, 1, 3.5, (RLE,)),), 1)
