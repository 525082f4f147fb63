"""Draws depend on their key alone; what is loaded shows the right objects in the right places."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ifrvis.datasets.clips import ClipSampler, load_clip, padded_size
from ifrvis.datasets.rle import decode, encode
from ifrvis.datasets.ytvis import Annotations, Category, Track, Video
from ifrvis.errors import UserError

HEIGHT, WIDTH = 40, 60
DARK, BRIGHT = 0, 255


def square(t: int, *, offset: int = 0) -> np.ndarray:
    """A 16 x 16 square that moves 2 pixels to the right a frame."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[8:24, 4 + 2 * t + offset : 20 + 2 * t + offset] = True
    return mask


def track(id_: int, video_id: int, masks: list, *, category_id: int = 7, is_crowd: bool = False) -> Track:
    rles = tuple(None if mask is None else encode(mask) for mask in masks)
    return Track(id_, video_id, category_id, rles, (None,) * len(rles), is_crowd)


def make(root: Path, lengths: list[int]) -> Annotations:
    """One bright square on black in each video."""
    videos, tracks = [], []
    for id_, length in enumerate(lengths, start=1):
        names = tuple(f"{id_}/{t:02d}.png" for t in range(length))
        videos.append(Video(id_, WIDTH, HEIGHT, names, f"video{id_}"))
        tracks.append(track(10 * id_, id_, [square(t) for t in range(length)]))
        (root / str(id_)).mkdir()
        for t, name in enumerate(names):
            cv2.imwrite(str(root / name), np.where(square(t), BRIGHT, DARK).astype(np.uint8))
    return Annotations(Path("set.json"), (Category(9, "b"), Category(7, "a")), tuple(videos), tuple(tracks))


def sampler(annotations: Annotations, **changes) -> ClipSampler:
    settings = {"seed": 3, "global_batch": 4, "num_frames": 2, "frame_range": 3, "redraw_empty": True}
    settings |= {"sides": [32, 40], "max_side": 200, "flip": 0.5, "resize": "pillow"}
    return ClipSampler(annotations, **(settings | changes))


@pytest.fixture
def annotations(tmp_path: Path) -> Annotations:
    return make(tmp_path, [6, 9, 12, 15, 4, 7])


def test_a_draw_depends_on_nothing_but_its_key(annotations):
    keys = [(i, p) for i in range(20) for p in range(4)]
    forwards = {key: sampler(annotations).draw(*key) for key in keys}
    one = sampler(annotations)
    assert {key: one.draw(*key) for key in reversed(keys)} == forwards
    assert one.batch(7) == [forwards[7, p] for p in range(4)]


def test_seeds_iterations_and_positions_differ(annotations):
    first = [sampler(annotations).draw(i, p) for i in range(10) for p in range(4)]
    other = [sampler(annotations, seed=4).draw(i, p) for i in range(10) for p in range(4)]
    assert sum(a.frames == b.frames and a.video == b.video for a, b in zip(first, other)) < 10
    assert len({(d.video.id, d.frames) for d in first}) > 20


def test_every_epoch_shows_each_video_once_in_another_order(annotations):
    one = sampler(annotations)
    ids = [one.draw(*divmod(n, 4)).video.id for n in range(30)]
    epochs = [ids[start : start + 6] for start in range(0, 30, 6)]
    assert all(sorted(epoch) == [1, 2, 3, 4, 5, 6] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 2


def test_frames_are_ascending_distinct_and_near(annotations):
    draws = [sampler(annotations).draw(i, p) for i in range(100) for p in range(4)]
    assert all(0 < b - a <= 3 and b < d.video.length for d in draws for a, b in [d.frames])
    assert {b - a for d in draws for a, b in [d.frames]} == {1, 2, 3}
    assert {d.frames[0] for d in draws if d.video.length == 4} == {0, 1, 2}


def test_both_sides_and_flips_come_up_and_clips_keep_their_shape(annotations):
    draws = [sampler(annotations).draw(i, p) for i in range(100) for p in range(4)]
    assert {d.size for d in draws} == {(32, 48), (40, 60)}
    assert 120 < sum(d.flip for d in draws) < 280
    assert not any(sampler(annotations, flip=0.0).draw(i, 0).flip for i in range(50))


def test_long_clips_and_videos_of_one_frame(tmp_path):
    one_frame = make(tmp_path, [1])
    assert sampler(one_frame).draw(0, 0).frames == (0, 0)
    clip = load_clip(one_frame, tmp_path, sampler(one_frame).draw(0, 0), (64, 64))
    assert clip.masks.shape[:2] == (1, 2)
    draw = sampler(one_frame, num_frames=5).draw(0, 0)
    assert draw.frames == (0,) * 5


def test_frames_without_objects_are_avoided_if_asked_for_and_crowds_do_not_count(tmp_path):
    base = make(tmp_path, [40, 3])
    seen = track(10, 1, [square(0)] * 4 + [None] * 36)
    crowd = track(20, 2, [square(t) for t in range(3)], is_crowd=True)
    draws = [sampler(replace(base, tracks=(seen, crowd))).draw(i, 0) for i in range(100)]
    assert {d.video.id for d in draws} == {1}
    assert np.mean([d.frames[0] < 4 for d in draws]) > 0.6  # one draw alone: 0.14
    official = sampler(replace(base, tracks=(seen, crowd)), redraw_empty=False)
    draws = [official.draw(*divmod(i, 4)) for i in range(200)]
    assert sum(d.video.id == 2 for d in draws) == 100
    assert np.mean([d.frames[0] < 4 for d in draws if d.video.id == 1]) < 0.3
    with pytest.raises(UserError, match=r"^Give set\.json at least one object"):
        sampler(replace(base, tracks=(crowd,)))


def test_a_clip_without_any_object_is_accepted_in_the_end(tmp_path):
    base = make(tmp_path, [20])
    rare = replace(base, tracks=(track(10, 1, [square(0)] + [None] * 19),))
    draws = [sampler(rare, frame_range=1).draw(i, 0) for i in range(200)]
    empty = next(d for d in draws if d.frames[0] > 0)
    clip = load_clip(rare, tmp_path, empty, (64, 64))
    assert clip.masks.shape == (0, 2, 64, 64)
    assert clip.labels.shape == (0,)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("side", [32, 40, 75])
def test_masks_lie_on_their_objects(annotations, tmp_path, flip, side):
    draw = sampler(annotations, sides=[side], flip=float(flip)).draw(2, 1)
    clip = load_clip(annotations, tmp_path, draw, padded_size([draw]))
    height, width = draw.size
    assert min(draw.size) == side
    bright = clip.images[:, 0] > 127
    differing = (bright != clip.masks[0]).sum(axis=(1, 2))
    assert (differing <= 16 * side / HEIGHT).all()  # less than a pixel along one edge
    assert clip.masks.any(axis=(2, 3)).all()
    assert not clip.images[:, :, height:].any()
    assert not clip.images[..., width:].any()
    left = np.flatnonzero(clip.masks[0, 0].any(axis=0))[0] * HEIGHT / side
    expected = 4 + 2 * draw.frames[0] if not flip else WIDTH - (20 + 2 * draw.frames[0])
    assert left == pytest.approx(expected, abs=1)


@pytest.mark.parametrize("flip", [0.0, 1.0])
@pytest.mark.parametrize("side", [7, 31, 64, 88, 150])
def test_masks_are_those_that_pillow_resizes_whole(tmp_path, rng, flip, side):
    """The loader decodes, resizes and mirrors the box of a mask alone; the whole frame gives the same pixels."""
    base = make(tmp_path, [2])
    shapes = [np.zeros((HEIGHT, WIDTH), bool) for _ in range(8)]
    for shape in shapes:
        top, left = rng.integers(0, HEIGHT - 3), rng.integers(0, WIDTH - 3)
        shape[top : top + rng.integers(1, 30), left : left + rng.integers(1, 30)] = True
        shape &= rng.random(shape.shape) < rng.choice([0.1, 0.6, 1.0])
    shapes += [np.ones((HEIGHT, WIDTH), bool), np.zeros((HEIGHT, WIDTH), bool)]
    tracks = tuple(track(k, 1, [shape, shapes[k - 1] if k % 3 else None]) for k, shape in enumerate(shapes))
    many = replace(base, tracks=tracks)
    draw = sampler(many, sides=[side], flip=flip).draw(0, 0)
    clip = load_clip(many, tmp_path, draw, padded_size([draw]))
    expected = {}
    for one in tracks:
        frames = [np.zeros(draw.size, np.uint8) if mask is None else whole(mask, draw) for mask in one.masks]
        if np.any(frames):
            expected[one.id] = np.stack(frames)
    assert clip.track_ids == tuple(expected)
    height, width = draw.size
    assert np.array_equal(clip.masks[..., :height, :width], np.stack(list(expected.values())))
    assert np.array_equal(clip.visible, clip.masks.any((2, 3)))
    assert not clip.masks[..., height:, :].any()
    assert not clip.masks[..., width:].any()


def whole(mask, draw):
    resized = np.asarray(Image.fromarray(decode(mask)).resize(draw.size[::-1], Image.Resampling.NEAREST), np.uint8)
    return resized[:, ::-1] if draw.flip else resized


def test_labels_ids_and_several_objects(annotations, tmp_path):
    other = track(99, 3, [None, *[square(t, offset=20) for t in range(1, 12)]], category_id=9)
    crowd = track(98, 3, [square(t) for t in range(12)], is_crowd=True)
    more = replace(annotations, tracks=(*annotations.tracks, other, crowd))
    draw = next(d for i in range(50) if (d := sampler(more, flip=0).draw(i, 0)).video.id == 3 and d.frames[0] == 0)
    clip = load_clip(more, tmp_path, draw, (64, 64))
    assert clip.track_ids == (30, 99)
    assert clip.labels.tolist() == [0, 1]
    assert clip.masks.any(axis=(2, 3)).tolist() == [[True, True], [False, True]]


def test_an_object_that_vanishes_when_resized_is_left_out(annotations, tmp_path):
    speck = np.zeros((HEIGHT, WIDTH), bool)
    speck[1, 1] = True
    more = replace(annotations, tracks=(*annotations.tracks, track(99, 3, [speck] * 12)))
    one = sampler(more, sides=[10], flip=0.0)
    draw = next(d for i in range(50) if (d := one.draw(i, 0)).video.id == 3)
    assert load_clip(more, tmp_path, draw, (32, 32)).track_ids == (30,)


def test_a_batch_is_padded_to_one_size(annotations):
    draws = sampler(annotations, sides=[32, 70]).batch(0)
    assert padded_size(draws) == (96, 128)
