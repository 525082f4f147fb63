"""The head beside the host's, what it predicts, and how it computes.

Also tests: ifrvis.models.decoding, ifrvis.models.host_configs.
"""

import copy

import pytest
import torch
from mmdet.registry import MODELS
from models.conftest import features
from models.host import host_head_cfg


def test_predictions_are_the_hosts(build, thin, make_clip):
    model = build("mask2former").eval()
    host = MODELS.build(host_head_cfg(thin("mask2former")["track_head"], 3)).eval()
    host.load_state_dict(model.track_head.state_dict())
    clip = make_clip([[1, 1, 1]])
    with torch.no_grad():
        x = features(model, 3)
        ours, theirs = model.track_head(x, clip), host(x, clip)
        for mine, his in zip(ours[0] + ours[1], theirs[0] + theirs[1]):
            torch.testing.assert_close(mine, his, rtol=1e-4, atol=1e-4)
        results, expected = model.track_head.predict(x, clip), host.predict(x, clip)
    for mine, his in zip(results, expected):
        torch.testing.assert_close(mine.scores, his.scores.sort(descending=True).values)
        mine_sizes, his_sizes = mine.masks.sum((1, 2)), his.masks.sum((1, 2))
        assert sorted(mine_sizes.tolist()) == pytest.approx(sorted(his_sizes.tolist()), abs=2)
        assert mine.masks.shape == his.masks.shape == (10, 64, 128)


def test_a_decoded_clip_is_the_last_layer_of_forward_whatever_the_chunks(build, make_clip, monkeypatch):
    model = build("mask2former").eval()
    head, clip = model.track_head, make_clip([[1] * 5])
    with torch.no_grad():
        x = features(model, 5)
        cls_logits, mask_logits = head(x, [clip])
        monkeypatch.setattr("ifrvis.models.mask2former._FRAMES_PER_CHUNK", 2)
        frames = head.encode_frames(x)
        last = head.decode_clips(head.levels(frames), 5)
    torch.testing.assert_close(last.cls_logits, cls_logits[-1])
    masks = torch.einsum("tnc,tchw->nthw", last.mask_embeds[0], frames.mask_features)
    torch.testing.assert_close(masks, mask_logits[-1][0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["mask2former", "ours"])
@pytest.mark.parametrize(("rescale", "size"), [(True, (64, 128)), (False, (32, 64))])
def test_predict_gives_masks_of_the_best_pairs_at_the_size_asked_for(build, make_clip, method, rescale, size):
    model = build(method).eval()
    results = model.track_head.predict(features(model, 3), make_clip([[1, 1, 1]]), rescale=rescale)
    assert [tuple(r.masks.shape) for r in results] == [(10, *size)] * 3
    assert results[0].scores.tolist() == sorted(results[0].scores.tolist(), reverse=True)


@pytest.mark.parametrize("method", ["mask2former", "ours"])
def test_mixed_precision_trains_and_decodes(build, make_clip, method):
    model = build(method)
    clip = make_clip([[1, 1], [0, 1]], draw_key=(0, 0, 0))
    plain = model.track_head.loss(features(model, 2), [clip])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model.track_head.loss(features(model, 2), [clip])
        found = model.track_head.predict(features(model, 2), clip)
    assert all(value.dtype == torch.float32 and torch.isfinite(value) for value in mixed.values())
    for name in ("d0.loss_cls", "d0.loss_mask", "d0.loss_dice"):  # later ones may be matched otherwise
        torch.testing.assert_close(mixed[name], plain[name], rtol=0.1, atol=0.1)
    assert found[0].scores.dtype == torch.float32


@pytest.mark.parametrize("method", ["mask2former", "ours"])
def test_training_uses_deterministic_operations_alone(build, make_clip, method):
    clip, grads = make_clip([[1, 1]], draw_key=(0, 0, 0)), []
    torch.use_deterministic_algorithms(True)
    try:
        for _ in range(2):
            model = build(method)
            losses = model.track_head.loss(features(model, 2), [clip])
            torch.stack(list(losses.values())).sum().backward()
            grads.append([p.grad for p in model.parameters() if p.requires_grad])
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(first, second) for first, second in zip(*grads))


def test_a_received_config_is_left_as_it_was(thin):
    config = thin("mask2former")
    before = copy.deepcopy(config)
    MODELS.build(config["track_head"])
    assert config == before
