"""Predictions of a model that is known, and of a thin real one beside the host's own inference."""

import copy
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from inference.conftest import CLIPS, INFERENCE, assert_nearly_equal, thin_model
from mmdet.structures import DetDataSample, TrackDataSample
from torch.nn import functional as F

from ifrvis.datasets.rle import decode, encode
from ifrvis.datasets.ytvis import Annotations, Category, Video
from ifrvis.errors import UserError
from ifrvis.harness.spec.compose import compose_row
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.spec.tables import load_table
from ifrvis.inference.modes import best_pairs, best_queries, predict_split, predict_video
from ifrvis.inference.tta import pivot_position
from ifrvis.models.attention import Level
from ifrvis.models.decoding import FrameFeatures, LayerOutput, MaskDecoder
from ifrvis.training.build import build_model

HEIGHT, WIDTH, LENGTH = 40, 60, 3
SIDE_80 = {**INFERENCE, "side": 80}
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


class Preprocessor:
    pad_size_divisor = 32

    def __call__(self, data, training):
        assert not training
        images = data["inputs"][0].float() - 127.5
        assert images.shape[2:] == (80, 120)
        return {"inputs": F.pad(images, (0, 8, 0, 16))[None]}


class KnownModel(torch.nn.Module):
    """Query 0 is what is bright, query 1 what is dark, query 2 is seen in the first frame only, the rest nothing."""

    num_classes, masks, data_preprocessor = 2, MaskDecoder(), Preprocessor()

    def __init__(self, class_probs: torch.Tensor) -> None:
        super().__init__()
        self.class_logits = torch.nn.Parameter(class_probs.logit(), requires_grad=False)

    track_head = backbone = property(lambda self: self)

    def forward(self, images):
        return F.avg_pool2d(images[:, :1], 4)

    def encode_frames(self, features, sizes):
        assert sizes == [(80, 120)]
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


def test_recurrence_is_switched_off_for_a_prediction_as_in_a_model_without_it(make_video):
    model, video = thin_model("ours"), make_video(4)
    without = copy.deepcopy(model)
    for layer in without.track_head.transformer_decoder.random_layers:
        layer.recurrence = False
    on, off, expected = (
        predict_video(each, video, {**INFERENCE, **more}, range(3)).by_class
        for each, more in ((model, {}), (model, {"recurrence": False}), (without, {}))
    )
    assert off == expected != on
    assert predict_video(model, video, INFERENCE, range(3)).by_class == on  # it is on again


def test_masks_scores_and_categories_are_those_of_the_model(videos, tmp_path):
    found = list(predict_split(KnownModel(PROBS), videos, tmp_path, SIDE_80))
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
    more = next(predict_split(KnownModel(PROBS), videos, tmp_path, {**SIDE_80, "topk": 100}))
    assert (len(more.by_class), len(more.by_query)) == (12, 6)  # all that there are


def test_no_more_masks_than_one_frames_kept_queries_are_made_at_once(videos, tmp_path, monkeypatch):
    shapes = []

    def recorded(masks, logits, *sizes):
        shapes.append(tuple(logits.shape))
        return output(masks, logits, *sizes)

    output = MaskDecoder.output
    monkeypatch.setattr(MaskDecoder, "output", recorded)
    list(predict_split(KnownModel(PROBS), videos, tmp_path, {**SIDE_80, "topk": 2}))
    assert shapes == [(2, 24, 32)] * 2 * LENGTH


def test_scores_that_are_not_finite_are_an_error(videos, tmp_path):
    with pytest.raises(UserError, match=r"^Check the weights.*video 5 are not finite"):
        next(predict_split(KnownModel(PROBS * torch.nan), videos, tmp_path, SIDE_80))


def test_ties_go_to_the_first_query_and_class():
    probs = np.full((30, 5), 0.25, np.float32)
    probs[17, 3] = 0.5
    assert best_pairs(probs, 4) == [(17, 3), (0, 0), (0, 1), (0, 2)]
    assert best_queries(probs, 3) == [(17, 3), (0, 0), (1, 0)]


def test_a_real_model_predicts_what_the_hosts_inference_does(videos, tmp_path):
    row = next(row for row in load_table("table1").rows if row.id == "mask2former-r50-ytvis19")
    config = compose_row(row, load_profile("smoke"), {}, num_classes=2).model
    model = build_model(config, seed=0)
    found = next(predict_split(model, videos, tmp_path, SIDE_80))
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


@pytest.mark.parametrize(("tta", "clip_frames"), [(None, 5), (None, 8), ([48, 64], 5)])
def test_one_clip_of_all_queries_is_whole_video_inference(model, make_video, monkeypatch, tta, clip_frames):
    """A video shorter than a clip is one clip."""
    monkeypatch.setattr(type(model.track_head), "kept_queries", lambda self, logits: logits[:, 0] == logits[:, 0])
    video, whole_video = make_video(5), {**INFERENCE, "tta": tta}
    whole = predict_video(model, video, whole_video, [1, 2, 3])
    clip = {**CLIPS, "clip_frames": clip_frames, "tta": tta}
    assert predict_video(model, video, clip, [1, 2, 3]) == whole


def test_clips_cover_every_frame_of_what_is_found(model, make_video):
    found = predict_video(model, make_video(7), {**CLIPS, "stride": 2}, [1, 2, 3])
    assert [len(of_query) for of_query in found.masks.values()] == [7] * len(found.masks)


def test_clips_give_every_track_and_class_above_a_score_and_ten_tracks_to_choose_from(make_video):
    model, video = thin_model("ours"), make_video(7)
    clips = {**CLIPS, "topk": None, "min_overlap": 0.99}
    everything = predict_video(model, video, clips, [1, 2, 3])
    num_tracks = len(everything.by_class) // 3
    assert num_tracks > 10  # ten queries of each of five clips
    assert len(everything.by_query) == 10
    score = everything.by_class[num_tracks].score
    strict = predict_video(model, video, {**clips, "min_class_score": score}, [1, 2, 3])
    assert strict.by_class == tuple(each for each in everything.by_class if each.score > score)
    assert strict.by_query == everything.by_query


def test_equal_views_average_to_one_of_them(model, make_video):
    video = make_video(3)
    plain = predict_video(model, video, INFERENCE, [1, 2, 3])
    assert_nearly_equal(predict_video(model, video, {**INFERENCE, "tta": [64, 64, 64]}, [1, 2, 3]), plain)


def test_a_mirrored_view_is_that_of_a_mirrored_video(model, make_video):
    video = make_video(2)
    mirrored = replace(video, frames=video.frames[:, :, ::-1])
    seeds = {pivot_position(2, seed=seed, video_id=7): seed for seed in range(10)}  # the same frames as pivot
    tta = {**INFERENCE, "tta": [64], "flip": True}
    found = predict_video(model, video, tta, [1, 2, 3], seed=seeds[0])
    other = predict_video(model, mirrored, tta, [1, 2, 3], seed=seeds[1])
    turned = {
        query: tuple(mask and encode(np.ascontiguousarray(decode(mask)[:, ::-1])) for mask in of_query)
        for query, of_query in other.masks.items()
    }
    assert_nearly_equal(found, replace(other, masks=turned))


def test_tta_depends_on_the_seed_through_the_pivot_alone(model, make_video):
    video, tta = make_video(2), {**INFERENCE, "tta": [48, 64]}
    pivots = {pivot_position(2, seed=seed, video_id=7): seed for seed in range(10)}
    results = [predict_video(model, video, tta, [1, 2, 3], seed=seed) for seed in pivots.values()]
    scores = [sorted(each.score for each in result.by_class) for result in results]
    assert len(scores) == 2
    assert predict_video(model, video, tta, [1, 2, 3], seed=pivots[0]) in results


@pytest.mark.gpu
@pytest.mark.parametrize("mode", [INFERENCE, CLIPS, {**INFERENCE, "tta": [48, 64]}])
def test_every_mode_runs_on_a_gpu_beyond_the_batch_limit_of_its_attention(model, make_video, mode):
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU here")
    found = predict_video(copy.deepcopy(model).cuda(), make_video(131), mode, [1, 2, 3])
    assert all(len(of_query) == 131 for of_query in found.masks.values())
