"""A video in few frames at a time: the same bits whatever the budget, which is kept."""

import resource

import numpy as np
import pytest
from inference.conftest import CLIPS, INFERENCE, assert_nearly_equal, thin_model

from ifrvis.errors import UserError
from ifrvis.inference import encoding
from ifrvis.inference.encoding import View
from ifrvis.inference.modes import predict_video


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


def test_a_budget_leaves_what_is_beyond_its_floor(model):
    floor = next(gib for gib in np.arange(1, 4000) / 1e5 if _room(model, gib) is not None)
    assert 0 <= _room(model, floor) < 1e-5 * encoding.GIB
    assert _room(model, floor + 1.0) == pytest.approx(_room(model, floor) + encoding.GIB)
    assert _room(model, None) == encoding.ROOM_GIB * encoding.GIB


def _room(model, gib):
    try:
        return encoding.room_for_mask_features(model, [View((64, 96))], 9, gib)
    except UserError:
        return None


def test_chunks_of_other_lengths_give_the_same_masks(model, make_video, monkeypatch):
    video = make_video(9)
    plain = predict_video(model, video, INFERENCE, [1, 2, 3])
    assert plain.masks
    monkeypatch.setattr("ifrvis.inference.encoding.MAX_FRAMES_AT_ONCE", 2)
    monkeypatch.setattr("ifrvis.models.ifr_layers.FRAMES_AT_ONCE", 4)
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
def test_a_thousand_frames_keep_what_the_decoder_reads_and_little_more(make_video, method, mode):
    video = make_video(1000, (16, 24))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = predict_video(thin_model(method), video, {**mode, "side": 32}, [1, 2, 3], memory_gib=0.2)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert found.length == 1000
    assert all(len(of_query) == 1000 for of_query in found.masks.values())
    assert grown < 0.2 * (1 << 30)


def test_a_budget_below_the_floor_is_refused_before_the_work(model, make_video):
    with pytest.raises(UserError, match=r"^Raise --memory-gib to 0\.[0-9], or make inference.side smaller: 9 frames"):
        predict_video(model, make_video(9), INFERENCE, [1, 2, 3], memory_gib=1e-4)
