"""Pseudo-videos: the motion depends on its key alone, masks and ids follow the image, stills come at their ratio.

Also tests: ifrvis.datasets.coco.
"""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from ifrvis.datasets.catalog import load_dataset
from ifrvis.datasets.clips import ClipSampler
from ifrvis.datasets.coco import Stills, StillSet, load_stills
from ifrvis.datasets.rle import encode
from ifrvis.datasets.stills import Change, MixedSampler, StillSampler, _changed, load_still
from ifrvis.datasets.ytvis import Annotations, Category, Track, Video
from ifrvis.errors import DataMissingError, UserError
from ifrvis.files import read_yaml
from ifrvis.packed import packed

WIDTH, HEIGHT = 80, 60
CROP = {"probability": 0.5, "sides": [60, 90], "smallest": 40, "largest": 70}
LABELS = (Category(3, "animal"), Category(5, "person"))
NAMES = {"cat": "animal", "dog": "animal", "human": "person"}


def box(left, top, right, bottom):
    return [[left, top, right, top, right, bottom, left, bottom]]


def content(count=4):
    """COCO's format: a bright square on black in each image, its polygon, and what has to be left out."""
    images = [{"id": 10 + k, "width": WIDTH, "height": HEIGHT, "file_name": f"{k}.png"} for k in range(count)]
    square = {"category_id": 2, "segmentation": box(24, 16, 56, 44), "iscrowd": 0, "area": 896}
    annotations = [{**square, "id": 100 + k, "image_id": 10 + k} for k in range(count)]
    whole = encode(np.ones((HEIGHT, WIDTH), bool))
    annotations += [
        {"id": 200, "image_id": 10, "category_id": 2, "segmentation": whole, "iscrowd": 1},
        {"id": 201, "image_id": 10, "category_id": 4, "segmentation": box(0, 0, 9, 9), "iscrowd": 0},
        {"id": 202, "image_id": 10, "category_id": 9, "segmentation": box(0, 0, 9, 9), "iscrowd": 0},
        {
            "id": 203,
            "image_id": 11,
            "category_id": 9,
            "segmentation": [[1, 1, 2, 2], *box(2, 30, 12, 50)],
            "iscrowd": 0,
        },
        {"id": 204, "image_id": 11, "category_id": 9, "segmentation": [[1, 1, 2, 2]], "iscrowd": 0},
    ]
    names = {2: "cat", 4: "car", 9: "human"}
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": key, "name": name} for key, name in names.items()],
    }


@pytest.fixture
def write(tmp_path):
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[16:44, 24:56] = 255

    def write_set(given=None):
        given = content() if given is None else given
        for k in range(4):
            cv2.imwrite(str(tmp_path / f"{k}.png"), image)
        (tmp_path / "stills.json").write_text(json.dumps(given))
        return StillSet(tmp_path / "stills.json", tmp_path, NAMES, "")

    return write_set


@pytest.fixture
def stills(write):
    return write().read(LABELS)


def sampler(stills, **changes):
    return StillSampler(
        stills,
        **({"seed": 3, "num_frames": 5, "sides": [60, 90], "max_side": 300, "flip": 0.5, "resize": "pillow"} | changes),
    )


def test_crowds_and_other_categories_are_left_out_and_names_become_labels(stills):
    tracks = {track.id: track for track in stills.annotations.tracks}
    assert sorted(tracks) == [100, 101, 102, 103, 202, 203, 204]
    assert [stills.annotations.labels[tracks[key].category_id] for key in (100, 202)] == [0, 1]
    assert tracks[203].masks[0] is not None  # without its polygon of two points
    assert tracks[204].masks == (None,)
    assert [video.name for video in stills.annotations.videos] == ["0.png", "1.png", "2.png", "3.png"]


def test_images_without_a_shared_category_are_not_drawn(write):
    given = content()
    given["annotations"] = [each for each in given["annotations"] if each["image_id"] != 12]
    assert [video.id for video in write(given).read(LABELS).annotations.videos] == [10, 11, 13]
    given["annotations"] = [each for each in given["annotations"] if each["category_id"] == 4]
    with pytest.raises(UserError, match=r"^Choose other stills than .*: no image shows"):
        write(given).read(LABELS)


def test_a_draw_depends_on_nothing_but_its_key(stills):
    keys = [(i, p, 3 * i + p) for i in range(8) for p in range(3)]
    forwards = {key: sampler(stills).draw(*key) for key in keys}
    one = sampler(stills)
    assert {key: one.draw(*key) for key in reversed(keys)} == forwards
    assert sampler(stills, seed=4).draw(*keys[0]) != forwards[keys[0]]
    assert len({draw.changes for draw in forwards.values()}) == len(keys)


def test_changes_of_frames_come_at_their_rates(stills):
    draws = [sampler(stills).draw(i, 0, i) for i in range(400)]
    assert all(draw.changes.count(Change()) == 1 for draw in draws)
    changed = [change for draw in draws for change in draw.changes if change.motion]
    assert np.mean([change.blur[0] > 0 for change in changed]) == pytest.approx(0.25, abs=0.03)
    assert {change.blur[0] for change in changed} == {0, 9, 11}
    assert {change.brightness for change in changed} == {*range(-40, 41)}
    assert {change.hue for change in changed} == {*range(-5, 6)}
    for of in ("brightness", "hue"):  # three quarters, and of these a few add nothing
        assert np.mean([getattr(change, of) != 0 for change in changed]) == pytest.approx(0.73, abs=0.06)
    assert np.mean([change.brightness == change.hue == 0 for change in changed]) < 0.05
    assert np.mean([draw.flip for draw in draws]) == pytest.approx(0.5, abs=0.08)
    assert {draw.size for draw in draws} == {(60, 80), (90, 120)}


def mapped(change, points):
    """Points of the still in a frame, (N, 2), by the definition of a homography."""
    if change.motion is None:
        return points
    homogeneous = np.concatenate([points, np.ones((len(points), 1))], 1) @ np.array(change.motion).reshape(3, 3).T
    return homogeneous[:, :2] / homogeneous[:, 2:]


def test_motions_stay_in_their_range(stills):
    corners = np.array([[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]]) - 0.5
    centre = np.array([[WIDTH, HEIGHT]]) / 2 - 0.5
    turns, shifts = [], []
    for change in (change for i in range(200) for change in sampler(stills).draw(i, 0, i).changes if change.motion):
        shifts.append(np.abs(mapped(change, centre) - centre).max())
        edge = np.subtract(*mapped(change, corners)[[1, 0]])
        turns.append(np.degrees(np.arctan2(edge[1], edge[0])))
    assert 15 < max(map(abs, turns)) < 45  # 20 degrees, and what the perspective adds
    assert 8 < max(shifts) < 30


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_masks_are_where_a_slow_lookup_finds_them_and_on_their_objects(stills, flip):
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[16:44, 24:56] = True
    for turn in range(6):
        draw = sampler(stills, flip=flip, sides=[75], crop=CROP).draw(turn, 0, turn)
        clip = load_still(stills, draw, (128, 160))
        index = clip.track_ids.index(100 + draw.video.id - 10)
        height, width = draw.size
        top, left, bottom, right = draw.placement.window_in_file()
        for t, change in enumerate(draw.changes):
            back = np.eye(3) if change.motion is None else np.linalg.inv(np.array(change.motion).reshape(3, 3))
            expected = np.zeros((128, 160), bool)
            for y in range(height):
                for x in range(width):
                    shown = width - 1 - x if flip else x
                    place = left + (shown + 0.5) * (right - left) / width, top + (y + 0.5) * (bottom - top) / height
                    u, v, w = back @ (int(place[0]), int(place[1]), 1)
                    column, row = round(u / w), round(v / w)
                    expected[y, x] = 0 <= row < HEIGHT and 0 <= column < WIDTH and inside[row, column]
            assert (clip.masks[index, t] != expected).sum() <= 0.1 * expected.sum()  # two roundings lie between
            if not change.blur[0]:
                bright = clip.images[t, 0] > 105  # of 255, less 40 and a little
                assert (bright != clip.masks[index, t]).sum() <= 0.12 * max(expected.sum(), 100)
        assert not clip.images[:, :, height:].any()
        assert not clip.images[..., width:].any()


def test_colours_change_as_imgaug_changes_them(rng):
    imgaug = pytest.importorskip("imgaug.augmenters")
    image = rng.integers(0, 256, (20, 30, 3), np.uint8)
    for brightness, hue in ((40, 0), (-33, 0), (0, 5), (0, -5), (25, -4)):
        steps = [imgaug.Add(brightness), imgaug.AddToHueAndSaturation(hue, from_colorspace="BGR")]
        expected = imgaug.Sequential([step for step, on in zip(steps, (brightness, hue)) if on])(image=image)
        assert np.array_equal(_changed(image, Change(brightness, hue)), expected)


def test_overlapping_instances_share_no_pixel_in_changed_frames(stills):
    both = encode(np.pad(np.ones((30, 40), bool), ((15, 15), (20, 20))))
    video = Video(1, WIDTH, HEIGHT, ("0.png",), "0")
    tracks = tuple(Track(k, 1, 3, (both,), (None,)) for k in (7, 8))
    one = Stills(Annotations(Path("x"), LABELS, (video,), tracks), stills.root)
    draw = sampler(one).draw(0, 0, 0)
    clip = load_still(one, draw, (320, 320))
    unmoved = draw.changes.index(Change())
    assert clip.track_ids == (7, 8)
    assert np.array_equal(*clip.masks[:, unmoved])
    assert clip.visible.tolist() == [[t == unmoved for t in range(5)], [True] * 5]


def test_stills_that_show_none_or_too_many_are_drawn_again(stills):
    mask = encode(np.pad(np.ones((4, 4), bool), ((0, HEIGHT - 4), (0, WIDTH - 4))))
    videos = tuple(Video(k, WIDTH, HEIGHT, ("0.png",), str(k)) for k in range(3))
    counts = {0: 25, 1: 26, 2: 0}
    tracks = tuple(Track(100 * k + n, k, 3, (mask,), (None,)) for k, count in counts.items() for n in range(count))
    crowded = Stills(Annotations(Path("x"), LABELS, videos, tracks), stills.root)
    assert {sampler(crowded).draw(i, 0, i).video.id for i in range(60)} == {0}
    calm = Stills(crowded.annotations.subset({0}), stills.root)
    windows = [sampler(calm, crop=CROP).draw(i, 0, i).placement.window_in_file() for i in range(60)]
    assert all(window[0] < 4 and window[1] < 4 for window in windows)  # the objects are in a corner


def test_an_object_out_of_a_frame_has_no_mask_there_and_keeps_its_id(stills):
    at_the_edge = Track(7, 1, 3, (encode(np.pad(np.ones((4, 4), bool), ((0, 56), (0, 76)))),), (None,))
    centre = Track(8, 1, 5, (encode(np.pad(np.ones((20, 20), bool), ((20, 20), (30, 30)))),), (None,))
    video = Video(1, WIDTH, HEIGHT, ("0.png",), "0")
    one = type(stills)(Annotations(Path("x"), LABELS, (video,), (at_the_edge, centre)), stills.root)
    clips = [load_still(one, sampler(one, crop=CROP).draw(i, 0, i), (320, 320)) for i in range(60)]
    assert {clip.track_ids for clip in clips} == {(7, 8), (8,)}
    assert {tuple(clip.labels) for clip in clips} == {(0, 1), (1,)}
    partly = [clip for clip in clips if len(clip.track_ids) == 2 and not clip.masks[0].any((1, 2)).all()]
    assert partly
    assert all(clip.masks[-1].any((1, 2)).all() for clip in clips)


@pytest.mark.parametrize("ratio", [0.5, 0.3, 0.75, None])
def test_stills_come_at_their_ratio_and_each_epoch_shows_all_once(stills, ratio):
    videos = tuple(Video(k, WIDTH, HEIGHT, ("0.png",) * 3, f"v{k}") for k in range(5))
    mask = encode(np.ones((HEIGHT, WIDTH), bool))
    tracks = tuple(Track(k, k, 3, (mask,) * 3, (None,) * 3) for k in range(5))
    settings = {"seed": 3, "num_frames": 2, "sides": [60], "max_side": 300, "flip": 0.5, "resize": "pillow"}
    clips = ClipSampler(
        Annotations(Path("x"), LABELS, videos, tracks), global_batch=4, frame_range=1, redraw_empty=False, **settings
    )
    mixed = MixedSampler(clips, StillSampler(stills, **settings), ratio)
    drawn = [draw.video.id for i in range(100) for draw in mixed.batch(i)]
    of_stills, of_videos = ([each for each in drawn if (each >= 10) == still] for still in (True, False))
    assert abs(len(of_stills) - 400 * (4 / (4 + 15) if ratio is None else ratio)) <= 1  # 4 stills, 15 frames of videos
    for ids, size in ((of_stills, 4), (of_videos, 5)):
        epochs = [ids[start : start + size] for start in range(0, len(ids) - size + 1, size)]
        assert all(len(set(epoch)) == size for epoch in epochs)
        assert len({tuple(epoch) for epoch in epochs}) > 2


def broken(path, value):
    given = content()
    node = given
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return given


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1], r"^Correct .*: expected an object with images"),
        (broken(["images"], 3), r"^Correct .*: images: expected a list"),
        (broken(["images", 0, "file_name"], "../x.png"), r"^Correct .*images\[0\].file_name: expected a path inside"),
        (broken(["images", 2, "file_name"], "a\\2.png"), r"^Correct .*images\[2\].file_name: expected a path with /"),
        (broken(["images", 1, "file_name"], None), r"^Correct .*images\[1\].file_name: .*LVIS has coco_url"),
        (broken(["images", 1, "id"], 10), r"^Correct .*images\[1\].id: expected an id that no other of the images"),
        (broken(["images", 0, "width"], "80"), r"^Correct .*width"),
        (broken(["annotations"], None), r"^Correct .*annotations: expected a list \(a test split's file"),
        (broken(["annotations", 0, "image_id"], 99), r"^Correct .*annotations\[0\].image_id"),
        # after two that are left out
        (broken(["annotations", 7, "segmentation", 1], [1] * 7), r"^Correct .*annotations\[7\].segmentation\[1\]"),
        (broken(["annotations", 6, "segmentation"], [[1] * 7]), r"^Correct .*annotations\[6\].segmentation\[0\]: "),
        (broken(["annotations", 0, "segmentation"], [[0, 0, 1e9, 0, 0, 5]]), r"^Correct .*points in or near"),
        (broken(["annotations", 0, "segmentation"], {"size": [60, 80], "counts": [1]}), r"^Correct .*counts"),
        (broken(["annotations", 1, "id"], 100), r"^Correct .*id: expected an id that no other"),
    ],
)
def test_broken_stills_are_refused_with_what_to_do(write, given, message):
    with pytest.raises(UserError, match=message):
        write(given).read(LABELS)


def test_the_fingerprint_covers_content_images_categories_and_ratio(write, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first = write()
    of = {"as it is": first.joint_fingerprint("a", 0.5), "other videos": first.joint_fingerprint("b", 0.5)}
    assert write().joint_fingerprint("a", 0.5) == of["as it is"]
    of["other ratio"] = first.joint_fingerprint("a", 0.6)
    of["other names"] = StillSet(first.annotation, first.images, {**NAMES, "car": "animal"}, "").joint_fingerprint(
        "a", 0.5
    )
    of["other content"] = write(content(3)).joint_fingerprint("a", 0.5)
    (tmp_path / "0.png").write_bytes((tmp_path / "0.png").read_bytes() + b"x")
    stills = StillSet(first.annotation, first.images, NAMES, "")
    of["other image"] = stills.joint_fingerprint("a", 0.5)
    assert len(set(of.values())) == len(of)
    (tmp_path / "0.png").unlink()
    with pytest.raises(DataMissingError, match=r"^Restore .*0\.png"):
        stills.joint_fingerprint("a", 0.5)


def test_coco_names_are_categories_of_both_sets_and_its_mouse_is_none(tmp_path):
    config = read_yaml(packed("experiments", "stills", "coco.yaml"))
    for name, size in (("ytvis19", 20), ("ytvis21", 22)):
        names = load_dataset(name, tmp_path).config.names
        assert len(config["categories"][name]) == size
        assert set(config["categories"][name].values()) <= set(names)
        assert "mouse" not in config["categories"][name]
    found = load_stills("coco", load_dataset("ytvis19", tmp_path))
    assert found.missing.startswith(
        f"Put COCO 2017 where it is expected: {tmp_path}/coco/annotations/instances_train2017"
    )
    with pytest.raises(UserError, match=r"^Add the categories of 'mini19' to 'categories'"):
        load_stills("coco", load_dataset("mini19", tmp_path))


def test_real_stills_keep_their_objects(real_vis, tmp_path):
    folder = real_vis.parent / "coco_stills"
    dataset = load_dataset("ytvis19", tmp_path)
    names = load_stills("coco", dataset).names
    given = json.loads((folder / "instances.json").read_text())
    assert set(names) <= {each["name"] for each in given["categories"]}
    categories = tuple(Category(index + 1, name) for index, name in enumerate(dataset.config.names))
    stills = StillSet(folder / "instances.json", folder / "images", names, "").read(categories)
    coco = {each["id"]: each["name"] for each in given["categories"]}
    expected = {
        each["id"]: names[coco[each["category_id"]]]
        for each in given["annotations"]
        if coco[each["category_id"]] in names
    }
    assert {track.id: dataset.config.names[track.category_id - 1] for track in stills.annotations.tracks} == expected
    areas = {each["id"]: each["area"] for each in given["annotations"]}
    one = StillSampler(stills, seed=0, num_frames=5, sides=[240], max_side=768, flip=0.5, resize="pillow")
    for turn in range(len(stills.annotations.videos)):
        draw = one.draw(turn, 0, turn)
        clip = load_still(stills, draw, draw.size)
        assert clip.images.std() > 10
        for index, id_ in enumerate(clip.track_ids):
            size = draw.size[0] * draw.size[1] / (draw.video.width * draw.video.height)
            assert clip.masks[index].sum((1, 2)).max() < 6 * size * max(areas[id_], 50)
