import copy
import json

import pytest

from ifrvis.datasets.rle import area, runs_of
from ifrvis.datasets.ytvis import Annotations, Category, checked_id, open_annotations, read_annotations
from ifrvis.errors import UserError

CONTENT = {
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
            "segmentations": [{"size": [4, 5], "counts": [3, 4, 13]}, None, {"size": [4, 5], "counts": "34="}],
            "areas": [4, None, 4],
        },
        {"id": "t", "video_id": "b", "category_id": -3, "segmentations": [[[1, 1, 4, 1, 4, 4, 1, 4]]], "iscrowd": 1},
    ],
}


def written(folder, content):
    path = folder / "instances.json"
    path.write_text(json.dumps(content))
    return path


def read_by_video(path):
    """What `read_annotations` gives, of a file that is read video by video."""
    filed = open_annotations(path, lambda done, total: None)
    ones = [filed.of_video(video_id)() for video_id in filed.video_ids]
    parts = [tuple(each for one in ones for each in getattr(one, name)) for name in ("videos", "tracks")]
    whole = Annotations(path, filed.categories, *parts)
    assert (filed.labels, filed.video_ids) == (whole.labels, whole.video_ids)
    return whole


def changed(place, value):
    """The content with one value replaced; a value of `...` takes the key away."""
    content = copy.deepcopy(CONTENT)
    *way, last = place
    target = content
    for key in way:
        target = target[key]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return content


def test_reader_brings_ids_of_any_kind_and_masks_of_any_form_into_one(tmp_path):
    annotations = read_annotations(written(tmp_path, CONTENT))
    first, second = annotations.videos
    assert (first.length, first.name, second.name, second.tags) == (3, "v", "second", {"crossing": True})
    assert annotations.categories[0] == Category(7, "cat")
    assert annotations.labels == {-3: 0, 7: 1, "z": 2}
    (track,) = annotations.tracks_of(0)
    assert [mask and runs_of([mask]).lengths.tolist() for mask in track.masks] == [[3, 4, 13], None, [3, 4, 13]]
    assert (track.areas, track.is_crowd) == ((4.0, None, 4.0), False)
    (other,) = annotations.tracks_of("b")
    assert (other.areas, other.is_crowd, area(other.masks[0])) == ((None,), True, 9)


def test_subset_keeps_videos_with_their_tracks_and_all_categories(tmp_path):
    subset = read_annotations(written(tmp_path, CONTENT)).subset({"b"})
    assert [video.id for video in subset.videos] == ["b"]
    assert [track.id for track in subset.tracks] == ["t"]
    assert len(subset.labels) == 3
    with pytest.raises(UserError, match=r"^Correct the list of videos: .*instances\.json has no video 5\.$"):
        subset.subset([5])


def test_the_middle_of_videos_keeps_the_tracks_that_are_seen_there(tmp_path):
    content = copy.deepcopy(CONTENT)
    content["videos"][0] |= {"length": 4, "file_names": [f"v/{t}.jpg" for t in range(4)]}
    seen, empty = {"size": [4, 5], "counts": [3, 4, 13]}, {"size": [4, 5], "counts": [20]}
    masks = [[None, seen, None, None], [seen, None, None, seen], [seen, empty, None, seen]]
    content["annotations"][0].pop("areas")
    first, other = content["annotations"]
    content["annotations"] = [first | {"id": at, "segmentations": of} for at, of in enumerate(masks)] + [other]
    middle = read_annotations(written(tmp_path, content)).middle(2)
    assert [video.file_names for video in middle.videos] == [("v/1.jpg", "v/2.jpg"), ("w/x/0.jpg",)]
    assert [(track.id, len(track.masks), len(track.areas)) for track in middle.tracks] == [(0, 2, 2), ("t", 1, 1)]
    assert [video.file_names[0] for video in middle.middle(1).videos] == ["v/1.jpg", "w/x/0.jpg"]


def test_a_file_that_is_read_video_by_video_gives_the_same(tmp_path):
    content = changed(["annotations"], [*CONTENT["annotations"][::-1], {**CONTENT["annotations"][0], "id": 2}])
    content = {key: content[key] for key in ("annotations", "videos", "categories")}  # tracks first
    found, whole = read_by_video(path := written(tmp_path, content)), read_annotations(path)
    for video_id in (0, "b"):
        assert found.tracks_of(video_id) == whole.tracks_of(video_id)
        assert found.of_video(video_id)() == whole.of_video(video_id)()
    assert found.videos == whole.videos


def test_a_test_split_has_no_tracks(tmp_path):
    path = written(tmp_path, changed(["annotations"], ...))
    assert read_annotations(path, tracks_required=False).tracks == ()
    for read in (read_annotations, read_by_video):
        with pytest.raises(UserError, match=r"annotations: expected a list \(a test split's .*got None"):
            read(path)


VIDEO, TRACK = ["videos", 0], ["annotations", 0]
BROKEN = [
    (["videos"], []),
    (["videos"], None),
    (["videos"], {"0": {}}),
    (["categories"], {}),
    (["videos", 0], 3),
    *[([*VIDEO, "id"], value) for value in (..., None, 1.0, True, [1], {}, "b")],
    *[([*TRACK, "id"], value) for value in (None, "t", 2.5, "\ud800", "a\0")],
    *[(["categories", 0, "id"], value) for value in (None, -3, "-3", False)],
    (["categories", 0, "name"], ""),
    (["categories", 0, "name"], "\ud800"),
    *[([*VIDEO, "width"], value) for value in (..., 0, -5, 5.0, True, "5", 10**6, 6)],
    *[([*VIDEO, "length"], value) for value in (2, 3.0, "3")],
    *[([*VIDEO, "file_names"], value) for value in (..., [], "v/0.jpg", ["0.jpg"])],
    *[
        ([*VIDEO, "file_names", 1], value)
        for value in ("", "/etc/passwd", "../0.jpg", "v/../../0.jpg", None, "a\0", "v\\0.jpg", f"v/{'1' * 4400}.jpg")
    ],
    ([*VIDEO, "name"], 5),
    ([*VIDEO, "tags"], []),
    *[([*TRACK, "video_id"], value) for value in (..., 1, "0", False, 0.0, [], None)],
    *[([*TRACK, "category_id"], value) for value in (..., 1, "7", 7.0, {})],
    *[([*TRACK, "segmentations"], value) for value in (..., None, [], [None] * 4)],
    *[([*TRACK, "segmentations", 0], value) for value in ([], {}, 0, False, {"size": [4, 5], "counts": "3"})],
    *[([*TRACK, "areas"], value) for value in (None, [4], [4, None, -1], [4, None, float("nan")], ["4", None, 4])],
    *[([*TRACK, "iscrowd"], value) for value in (2, None, "1", 1.0, [])],
]


@pytest.mark.parametrize(("place", "value"), BROKEN, ids=[f"{'.'.join(map(str, p))}={v!r:.20}" for p, v in BROKEN])
def test_a_wrong_field_is_refused_by_file_index_and_field(tmp_path, place, value):
    path = written(tmp_path, changed(place, value))
    with pytest.raises(UserError, match=r"^Correct .*instances\.json: (videos|categories|annotations)\b") as caught:
        read_annotations(path)
    with pytest.raises(UserError) as by_video:
        read_by_video(path)
    assert str(by_video.value) == str(caught.value)


def test_the_error_names_file_index_field_and_value(tmp_path):
    path = written(tmp_path, changed(["annotations", 1, "category_id"], 9))
    with pytest.raises(UserError) as caught:
        read_annotations(path)
    expected = f"Correct {path}: annotations[1].category_id: expected an id that the annotation file defines, got 9."
    assert str(caught.value) == expected


def test_coco_is_named_and_what_makes_a_set_of_it(tmp_path):
    content = {**CONTENT, "images": [{"id": 1}], "annotations": [{"id": 1, "image_id": 1, "category_id": 7}]}
    for path in (written(tmp_path, content), written(tmp_path, {k: v for k, v in content.items() if k != "videos"})):
        for read in (read_annotations, read_by_video):
            with pytest.raises(UserError, match="COCO's: `ifrvis data import coco`"):
                read(path)
    with pytest.raises(UserError, match=r"annotation file defines, got None\."):  # an import would lose scores
        checked_id({"image_id": 1, "score": 0.5}, "video_id", (), "results.json: [0]")


@pytest.mark.parametrize("text", ["", "[]", "3", '{"videos": ', "[" * 100_000, "\xff"])
def test_a_file_that_is_no_such_object_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text, encoding="latin-1")
    for read in (read_annotations, read_by_video):
        with pytest.raises(UserError, match=r"a\.json"):
            read(tmp_path / "a.json")
