"""A video in few frames at a time: the same bits whatever the budget, which is kept."""

import pytest
import torch
from inference.conftest import CLIPS, INFERENCE, LiveTensors, assert_nearly_equal, thin_model

from ifrvis.errors import UserError
from ifrvis.harness.spec.compose import compose
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.inference import encoding
from ifrvis.inference.encoding import GIB, check_memory, encode, views_of
from ifrvis.inference.modes import predict_video


@pytest.mark.parametrize(("frames_with_room", "kept"), [(0, 0), (5, 4), (50, 9)])
def test_a_budget_without_room_for_all_mask_features_gives_the_same_bits(
    model, make_video, monkeypatch, frames_with_room, kept
):
    monkeypatch.setattr("ifrvis.inference.encoding.MAX_FRAMES_AT_ONCE", 2)
    video, encoded, encode_frames = make_video(9), [], type(model.track_head).encode_frames
    spy = lambda head, *args: encoded.append(len(args[0][0])) or encode_frames(head, *args)  # noqa: E731
    monkeypatch.setattr(type(model.track_head), "encode_frames", spy)
    plain, of_all = predict_video(model, video, INFERENCE, [1, 2, 3]), sum(encoded)
    of_a_frame = mask_bytes(model, video)
    encoded.clear()
    floor = 50 * GIB - check_memory(model, video, INFERENCE, 50.0)
    budget = (floor + frames_with_room * of_a_frame + 1) / GIB
    assert predict_video(model, video, INFERENCE, [1, 2, 3], memory_gib=budget) == plain
    assert (of_all, sum(encoded)) == (9, 9 + 9 - kept)
    assert any(mask for of_query in plain.masks.values() for mask in of_query)


@pytest.mark.parametrize("tta", [None, [64, 48]])
def test_mask_features_without_room_are_computed_again_to_the_same_bits(model, make_video, monkeypatch, tta):
    """Chunks have 16 frames, and whole chunks are kept."""
    video, given = make_video(39), {**INFERENCE, "tta": tta}
    chunks, firsts, of_views = encoding._chunks, [], {}

    def seen(*args, first=0):
        firsts.append(first)
        for start, frames in chunks(*args, first=first):
            of_views[args[2]] = frames.mask_features[0].nbytes
            yield start, frames

    monkeypatch.setattr(encoding, "_chunks", seen)
    plain = predict_video(model, video, given, [1, 2, 3])
    assert set(firsts) == {0, 39}
    assert any(mask for of_query in plain.masks.values() for mask in of_query)
    for frames, kept in ((38, 32), (20, 16), (15, 0)):
        firsts.clear()
        monkeypatch.setattr(encoding, "ROOM_GIB", (frames + 0.5) * sum(of_views.values()) / encoding.GIB)
        assert predict_video(model, video, given, [1, 2, 3]) == plain
        assert set(firsts) == {0, kept}


def mask_bytes(model, video, side=64):
    """What the mask features of a frame take."""
    (view,) = views_of(model, video, {**INFERENCE, "side": side})
    with torch.inference_mode():
        _, mask_features = encode(model, video, view, room=0.0, on_frames=[].append)
        return next(mask_features()).nbytes


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("mask2former", [(360, 641), (133, 1333)]),
        ("seqformer", [(360, 640), (360, 3600)]),  # truncated and without a bound, as its official program
    ],
)
def test_frames_are_resized_at_test_as_by_the_methods_official_program(make_video, method, expected):
    inference = compose(method, "r50", "ytvis19", load_profile("paper"), num_classes=40).inference
    sizes = [(480, 854), (100, 1000)]
    assert [views_of(thin_model(method), make_video(1, size), inference)[0].size for size in sizes] == expected


def test_chunks_of_other_lengths_give_the_same_masks(model, make_video, monkeypatch):
    video = make_video(9)
    plain = predict_video(model, video, INFERENCE, [1, 2, 3])
    assert plain.masks
    monkeypatch.setattr("ifrvis.inference.encoding.MAX_FRAMES_AT_ONCE", 2)
    monkeypatch.setattr("ifrvis.models.ifr.FRAMES_AT_ONCE", 4)
    monkeypatch.setattr("ifrvis.models.attention.FRAMES_AT_ONCE", 4)
    assert_nearly_equal(predict_video(model, video, INFERENCE, [1, 2, 3]), plain)


def test_the_pixel_decoder_never_sees_more_frames_than_its_attention_takes(model, make_video, monkeypatch):
    seen, encode_frames = [], type(model.track_head).encode_frames
    spy = lambda head, *args: seen.append(len(args[0][0])) or encode_frames(head, *args)  # noqa: E731
    monkeypatch.setattr(type(model.track_head), "encode_frames", spy)
    steps = []
    found = predict_video(model, make_video(131), INFERENCE, [1, 2, 3], on_frames=lambda *each: steps.append(each))
    assert len(found.masks[found.by_query[0].query]) == 131
    assert max(seen) <= 128
    assert sum(seen) == 131
    assert steps[-1] == (393, 393)
    assert steps == sorted(steps)


@pytest.mark.parametrize(("method", "mode"), [("mask2former", INFERENCE), ("ours", CLIPS), ("seqformer", INFERENCE)])
def test_memory_grows_with_the_video_by_what_the_head_says_and_a_quarter_at_most(make_video, method, mode):
    """Not by the backbone's features of all frames, nor by what a decoder looks at in all of them."""
    peaks, model = [], thin_model(method)
    head = model.track_head
    for length in (200, 400):
        with LiveTensors() as live:
            found = predict_video(model, make_video(length, (32, 64)), {**mode, "side": 32}, [1, 2, 3])
        assert all(len(of_query) == length for of_query in found.masks.values())
        peaks.append(live.peak)
    said = head.bytes_per_frame(32 * 64) + mask_bytes(model, make_video(1, (32, 64)), 32)
    assert 0.4 * said < (peaks[1] - peaks[0]) / 200 < 1.25 * said


def test_a_budget_below_the_floor_is_refused_before_the_work(model, make_video):
    with pytest.raises(UserError, match=r"^Raise --memory-gib to 0\.[0-9], or make inference.side smaller: 9 frames"):
        predict_video(model, make_video(9), INFERENCE, [1, 2, 3], memory_gib=1e-4)
