"""The head beside the host's, what it predicts, and how it computes.

Also tests: ifrvis.models.decoding, ifrvis.models.host_configs.
"""

import pytest
import torch
from mmdet.registry import MODELS
from models.conftest import features
from models.host import host_head_cfg


def test_predictions_are_the_hosts_whatever_the_chunks(build, thin, make_clip, monkeypatch):
    monkeypatch.setattr("ifrvis.models.mask2former._FRAMES_PER_CHUNK", 2)
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
