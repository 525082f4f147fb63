import contextlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from ifrvis.cli import main
from ifrvis.datasets import rle as module
from ifrvis.datasets.rle import area, box, checked_rle, decode, encode, runs_of
from ifrvis.errors import UserError
from studies.plain_readers import sound_mask

masks = st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(lambda shape: arrays(bool, shape))


def plain_runs(mask):
    """Lengths of the alternating runs down the columns, the plain way."""
    runs, inside = [0], False
    for pixel in mask.ravel(order="F"):
        if pixel != inside:
            runs.append(0)
            inside = pixel
        runs[-1] += 1
    return runs


@given(masks)
def test_every_form_of_a_mask_becomes_the_same_code(mask):
    rle = encode(mask)
    size = list(mask.shape)
    np.testing.assert_array_equal(decode(rle), mask)
    assert runs_of([rle]).lengths.tolist() == plain_runs(mask)
    for counts in (rle["counts"], rle["counts"].encode(), plain_runs(mask)):
        assert checked_rle({"size": size, "counts": counts}, *size, "here") == rle


@given(st.lists(st.integers(0, 2**21), min_size=1, max_size=30))
def test_run_lengths_agree_with_pycocotools_for_runs_of_any_length(runs):
    total = sum(runs)
    rle = coco_mask.frPyObjects({"size": [total, 1], "counts": runs}, total, 1)
    assert runs_of([{"size": [total, 1], "counts": rle["counts"].decode()}]).lengths.tolist() == runs


@given(masks)
def test_area_and_box_are_those_of_the_pixels(mask):
    rle = encode(mask)
    ys, xs = np.nonzero(mask)
    tight = (xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1) if xs.size else None
    assert area(rle) == mask.sum()
    assert box(rle) == tight


def test_empty_runs_are_taken_out():
    rle = checked_rle({"size": [4, 4], "counts": [2, 3, 0, 0, 0, 5, 6, 0]}, 4, 4, "here")
    assert runs_of([rle]).lengths.tolist() == [2, 8, 6]
    assert area(rle) == 8


def test_polygons_become_the_union_of_what_they_enclose():
    rle = checked_rle([[1, 1, 5, 1, 5, 4, 1, 4], [6.0, 6.0, 9.0, 6.0, 9.0, 9.0, 6.0, 9.0]], 10, 10, "here")
    assert box(rle) == (1, 1, 8, 8)
    assert area(rle) == 4 * 3 + 3 * 3


@given(st.lists(st.lists(st.integers(-12, 24), min_size=6, max_size=20).filter(lambda p: len(p) % 2 == 0), min_size=1))
def test_any_polygon_becomes_a_code_that_covers_the_frame(polygons):
    rle = checked_rle(polygons, 12, 12, "here")
    assert checked_rle(rle, 12, 12, "here") == rle


BROKEN = {
    "text": "50",
    "number": 3,
    "no counts": {"size": [4, 5]},
    "swapped size": {"size": [5, 4], "counts": [20]},
    "no size": {"counts": [20]},
    "too short": {"size": [4, 5], "counts": [3, 4]},
    "too long": {"size": [4, 5], "counts": [3, 18]},
    "negative": {"size": [4, 5], "counts": [30, -10]},
    "sum wraps around": {"size": [4, 5], "counts": [2**63 - 1, 2**63 - 1, 22]},
    "beyond 64 bits": {"size": [4, 5], "counts": [2**70]},
    "no runs": {"size": [4, 5], "counts": []},
    "no text": {"size": [4, 5], "counts": ""},
    "fractions": {"size": [4, 5], "counts": [10.0, 10.0]},
    "truth": {"size": [4, 5], "counts": [True] * 20},
    "truth among numbers": {"size": [4, 5], "counts": [True, 19]},
    "nested": {"size": [4, 5], "counts": [[20]]},
    "ragged": {"size": [4, 5], "counts": [[20], 1]},
    "short text": {"size": [4, 5], "counts": "3"},
    "unfinished text": {"size": [4, 5], "counts": "d0T"},
    "foreign character": {"size": [4, 5], "counts": "d0 "},
    "beyond ASCII": {"size": [4, 5], "counts": "d\u0660"},
    "endless number": {"size": [4, 5], "counts": "P" * 90 + "0"},
    "polygons: none": [],
    "polygons: flat": [1, 1, 3, 1, 3, 3],
    "polygons: two points": [[1, 1, 3, 1]],
    "polygons: odd": [[1, 1, 3, 1, 3, 3, 1]],
    "polygons: truth": [[1, 1, 3, 1, 3, True]],
    "polygons: not a number": [[1, 1, 3, 1, 3, float("nan")]],
    "polygons: infinite": [[1, 1, 3, 1, 3, float("inf")]],
    "polygons: far away": [[1, 1, 3, 1, 3, 1e9]],
    "polygons: text": [["1", "1", "3", "1", "3", "3"]],
    "polygons: huge": [[1, 1, 3, 1, 3, 10**400]],
    "polygons: an object": [{"x": 1}],
    "polygons: endless": [[0, 0, 4, 4] * 4000],
}


@pytest.mark.parametrize("segmentation", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_segmentation_is_refused_by_its_place(segmentation):
    with pytest.raises(UserError, match=r"^Correct a\.json: annotations\[3\]"):
        checked_rle(segmentation, 4, 5, "a.json: annotations[3]")


@pytest.mark.parametrize("counts", ["34=", "50", "d0", "0d0", "34", "P0", "PPPPPPP0", "34=O0"])
def test_the_plain_reading_of_runs_agrees(counts):
    segmentation = {"size": [4, 5], "counts": counts}
    with contextlib.nullcontext() if sound_mask(segmentation, 4, 5) else pytest.raises(UserError):
        checked_rle(segmentation, 4, 5, "here")


@pytest.mark.parametrize(
    "counts", ["", "1", "58", "4" * 9, "o" * 40, "\x7f", [7, 4], [-1, 13], [12.0], [2**63, 12], None]
)
def test_no_compiled_code_sees_a_mask_that_was_not_checked(counts, tmp_path, monkeypatch, capsys):
    video = {"id": 1, "width": 4, "height": 3, "length": 1, "file_names": ["a/0.jpg"]}
    track = {"id": 1, "video_id": 1, "category_id": 1, "segmentations": [{"size": [3, 4], "counts": counts}]}
    gt = {"videos": [video], "categories": [{"id": 1, "name": "cat"}], "annotations": [track]}
    (tmp_path / "gt.json").write_text(json.dumps(gt))
    (tmp_path / "pred.json").write_text("[]")
    for name in ("area", "decode", "encode", "frPyObjects", "iou", "merge", "toBbox"):
        monkeypatch.setattr(module.coco_mask, name, lambda *_, name=name: pytest.fail(f"{name} was called"))
    assert main(["evaluate", "ap", "--gt", f"{tmp_path}/gt.json", "--pred", f"{tmp_path}/pred.json"]) == 2
    assert "annotations[0].segmentations[0].counts: expected runs" in capsys.readouterr().err
