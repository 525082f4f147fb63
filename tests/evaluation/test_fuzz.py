"""Every field of both files changed at random, through the commands: no traceback, and nothing accepted wrongly.

500 cases; `IFRVIS_FUZZ=10000 pytest tests/evaluation/test_fuzz.py` for as many more as you like. What is sound is said
a second time here, in the plainest way.
"""

import contextlib
import copy
import io
import json
import os
import re
from collections import Counter
from pathlib import PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ifrvis.cli import main

CASES = int(os.environ.get("IFRVIS_FUZZ", "500"))
SIDE = 16384
RLE = {"size": [4, 5], "counts": "34="}  # runs 3, 4, 13
GT = {
    "videos": [
        {"id": 0, "width": 5, "height": 4, "length": 3, "file_names": ["v/0.jpg", "v/1.jpg", "v/2.jpg"]},
        {"id": "b", "width": 6, "height": 6, "file_names": ["w/x/0.jpg"], "name": "second", "tags": {"crossing": True}},
    ],
    "categories": [{"id": 7, "name": "cat"}, {"id": -3, "name": "dog"}, {"id": "z", "name": "eel"}],
    "annotations": [
        {
            "id": 0,
            "video_id": 0,
            "category_id": 7,
            "iscrowd": 0,
            "segmentations": [{"size": [4, 5], "counts": [3, 4, 13]}, None, RLE],
            "areas": [4, None, 4.5],
        },
        {"id": "t", "video_id": "b", "category_id": -3, "segmentations": [[[1, 1, 4, 1, 4, 4, 1, 4]]], "iscrowd": 1},
    ],
}
PRED = [
    {"video_id": 0, "category_id": 7, "score": 0.9, "segmentations": [RLE, None, RLE]},
    {"video_id": 0, "category_id": "z", "score": 7, "segmentations": [RLE, {"size": [4, 5], "counts": [20]}, None]},
    {"video_id": "b", "category_id": -3, "score": -0.5, "segmentations": [[[1, 1, 4, 1, 4, 4, 1, 4]]]},
]


def places(value, way=()):
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [p for key, child in children for p in ((*way, key), *places(child, (*way, key)))]


def is_id(value):
    return type(value) in (int, str)


def is_number(value, low, high):
    return type(value) in (int, float) and low <= value <= high


def is_text(value):
    return isinstance(value, str) and value and "\0" not in value and not any("\ud800" <= c <= "\udfff" for c in value)


def are_entries(values):
    if not isinstance(values, list) or not all(isinstance(e, dict) and is_id(e.get("id")) for e in values):
        return False
    return len({str(entry["id"]) for entry in values}) == len(values)


def sound_gt(gt):
    if not isinstance(gt, dict) or not all(are_entries(gt.get(k)) for k in ("videos", "categories", "annotations")):
        return False
    if not gt["videos"] or not gt["categories"] or not all(is_text(entry.get("name")) for entry in gt["categories"]):
        return False
    return all(map(sound_video, gt["videos"])) and all(sound_track(entry, gt) for entry in gt["annotations"])


def sound_video(video):
    names = video.get("file_names")
    if not isinstance(names, list) or not names or not all(is_text(n) for n in names):
        return False
    inside = all(not name.startswith("/") and ".." not in name.split("/") for name in names)
    sides = all(type(video.get(k)) is int and 1 <= video[k] <= SIDE for k in ("width", "height"))
    length = video.get("length")
    good_length = length is None or (type(length) is int and length == len(names))
    name = video.get("name", PurePosixPath(names[0]).parent.as_posix())
    return inside and sides and good_length and is_text(name) and isinstance(video.get("tags", {}), dict)


def video_of(entry, gt):
    """The video of a track whose ids are sound, or None."""
    ids = entry.get("video_id"), entry.get("category_id")
    if not all(map(is_id, ids)) or not any(same(c["id"], ids[1]) for c in gt["categories"]):
        return None
    return next((video for video in gt["videos"] if same(video["id"], ids[0])), None)


def same(first, second):
    return type(first) is type(second) and first == second


def sound_track(entry, gt):
    video = video_of(entry, gt)
    if video is None or not sound_masks(entry.get("segmentations"), video):
        return False
    areas, length = entry.get("areas", [None] * len(video["file_names"])), len(video["file_names"])
    good_areas = isinstance(areas, list) and len(areas) == length
    good_areas = good_areas and all(area is None or is_number(area, 0, SIDE**2) for area in areas)
    is_crowd = entry.get("iscrowd", 0)
    return good_areas and type(is_crowd) in (int, bool) and is_crowd in (0, 1)


def sound_pred(pred, gt):
    return isinstance(pred, list) and all(
        isinstance(entry, dict)
        and (video := video_of(entry, gt)) is not None
        and is_number(entry.get("score"), -1.8e308, 1.7976931348623157e308)
        and entry["score"] != float("-inf")
        and sound_masks(entry.get("segmentations"), video)
        for entry in pred
    )


def sound_masks(masks, video):
    if not isinstance(masks, list) or len(masks) != len(video["file_names"]):
        return False
    return all(mask is None or sound_mask(mask, video["height"], video["width"]) for mask in masks)


def sound_mask(mask, height, width):
    if isinstance(mask, list):
        return bool(mask) and all(sound_polygon(polygon, height, width) for polygon in mask)
    if not isinstance(mask, dict) or mask.get("size") != [height, width]:
        return False
    runs = mask.get("counts")
    runs = decompressed(runs) if isinstance(runs, str) else runs
    whole = isinstance(runs, list) and runs and all(type(run) is int and run >= 0 for run in runs)
    return whole and sum(runs) == height * width


def sound_polygon(polygon, height, width):
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        return False
    if any(type(n) not in (int, float) for n in polygon):
        return False
    points = list(zip(polygon[::2], polygon[1::2]))
    near = all(-width <= x <= 2 * width and -height <= y <= 2 * height for x, y in points)
    around = sum(abs(x - u) + abs(y - v) for (x, y), (u, v) in zip(points, points[1:] + points[:1])) if near else 0
    return near and around <= 1000 * (height + width)


def decompressed(text):
    runs, number, shift = [], 0, 0
    for character in text:
        digit = ord(character) - 48
        if not 0 <= digit < 64 or shift == 30:
            return None
        number, shift = number | (digit & 31) << shift, shift + 5
        if digit < 32:
            number -= 1 << shift if digit & 16 else 0
            runs.append(number + runs[-2] if len(runs) > 2 else number)
            number, shift = 0, 0
    return runs if shift == 0 else None


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=3)
    | st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, -3, "b", "z", "7", 0.5, 10**400, "\0", "\ud800", "../x", "d0", "34=0"])
)
masks = st.sampled_from(
    [RLE, {"size": [4, 5], "counts": [3, 4, 0, 13]}, {"size": [4, 5], "counts": "50"}, [[0, 0, 3, 0, 3, 3]]]
)
values = st.recursive(
    scalars | masks,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["size", "counts", "id"]), inner),
    max_leaves=6,
)
PLACES = [("gt", way) for way in places(GT)] + [("pred", way) for way in places(PRED)]


def at(file, way):
    content = {"gt": GT, "pred": PRED}[file]
    for key in way:
        content = content[key]
    return content


def like(place):
    """Values of other places whose last key is the same: often sound, often just not."""
    return st.sampled_from([at(*other) for other in PLACES if str(other[1][-1]) == str(place[1][-1])])


changes = st.lists(
    st.sampled_from(PLACES).flatmap(lambda place: st.tuples(st.just(place), st.just(...) | values | like(place))),
    max_size=2,
)
SEEN: Counter = Counter()


def changed(content, way, value):
    """Replace the value at a place, or take it away for `...`; a place that is gone stays so."""
    with contextlib.suppress(KeyError, IndexError, TypeError):
        for key in way[:-1]:
            content = content[key]
        if value is ...:
            del content[way[-1]]
        else:
            content[way[-1]] = copy.deepcopy(value)  # the next change may be inside it


@settings(max_examples=CASES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(changes, st.sampled_from(["ap", "ap", "tracking", "identity"]))
def fuzz(folder, changes, metric):
    files = {"gt": copy.deepcopy(GT), "pred": copy.deepcopy(PRED)}
    for (file, way), value in changes:
        changed(files[file], way, value)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(["evaluate", metric, "--gt", f"{folder}/gt.json", "--pred", f"{folder}/pred.json", "--json"])
    read = [json.loads((folder / f"{name}.json").read_text()) for name in ("gt", "pred")]
    if sound_gt(read[0]) and sound_pred(read[1], read[0]):
        assert (status, err.getvalue()) == (0, "")
        assert isinstance(json.loads(out.getvalue()), dict)
    else:
        assert (status, out.getvalue()) == (2, "")
        place = r"(gt\.json: (videos|categories|annotations)\S*|pred\.json: \[\d+\]\S*|(gt|pred)\.json): expected"
        assert re.match(rf"ifrvis: Correct \S*/{place} ", err.getvalue()), err.getvalue()
        assert err.getvalue().count("\n") == 1
    SEEN["accepted" if status == 0 else "refused"] += 1


def test_fuzzed_files_are_refused_by_file_index_and_field_or_were_sound(tmp_path):
    SEEN.clear()
    fuzz(tmp_path)
    print(dict(SEEN))
    assert min(SEEN["accepted"], SEEN["refused"]) > CASES / 20  # no use if everything, or nothing, is refused


@pytest.mark.parametrize("mask", [RLE["counts"], "50", "d0", "0d0", "34", "P0", "PPPPPPP0", "34=O0"])
def test_the_plain_reading_of_runs_agrees_with_the_reader(mask):
    """The second opinion itself, beside the first."""
    from ifrvis.datasets.rle import checked_rle
    from ifrvis.errors import UserError

    with contextlib.nullcontext() if sound_mask({**RLE, "counts": mask}, 4, 5) else pytest.raises(UserError):
        checked_rle({**RLE, "counts": mask}, 4, 5, "here")
