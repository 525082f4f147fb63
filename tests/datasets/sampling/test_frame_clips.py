"""Clips around every frame: draws depend on their key, clips show their objects, stills come among them.

Also tests: ifrvis.datasets.sampling.samplers.
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from ifrvis.datasets.clips import ClipSampler, load_clip, padded_size
from ifrvis.datasets.coco import Stills
from ifrvis.datasets.rle import encode
from ifrvis.datasets.sampling.frame_clips import FrameSampler, draw_frames
from ifrvis.datasets.sampling.samplers import sampler_of
from ifrvis.datasets.stills import MixedSampler
from ifrvis.datasets.ytvis import Annotations, Category, Track, Video
from ifrvis.errors import UserError

HEIGHT, WIDTH = 48, 72
CROP = {"probability": 0.5, "sides": [40, 56], "smallest": 24, "largest": 48}
PIPELINE = {"sides": [32, 40], "max_side": 200, "flip": 0.5, "resize": "pillow", "truncate": True, "crop": CROP}


def square(t: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[8:32, 4 + 2 * t : 28 + 2 * t] = True
    return mask


def make(root: Path, lengths: list[int]) -> Annotations:
    """A bright square on black in each video; the last video has nothing."""
    videos, tracks = [], []
    for id_, length in enumerate(lengths, start=1):
        names = tuple(f"{id_}/{t:02d}.png" for t in range(length))
        videos.append(Video(id_, WIDTH, HEIGHT, names, f"video{id_}"))
        (root / str(id_)).mkdir()
        for t, name in enumerate(names):
            cv2.imwrite(str(root / name), square(t).astype(np.uint8) * 255)
        if id_ < len(lengths):
            tracks.append(Track(10 * id_, id_, 7, tuple(encode(square(t)) for t in range(length)), (None,) * length))
    return Annotations(Path("set.json"), (Category(9, "b"), Category(7, "a")), tuple(videos), tuple(tracks))


@pytest.fixture
def annotations(tmp_path):
    return make(tmp_path, [6, 9, 3, 4])


def sampler(annotations, **changes):
    settings = {"seed": 3, "global_batch": 4, "num_frames": 5, "frame_range": 3, "colour": True, **PIPELINE}
    return FrameSampler(annotations, **({"around": "frames"} | settings | changes))


def test_a_draw_depends_on_nothing_but_its_key(annotations):
    keys = [(i, p) for i in range(10) for p in range(4)]
    forwards = {key: sampler(annotations).draw(*key) for key in keys}
    one = sampler(annotations)
    assert {key: one.draw(*key) for key in reversed(keys)} == forwards
    assert one.batch(7) == [forwards[7, p] for p in range(4)]
    other = [sampler(annotations, seed=4).draw(*key) for key in keys]
    assert sum(a.frames == b.frames and a.video == b.video for a, b in zip(forwards.values(), other)) < 15
    assert len({(d.placement, d.colours) for d in forwards.values()}) == 40


def test_an_epoch_has_a_clip_around_every_frame_of_every_video_with_an_object(annotations):
    one = sampler(annotations, num_frames=1, crop=None)
    draws = [one.draw(*divmod(turn, 4)) for turn in range(36)]
    for epoch in (draws[:18], draws[18:]):
        assert Counter((d.video.id, d.frames[0]) for d in epoch) == {
            (id_, frame): 1 for id_, length in ((1, 6), (2, 9), (3, 3)) for frame in range(length)
        }


def test_an_epoch_may_have_one_clip_of_every_video_around_any_of_its_frames(annotations):
    spec = {"seed": 3, "global_batch": 3, "sampler": {"around": "videos", "num_frames": 1, "frame_range": 0}}
    one = sampler_of(spec | {"pipeline": PIPELINE | {"colour": True, "crop": None}}, annotations, None)
    epochs = [one.batch(epoch) for epoch in range(60)]
    assert all(sorted(draw.video.id for draw in epoch) == [1, 2, 3] for epoch in epochs)
    assert {(draw.video.id, draw.frames[0]) for epoch in epochs for draw in epoch} == {
        (id_, frame) for id_, length in ((1, 6), (2, 9), (3, 3)) for frame in range(length)
    }
    assert all(len(draw.colours) == 1 for epoch in epochs for draw in epoch)


def test_frames_are_the_key_one_near_it_on_both_sides_and_the_rest_elsewhere(rng):
    for key in (0, 1, 20, 38, 39):
        for _ in range(100):
            frames = draw_frames(rng, key, 40, num_frames=5, near=3)
            assert len(frames) == 5
            assert frames == tuple(sorted(frames))
            assert key in frames
            near = [frame for frame in frames if 0 < abs(frame - key) <= 3]
            assert any(frame < key for frame in near) or key == 0
            assert any(frame > key for frame in near) or key == 39
            assert max(Counter(frames).values()) <= (3 if key == 39 else 2)
    ends = {frame for _ in range(600) for frame in draw_frames(rng, 20, 40, num_frames=5, near=3)}
    assert ends == set(range(40))


def test_short_videos_give_frames_of_the_whole_video(rng):
    assert draw_frames(rng, 0, 1, num_frames=5, near=3) == (0,) * 5
    assert draw_frames(rng, 2, 9, num_frames=1, near=0) == (2,)  # of a pretraining
    drawn = {draw_frames(rng, 1, 3, num_frames=5, near=3) for _ in range(50)}
    assert all(set(frames) <= {0, 1, 2} for frames in drawn)
    assert len(drawn) > 2


def test_a_window_without_an_object_is_drawn_again(annotations):
    """The object lies in the left upper corner, and half of the crops would miss it."""
    corner = np.zeros((HEIGHT, WIDTH), bool)
    corner[:12, :12] = True
    tracks = tuple(replace(track, masks=(encode(corner),) * len(track.masks)) for track in annotations.tracks)
    small = {"probability": 1.0, "sides": [48], "smallest": 20, "largest": 24}
    one = sampler(replace(annotations, tracks=tracks), crop=small)
    for draw in (one.draw(i, p) for i in range(20) for p in range(4)):
        top, left, _, _ = draw.placement.window
        assert max(top, left) < 12


def test_a_loaded_clip_shows_its_objects_where_the_masks_are(annotations, tmp_path):
    one = sampler(annotations, colour=False)
    for draw in (one.draw(i, p) for i in range(8) for p in range(4)):
        padded = padded_size([draw])
        clip = load_clip(annotations, tmp_path, draw, padded)
        assert clip.images.shape == (5, 3, *padded)
        assert clip.masks.shape[1:] == (5, *padded)
        assert clip.labels.tolist() == [0]
        height, width = draw.size
        assert not clip.masks[..., height:, :].any()
        assert not clip.images[..., width:].any()
        bright = clip.images[:, 0] > 127
        assert (bright != clip.masks[0]).sum((1, 2)).max() <= 1.5 * sum(draw.size)


def test_colours_are_each_frames_own(annotations, tmp_path):
    draw = sampler(annotations).draw(0, 0)
    assert len(set(draw.colours)) > 1
    plain = replace(draw, colours=(draw.colours[0]._replace(brightness=-20.0),) * 5)
    bright = replace(draw, colours=(draw.colours[0]._replace(brightness=20.0),) * 5)
    dark, light = (load_clip(annotations, tmp_path, each, draw.size).images for each in (plain, bright))
    assert dark.mean() < light.mean()


def test_a_set_without_objects_is_refused(annotations):
    with pytest.raises(UserError, match=r"^Give set\.json at least one object"):
        sampler(replace(annotations, tracks=()))


@pytest.fixture
def stills(tmp_path):
    videos = tuple(Video(id_, WIDTH, HEIGHT, (f"s{id_}.png",), f"still{id_}") for id_ in range(2))
    tracks = tuple(Track(video.id, video.id, 7, (encode(square(0)),), (None,)) for video in videos)
    for video in videos:
        cv2.imwrite(str(tmp_path / video.file_names[0]), square(0).astype(np.uint8) * 255)
    return Stills(Annotations(Path("stills.json"), (Category(9, "b"), Category(7, "a")), videos, tracks), tmp_path)


def test_the_specification_says_what_is_drawn_and_stills_come_at_the_ratio_of_the_sets(annotations, stills):
    spec = {"seed": 3, "global_batch": 4, "sampler": {"num_frames": 3, "frame_range": 2, "redraw_empty": True}}
    plain = sampler_of({**spec, "pipeline": PIPELINE}, annotations, None)
    assert isinstance(plain, ClipSampler)
    spec |= {
        "sampler": {"around": "frames", "num_frames": 3, "frame_range": 2},
        "pipeline": PIPELINE | {"colour": True},
    }
    mixed = sampler_of(spec, annotations, (stills, None))
    assert isinstance(mixed, MixedSampler)
    assert mixed.ratio == pytest.approx(2 / 20)
    assert sampler_of(spec, annotations, (stills, 0.3)).ratio == 0.3
    kinds = Counter((type(draw).__name__, bool(draw.colours)) for i in range(10) for draw in mixed.batch(i))
    assert kinds == {("ClipDraw", True): 36, ("StillDraw", False): 4}
