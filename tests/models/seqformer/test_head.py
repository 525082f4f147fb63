"""The registered head: its size, start, inference, and draws.

Also tests: ifrvis.models.seqformer.encoder.
"""

import copy
import math

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from models.conftest import features, pack

from ifrvis.models.decoding import FrameFeatures
from ifrvis.models.drop_path import draw_drop_path_for, replace_drop_path
from ifrvis.models.seqformer.decoder import SelfAttention

# Of the official model with ResNet-50 and 42 classes; its encoder has 394,752 more, a projection that nothing uses.
PARTS = {
    "pixel_encoder.input_convs": 5_637_120,
    "pixel_encoder.input_norms": 2_048,
    "pixel_encoder.encoder": 4_935_936 - 394_752,
    "mask_branch": 1_922_376,
    "query_embed": 153_600,
    "decoder.layers": 12_056_862 - 795_672,
    "decoder.box_mlps": 795_672,
    "decoder.reference_points": 514,
    "cls_embed": 61_680 + 3_084,
    "controller": 175_017,
}


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_every_part_has_the_size_of_the_official_one(full_model):
    model = full_model("seqformer", "r50", num_classes=42)
    head = model.track_head
    assert {name: count(head.get_submodule(name)) for name in PARTS} == PARTS
    assert head.pixel_encoder.level_embed.numel() == 1024
    assert count(head) == sum(PARTS.values()) + 1024
    assert round((count(model) + 394_752) / 1e6, 3) == 48.457
    norms = sum(p.numel() for name, p in model.backbone.named_parameters() if ".bn" in name or name.startswith("bn"))
    norms += sum(p.numel() for name, p in model.backbone.named_parameters() if ".downsample.1." in name)
    assert round((count(model) + 394_752 - norms) / 1e6, 3) == 48.404
    assert round((sum(p.numel() for p in model.parameters() if p.requires_grad) + 394_752) / 1e6, 3) == 48.182


@pytest.mark.parametrize(("backbone", "millions"), [("r50", 48.457), ("r101", 67.449), ("swin-l", 218.741)])
def test_models_have_the_official_size(full_model, backbone, millions):
    total = count(full_model("seqformer", backbone, num_classes=42)) + 394_752
    assert round(total / 1e6, 3) == millions


def test_the_official_model_gives_the_official_shapes(recipe):
    config = recipe("seqformer", "r50")["model"]
    config["track_head"]["num_classes"] = 42
    model, clip = MODELS.build(config).eval(), pack(np.zeros((0, 5, 96, 160), np.uint8), np.zeros(0, int))
    with torch.no_grad():
        classes, boxes, masks = model.track_head(model.backbone(torch.zeros(5, 3, 96, 160)), [clip])
    assert [tuple(value.shape) for value in classes] == [(1, 300, 42)] * 6
    assert [tuple(value.shape) for value in boxes] == [(1, 5, 300, 4)] * 6
    assert [tuple(value.shape) for value in masks] == [(1, 300, 5, 24, 40)] * 6


def test_forward_gives_classes_boxes_and_masks_of_every_layer(build, make_clip):
    model = build("seqformer")
    clips = [make_clip([[1, 1, 1]]), make_clip([])]
    clips[1].video_data_samples = clips[0].video_data_samples
    classes, boxes, masks = model.track_head(features(model, 6), clips)
    assert [tuple(value.shape) for value in classes] == [(2, 6, 3)] * 3
    assert [tuple(value.shape) for value in boxes] == [(2, 3, 6, 4)] * 3
    assert [tuple(value.shape) for value in masks] == [(2, 6, 3, 8, 16)] * 3
    assert all(((value > 0) & (value < 1)).all() for value in boxes)


def test_a_clip_in_a_padded_batch_is_the_clip_alone(build, make_clip):
    """But for what convolutions and norms see of padding, which are kept from it here."""
    model = build("seqformer", dropout=0.0).eval()
    head, strides = model.track_head, (4, 8, 16, 32)
    head.pixel_encoder.input_norms = torch.nn.ModuleList(torch.nn.Identity() for _ in range(4))
    with torch.no_grad():
        x = model.backbone(torch.randn(4, 3, 128, 192, generator=torch.Generator().manual_seed(0)))
    small = [level[2:, :, : 64 // stride, : 128 // stride].clone() for stride, level in zip(strides, x)]
    for stride, level in zip(strides, x):
        level[2:, :, 64 // stride :] = 0
        level[2:, :, :, 128 // stride :] = 0
    clips = [make_clip([[1, 1]], size=(128, 192), img_shape=size) for size in ((128, 192), (64, 128))]
    together, alone = head(x, clips), head(small, [make_clip([[1, 1]], size=(64, 128))])
    for values, expected in zip(together[:2], alone[:2]):
        torch.testing.assert_close(values[-1][1:], expected[-1], rtol=1e-4, atol=1e-4)


def test_everything_starts_as_in_the_official_code(build):
    head = build(
        "seqformer", decoder={"num_layers": 3, "num_heads": 8, "num_points": 4, "feedforward_channels": 16}
    ).track_head
    assert all(layer.bias.sigmoid().tolist() == pytest.approx([0.01] * 3) for layer in head.cls_embed)
    starts = [mlp.layers[-1].bias.tolist() for mlp in head.decoder.box_mlps]
    assert starts == [[0, 0, -2, -2], [0] * 4, [0] * 4]
    for mlp in head.decoder.box_mlps:
        assert not mlp.layers[-1].weight.any()
        assert torch.equal(mlp.layers[0].weight, head.decoder.box_mlps[0].layers[0].weight)
    assert all(torch.equal(layer.weight, head.cls_embed[0].weight) for layer in head.cls_embed)
    attn = head.decoder.layers[1].cross_attn
    assert not attn.sampling_offsets.weight.any()
    offsets = attn.sampling_offsets.bias.view(8, 4, 4, 2)
    assert offsets[0, 0].tolist() == [[1, 0], [2, 0], [3, 0], [4, 0]]
    assert offsets[3, 2].tolist() == [[pytest.approx(-k), pytest.approx(k)] for k in (1, 2, 3, 4)]
    assert not attn.attention_weights.weight.any()
    assert not attn.output_proj.bias.any()
    assert attn.output_proj_box.bias.any()
    bound = math.sqrt(6 / (16 + 16))
    for weight in (attn.output_proj_box.weight, attn.value_proj.weight, head.controller.layers[0].weight):
        assert 0.9 * bound < weight.abs().max().item() <= bound
    assert not any(layer.bias.any() for layer in (head.decoder.reference_points, *head.controller.layers))
    for conv in head.mask_branch.convs:
        bound = math.sqrt(3 / (conv.in_channels * 9))
        assert 0.9 * bound < conv.weight.abs().max().item() <= bound
        assert not conv.bias.any()
    assert 0.8 < head.pixel_encoder.level_embed.std().item() < 1.2


@pytest.mark.parametrize("num_frames", [1, 5, 20])
def test_inference_is_the_last_layer_of_forward_whatever_the_chunks(build, make_clip, num_frames):
    model = build("seqformer").eval()
    clip, head = make_clip([[1] * num_frames]), model.track_head
    with torch.no_grad():
        x = features(model, num_frames)
    classes, _, masks = head(x, [clip])
    with torch.no_grad():
        chunks = zip(*(level.split(2) for level in x))
        frames = FrameFeatures.cat([head.encode_frames(chunk, [(32, 64)]) for chunk in chunks])
    found = head.decode_clips(head.levels(frames), num_frames)
    torch.testing.assert_close(found.cls_logits, classes[-1].detach())
    for t in range(num_frames):
        logits = head.masks.logits(found.mask_embeds[0, t, [4, 0]], frames.mask_features[t])
        logits = head.masks.output(logits, (32, 64), (32, 64), (8, 16))
        torch.testing.assert_close(logits, masks[-1][0, [4, 0], t].detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("num_frames", "stride"), [(2, 1), (3, 2), (4, 1), (1, 1)])
def test_clips_that_share_frames_are_each_the_clip_alone(build, num_frames, stride):
    model = build("seqformer").eval()
    head = model.track_head
    with torch.no_grad():
        frames = head.encode_frames(features(model, 2 * stride + num_frames), [(32, 64)])
    levels = head.levels(frames)
    together = head.decode_clips(levels, num_frames, stride)
    assert together.mask_embeds.shape[:3] == (3, num_frames, 6)
    for b in range(3):
        clip = slice(b * stride, b * stride + num_frames)
        alone = head.decode_clips([level[clip] for level in levels], num_frames)
        torch.testing.assert_close(together.cls_logits[b], alone.cls_logits[0], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(together.mask_embeds[b], alone.mask_embeds[0], rtol=1e-5, atol=1e-5)


def test_predict_gives_masks_of_the_best_pairs(build, make_clip):
    model = build("seqformer").eval()
    results = model.track_head.predict(features(model, 3), make_clip([[1, 1, 1]]))
    assert [tuple(r.masks.shape) for r in results] == [(10, 64, 128)] * 3
    assert results[0].scores.tolist() == sorted(results[0].scores.tolist(), reverse=True)


def test_dropping_nothing_is_the_fused_attention(draws):
    attn = SelfAttention(16, 2, dropout=1e-15).train()
    queries, positions = (torch.randn(*shape, 5, 16, generator=draws) for shape in ((2, 3), ()))
    torch.testing.assert_close(attn(queries, positions), attn.eval()(queries, positions))


def with_dropout(build):
    model = build("seqformer", dropout=0.3)
    replace_drop_path(model)
    return model.train()


def test_dropout_depends_on_the_key_alone_whatever_the_batch(build, make_clip):
    model = with_dropout(build)
    clips = [make_clip([[1, 1]], batch_num_instances=3, batch_num_clips=3) for _ in range(3)]
    keys = [(0, 5, b) for b in range(3)]
    x = features(model, 6)

    def losses(some, seed):
        torch.manual_seed(seed)
        draw_drop_path_for(model, [keys[b] for b in some])
        feats = [torch.cat([level[2 * b : 2 * b + 2] for b in some]) for level in x]
        return model.track_head.loss(feats, [clips[b] for b in some])

    whole, parts = losses([0, 1, 2], 1), [losses([b], 2 + b) for b in range(3)]
    for name, value in whole.items():
        torch.testing.assert_close(sum(part[name] for part in parts), value, rtol=1e-5, atol=1e-6)
    assert torch.equal(whole["loss_cls"], losses([0, 1, 2], 7)["loss_cls"])
    keys[0] = (0, 6, 0)
    assert not torch.equal(whole["loss_cls"], losses([0, 1, 2], 1)["loss_cls"])


def test_mixed_precision_leaves_the_head_in_single_precision(build, make_clip):
    model = build("seqformer", dropout=0.0)
    clip = make_clip([[1, 1], [0, 1]], draw_key=(0, 0, 0))
    x = features(model, 2)
    plain = model.track_head.loss(x, [clip])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model.track_head.loss(x, [clip])
        found = model.eval().track_head.predict([level.bfloat16() for level in x], clip)
    assert all(torch.equal(mixed[name], value) for name, value in plain.items())
    assert found[0].scores.dtype == torch.float32


def test_training_uses_deterministic_operations_alone(build, make_clip):
    clip, grads = make_clip([[1, 1]], draw_key=(0, 0, 0)), []
    torch.use_deterministic_algorithms(True)
    try:
        for _ in range(2):
            model = with_dropout(build)
            draw_drop_path_for(model, [(0, 0, 0)])
            losses = model.track_head.loss(features(model, 2), [clip])
            torch.stack(list(losses.values())).sum().backward()
            grads.append([p.grad for p in model.parameters() if p.requires_grad])
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(first, second) for first, second in zip(*grads))


def test_a_received_config_is_left_as_it_was(thin):
    config = thin("seqformer")
    before = copy.deepcopy(config)
    MODELS.build(config["track_head"])
    assert config == before
