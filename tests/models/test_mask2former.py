"""The head beside the host's, what it predicts, and how it computes.

Also tests: ifrvis.models.decoding, ifrvis.models.host_configs.
"""

import math

import pytest
import torch
from mmdet.registry import MODELS
from models.conftest import features
from models.host import host_head_cfg

from ifrvis.models.decoding import FrameFeatures


def test_predictions_are_the_hosts_whatever_the_chunks(build, thin, make_clip, monkeypatch):
    monkeypatch.setattr("ifrvis.models.decoding.FRAMES_PER_CHUNK", 2)
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
def test_decoder_layers_start_xavier_uniform_unless_the_hosts_start_is_asked_for(build, method):
    for option, is_uniform in (("xavier_uniform", True), ("xavier_normal", False)):
        head = build(method, decoder_init=option).track_head
        for layer in head._layers():
            for weight in (p.detach() for p in layer.parameters() if p.dim() > 1):
                bound = math.sqrt(6 / sum(weight.shape))
                assert float(weight.std()) == pytest.approx(bound / math.sqrt(3), rel=0.25)
                assert bool(weight.abs().max() <= bound) == is_uniform


def test_positions_of_keys_without_time_are_an_option(build):
    """Then a clip is a set of frames: their order changes nothing but the order of the masks."""
    draws = torch.Generator().manual_seed(0)
    maps = [torch.randn(3, 16, s, 2 * s, generator=draws) for s in (8, 1, 2, 4)]
    orders = torch.tensor([0, 1, 2]), torch.tensor([2, 0, 1])
    clips = [FrameFeatures(maps[0][order], [level[order] for level in maps[1:]]) for order in orders]
    for option, same in (("2d", True), ("3d", False)):
        head = build("mask2former", key_positions=option).track_head
        one, other = (head.decode_layers(each, 1)[-1].cls_logits for each in clips)
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5) == same


def test_a_random_decoder_is_an_option(build):
    image = build("mask2former").state_dict().keys()
    random = build("mask2former", copy_image_decoder=False).state_dict().keys()
    assert image - random == {name for name in image if ".transformer_decoder.layers." in name}
    assert len(random) == len(image)


@pytest.mark.parametrize("option", ["class_loss", "key_positions", "decoder_init"])
def test_an_unknown_option_is_refused(thin, option):
    with pytest.raises(ValueError, match=f"^{option} must be '.*' or '.*', got 'new'; set it in model.track_head"):
        MODELS.build(thin("mask2former", **{option: "new"})["track_head"])
