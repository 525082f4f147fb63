"""Predictions of a model that is known, and of a thin real one beside the host's own inference."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample, TrackDataSample
from torch.nn import functional as F

from ifrvis.datasets.rle import decode
from ifrvis.datasets.ytvis import Annotations, Category, Video
from ifrvis.errors import UserError
from ifrvis.evaluation.predictions import read_predictions, write_predictions
from ifrvis.harness.compose import compose, load_profile
from ifrvis.harness.tables import load_table
from ifrvis.inference import modes
from ifrvis.inference.modes import best_pairs, best_queries, predict_split
from ifrvis.models.attention import Level
from ifrvis.models.decoding import FrameFeatures, LayerOutput
from ifrvis.training.build import build_model

HEIGHT, WIDTH, LENGTH = 40, 60, 3
INFERENCE = {"mode": "whole", "side": 80, "max_side": 200, "topk": 4, "tta": None}
PROBS = torch.tensor([[0.1, 0.7], [0.6, 0.2], [0.3, 0.3], [0.0, 0.05], [0.0, 0.0], [0.0, 0.0]])


def square(t: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[8:24, 4 + 8 * t : 24 + 8 * t] = True
    return mask


@pytest.fixture
def videos(tmp_path: Path) -> Annotations:
    """Two videos of a bright square on black."""
    names = tuple(f"{t}.png" for t in range(LENGTH))
    for t, name in enumerate(names):
        cv2.imwrite(str(tmp_path / name), square(t).astype(np.uint8) * 255)
    both = tuple(Video(id_, WIDTH, HEIGHT, names, f"video{id_}") for id_ in (5, "b"))
    return Annotations(Path("set.json"), (Category(9, "y"), Category(7, "x")), both, ())


class KnownModel(torch.nn.Module):
    """Query 0 is what is bright, query 1 what is dark, query 2 is seen in the first frame only, the rest nothing."""

    num_classes = 2

    def __init__(self, class_probs: torch.Tensor) -> None:
        super().__init__()
        self.query_feat = torch.nn.Embedding(len(class_probs), 1)
        self.class_logits = class_probs.logit()

    track_head = backbone = property(lambda self: self)

    def data_preprocessor(self, data, training):
        assert not training
        images = data["inputs"][0].float() - 127.5
        assert images.shape[2:] == (80, 120)
        return {"inputs": F.pad(images, (0, 8, 0, 16))[None]}

    def forward(self, images):
        return F.avg_pool2d(images[:, :1], 4)

    def encode_frames(self, features):
        return FrameFeatures(features, [F.avg_pool2d(features, 2)])

    def levels(self, frames):
        return [Level(frames.memories[0].flatten(2).transpose(1, 2), frames.memories[0])]

    def decode_clips(self, levels, num_frames, stride=1):
        num_clips = len(levels[0].tokens) - num_frames + 1
        embeds = torch.zeros(num_clips, num_frames, len(self.class_logits), 1)
        embeds[:, :, 0], embeds[:, :, 1], embeds[:, 0, 2] = 1, -1, 1
        return LayerOutput(self.class_logits.expand(num_clips, -1, -1), embeds)

    def class_probs(self, logits):
        return logits.sigmoid()


def test_masks_scores_and_categories_are_those_of_the_model(videos, tmp_path):
    done = []
    found = list(
        predict_split(KnownModel(PROBS), videos, tmp_path, INFERENCE, on_video=lambda *each: done.append(each))
    )
    assert done == [(1, 2), (2, 2)]
    assert [video.video_id for video in found] == [5, "b"]
    for video in found:
        assert (video.height, video.width, video.length) == (HEIGHT, WIDTH, LENGTH)
        # Category ids in order stand for the classes; of equal scores the first query and class come first.
        assert [each[:2] for each in video.by_class] == [(0, 9), (1, 7), (2, 7), (2, 9)]
        assert [each[:2] for each in video.by_query] == [(0, 9), (1, 7), (2, 7), (3, 9)]
        assert [each.score for each in video.by_query] == pytest.approx([0.7, 0.6, 0.3, 0.05])
        assert sorted(video.masks) == [0, 1, 2, 3]
        for t in range(LENGTH):
            assert (decode(video.masks[0][t]) != square(t)).sum() <= 36  # half a pixel along the edge
            assert (decode(video.masks[1][t]) == square(t)).sum() <= 36
        assert [mask is None for mask in video.masks[2]] == [False, True, True]
        assert video.masks[3] == (None,) * LENGTH


def test_the_predictions_file_can_be_read_again(videos, tmp_path):
    found = tuple(predict_split(KnownModel(PROBS), videos, tmp_path, INFERENCE))
    write_predictions(tmp_path / "p.json.gz", found)
    assert read_predictions(tmp_path / "p.json.gz", videos) == found


def test_no_more_masks_than_one_frames_kept_queries_are_made_at_once(videos, tmp_path, monkeypatch):
    shapes = []

    def recorded(logits, *sizes):
        shapes.append(tuple(logits.shape))
        return output_logits(logits, *sizes)

    output_logits = modes.output_logits
    monkeypatch.setattr(modes, "output_logits", recorded)
    list(predict_split(KnownModel(PROBS), videos, tmp_path, {**INFERENCE, "topk": 2}))
    assert shapes == [(2, 24, 32)] * 2 * LENGTH


def test_more_is_asked_for_than_there_is(videos, tmp_path):
    found = next(predict_split(KnownModel(PROBS), videos, tmp_path, {**INFERENCE, "topk": 100}))
    assert len(found.by_class) == 12
    assert len(found.by_query) == 6


def test_scores_that_are_not_finite_are_an_error(videos, tmp_path):
    with pytest.raises(UserError, match=r"^Check the weights.*video 5 are not finite"):
        next(predict_split(KnownModel(PROBS * torch.nan), videos, tmp_path, INFERENCE))


def test_ties_go_to_the_first_query_and_class():
    probs = np.full((30, 5), 0.25, np.float32)
    probs[17, 3] = 0.5
    assert best_pairs(probs, 4) == [(17, 3), (0, 0), (0, 1), (0, 2)]
    assert best_queries(probs, 3) == [(17, 3), (0, 0), (1, 0)]


def test_a_real_model_predicts_what_the_hosts_inference_does(videos, tmp_path):
    row = next(row for row in load_table("table1").rows if row.id == "mask2former-r50-ytvis19")
    config = compose(row, load_profile("smoke"), {}, num_classes=2).model
    model = build_model(config, seed=0)
    found = next(predict_split(model, videos, tmp_path, INFERENCE))
    frames = [cv2.imread(str(tmp_path / f"{t}.png")) for t in range(LENGTH)]
    resized = np.stack([cv2.resize(frame, (120, 80)) for frame in frames])
    meta = {"img_shape": (80, 120), "ori_shape": (HEIGHT, WIDTH)}
    sample = TrackDataSample()
    sample.video_data_samples = [DetDataSample(metainfo=meta) for _ in frames]
    inputs = {"inputs": [torch.from_numpy(resized).permute(0, 3, 1, 2)], "data_samples": [sample]}
    results = model.test_step(inputs)[0]
    for t, frame in enumerate(results):
        instances = frame.pred_track_instances
        for position, scored in enumerate(found.by_class):
            assert scored.score == pytest.approx(float(instances.scores[position]))
            assert scored.category_id == (7, 9)[int(instances.labels[position])]
            mask = found.masks[scored.query][t]
            expected = instances.masks[position].numpy()
            assert np.array_equal(np.zeros_like(expected) if mask is None else decode(mask), expected)
