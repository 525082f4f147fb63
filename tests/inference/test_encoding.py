"""A video in few frames at a time: the same bits whatever the budget, which is kept."""

import numpy as np
import pytest
import torch
from inference.conftest import CLIPS, INFERENCE, LiveTensors, assert_nearly_equal, thin_model

from ifrvis.errors import UserError
from ifrvis.harness.spec.compose import compose
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.inference import modes
from ifrvis.inference.encoding import View, encode, views_of
from ifrvis.inference.modes import predict_video


def test_a_budget_that_forbids_mask_features_gives_the_same_bits(model, make_video, monkeypatch):
    video, encoded = make_video(9), []
    plain = predict_video(model, video, INFERENCE, [1, 2, 3])
    encode = modes.encode
    monkeypatch.setattr(
        modes, "encode", lambda *args, keep, **kw: encoded.append(keep) or encode(*args, keep=keep, **kw)
    )
    fits = modes.mask_features_fit
    budget = next(gib for gib in np.arange(1, 4000) / 1e5 if fits_at_all(fits, model, gib))
    assert predict_video(model, video, INFERENCE, [1, 2, 3], memory_gib=budget) == plain
    assert predict_video(model, video, INFERENCE, [1, 2, 3], memory_gib=50.0) == plain
    assert encoded == [False, True]
    assert any(mask for of_query in plain.masks.values() for mask in of_query)


def fits_at_all(fits, model, gib):
    try:
        return not fits(model, [View((64, 96))], 9, gib)
    except UserError:
        return False


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


def test_the_head_says_what_mask_features_take(model, make_video):
    sizes = []
    view = View((64, 96), divisor=model.data_preprocessor.pad_size_divisor)
    with torch.inference_mode():
        _, mask_features = encode(model, make_video(2), view, keep=True, on_frames=sizes.append)
    assert {each.nbytes for each in mask_features()} == {model.track_head.mask_bytes_per_frame(64 * 96)}


@pytest.mark.parametrize(("method", "mode"), [("mask2former", INFERENCE), ("ours", CLIPS), ("seqformer", INFERENCE)])
def test_memory_grows_with_the_video_by_what_the_head_says_and_a_quarter_at_most(make_video, method, mode):
    """Not by the backbone's features of all frames, nor by what a decoder looks at in all of them."""
    peaks, model = [], thin_model(method)
    head = model.track_head
    for length in (100, 200):
        with LiveTensors() as live:
            found = predict_video(model, make_video(length, (32, 64)), {**mode, "side": 32}, [1, 2, 3])
        assert all(len(of_query) == length for of_query in found.masks.values())
        peaks.append(live.peak)
    said = head.bytes_per_frame(32 * 64) + head.mask_bytes_per_frame(32 * 64)
    assert 0.4 * said < (peaks[1] - peaks[0]) / 100 < 1.25 * said


def test_a_budget_below_the_floor_is_refused_before_the_work(model, make_video):
    with pytest.raises(UserError, match=r"^Raise --memory-gib to 0\.[0-9], or make inference.side smaller: 9 frames"):
        predict_video(model, make_video(9), INFERENCE, [1, 2, 3], memory_gib=1e-4)
