"""Clip tracking beside a literal reference, and what it keeps."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inference import literal_clips
from inference.conftest import LiveTensors

from ifrvis.inference.clips import ClipTracker, clip_starts, track_clips
from ifrvis.models.attention import Level
from ifrvis.models.decoding import LayerOutput, MaskDecoder

WIDTH, SIZE = 6, (3, 4)


class CurvedMasks(MaskDecoder):
    """The mean of embeddings does not give the mean of these logits."""

    linear = False

    def logits(self, embeds, features):
        return 9 * super().logits(embeds, features).tanh()


@pytest.mark.parametrize(
    ("num_frames", "clip_frames", "stride", "starts"),
    [(5, 5, 1, [0]), (6, 5, 1, [0, 1]), (10, 4, 3, [0, 3, 6]), (11, 4, 3, [0, 3, 6, 7]), (1, 1, 1, [0])],
)
def test_clips_cover_the_video_and_the_last_is_shifted_back(num_frames, clip_frames, stride, starts):
    assert clip_starts(num_frames, clip_frames, stride) == starts


@settings(max_examples=60)
@given(
    st.integers(0, 10_000),
    *(st.integers(1, 5), st.integers(1, 5), st.integers(0, 12)),
    *(st.sampled_from([0.05, 0.3]), st.sampled_from([MaskDecoder(), CurvedMasks()])),
)
def test_tracks_are_those_of_the_literal_reference(seed, clip_frames, stride, more_frames, min_overlap, masks):
    rng, num_frames, stride = np.random.default_rng(seed), clip_frames + more_frames, min(stride, clip_frames)
    features = rng.normal(size=(num_frames, WIDTH, *SIZE)).astype(np.float32)
    objects = rng.normal(scale=2.0, size=(5, WIDTH))  # seen again and again, so that tracks go on
    tracker = ClipTracker(num_frames, 3, masks, num_stored=clip_frames, min_overlap=min_overlap)
    clips = []
    for start in clip_starts(num_frames, clip_frames, stride):
        seen = rng.permutation(5)[: rng.integers(0, 6)]
        embeds = objects[seen] + rng.normal(scale=0.3, size=(clip_frames, len(seen), WIDTH))
        embeds, probs = embeds.astype(np.float32), rng.random((len(seen), 3)).astype(np.float32)
        maps = features[start : start + clip_frames]
        tracker.add(start, *(torch.from_numpy(x) for x in (probs, embeds, maps)))
        found = masks.logits(*(torch.from_numpy(x) for x in (embeds, maps)))
        clips.append((start, probs, found.transpose(0, 1).double().numpy()))
    probs, logits, support = literal_clips.track(clips, num_frames, min_overlap)
    np.testing.assert_allclose(tracker.class_probs.numpy(), probs, rtol=1e-5, atol=1e-6)
    for t in range(num_frames):
        found = tracker.mask_logits(t, torch.from_numpy(features[t]), torch.arange(len(probs))).numpy()
        assert np.array_equal(found.any((1, 2)), support[:, t])
        np.testing.assert_allclose(found, logits[:, t], rtol=1e-3, atol=1e-3)


def test_there_is_no_limit_on_tracks_and_masks_of_few_clips_are_kept():
    tracker = ClipTracker(100, 2, MaskDecoder(), num_stored=2, min_overlap=0.5)
    for start in range(99):  # each instance where no other was
        features = torch.full((2, 1, 1, 200), -9.0)
        features[..., start] = 9.0
        tracker.add(start, torch.rand(3, 2), torch.tensor([[[1.0], [0.5], [2.0]]] * 2), features)
    assert len(tracker.class_probs) > 99
    assert len(tracker._stored) == 2
    assert sum(len(kept) for of_frame in tracker._embeds for kept in of_frame.values()) <= 3 * 2 * 99


def test_nothing_found_is_no_track():
    tracker = ClipTracker(3, 2, MaskDecoder(), num_stored=2, min_overlap=0.05)
    tracker.add(0, torch.zeros(0, 2), torch.zeros(3, 0, 4), torch.zeros(3, 4, 1, 1))
    assert tracker.class_probs.shape == (0, 2)
    assert tracker.mask_logits(1, torch.zeros(4, 5, 6), torch.arange(0)).shape == (0, 5, 6)


class Head:
    """Two queries of which the second is no object."""

    num_classes, masks = 2, MaskDecoder()

    def __init__(self):
        self.asked = []

    def decode_clips(self, levels, num_frames, stride):
        num_clips = (len(levels[0].tokens) - num_frames) // stride + 1
        self.asked.append((levels[0].tokens[:, 0, 0].tolist(), num_frames, stride))
        logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 2.0]])
        return LayerOutput(logits.expand(num_clips, -1, -1), torch.ones(num_clips, num_frames, 2, 1))

    def class_probs(self, logits):
        return logits.softmax(-1)[:, :-1]

    def kept_queries(self, logits):
        return logits.argmax(-1) != 2


@pytest.mark.parametrize("stride", [1, 2])
def test_all_clips_are_decoded_once_in_groups_and_no_object_is_left_out(stride):
    tokens = torch.arange(40.0).view(40, 1, 1)
    head, levels, told = Head(), [Level(tokens, torch.ones(40, 1, 1, 1))], []
    options = {"clip_frames": 5, "stride": stride, "min_overlap": 0.05}
    tracks = track_clips(head, levels, options, on_frames=told.append)
    starts = [
        int(frames[0]) + b * stride
        for frames, length, _ in head.asked
        for b in range((len(frames) - length) // stride + 1)
    ]
    assert starts == clip_starts(40, 5, stride)
    assert len(head.asked) < len(starts)
    assert sum(told) == 40
    assert len(tracks.class_probs) == 1


@pytest.mark.parametrize(("go_on", "embeds_a_frame"), [(True, 200), (False, 5 * 200)])
def test_two_hundred_tracks_of_a_clip_keep_their_embeddings_and_no_masks(go_on, embeds_a_frame):
    """In a longer video; at most one of every clip that has the frame, where no track goes on."""
    peaks, width = [], 256
    draws = torch.Generator().manual_seed(0)
    objects = torch.randn(200, width, generator=draws)
    for num_frames in (20, 40):
        features = torch.randn(num_frames, width, *SIZE, generator=draws)
        tracker = ClipTracker(num_frames, 3, MaskDecoder(), num_stored=5, min_overlap=0.05 if go_on else 1.0)
        with LiveTensors() as live:
            for start in clip_starts(num_frames, 5, 1):
                clip = features[start : start + 5]
                tracker.add(start, torch.ones(200, 3), objects.expand(5, -1, -1), clip)
        peaks.append(live.peak)
    a_frame = (peaks[1] - peaks[0]) / 20
    assert 0.9 * 4 * width * embeds_a_frame < a_frame < 1.1 * 4 * width * embeds_a_frame
