"""Matching and losses of both methods beside the equations written with loops, and the host's."""

import pytest
import torch
from mmdet.registry import MODELS
from models import literal
from models.conftest import features, total, with_meta
from models.host import host_head_cfg
from torch.nn import functional as F

from ifrvis.models.targets import NotFiniteLossError, clip_targets

EVERY = [[1, 1], [1, 1]]  # two instances in both of two frames


@pytest.mark.parametrize("num_frames", [1, 2, 5])
def test_losses_are_the_official_ones(build, make_clip, num_frames):
    model = build("mask2former")
    shown = [[1] * num_frames, [1] * num_frames, [0] * (num_frames - 1) + [1]]
    clips = [make_clip(shown[: 2 + b], draw_key=(1, 2, b)) for b in range(2)]
    x = features(model, 2 * num_frames)
    losses = model.track_head.loss(x, clips)
    cls_logits, mask_logits = model.track_head(x, clips)
    frames = model.track_head.encode_frames(x)
    layers = model.track_head.decode_layers(frames, 2)
    maps = frames.mask_features.unflatten(0, (2, -1))
    targets = [clip_targets(clip, "cpu") for clip in clips]
    head, weights = model.track_head, torch.tensor([1, 1, 1, 0.1])
    for i in range(5):
        classes, mask, dice = torch.full((2, 6), 3), 0.0, 0.0
        for b, target in enumerate(targets):
            draws = target.generator(i)
            queries = literal.assign(head, cls_logits[i][b].softmax(-1), mask_logits[i][b], target, draws)
            classes[b, queries] = target.labels
            terms = literal.mask_terms(head, layers[i].mask_embeds[b], maps[b], target, queries, draws)
            mask, dice = mask + terms[0], dice + terms[1]
        cls = F.cross_entropy(cls_logits[i].transpose(1, 2), classes, weights)
        prefix = f"d{i}." if i < 4 else ""
        for name, value in (("cls", 2 * cls), ("mask", 5 * mask / 5), ("dice", 5 * dice / 5)):
            torch.testing.assert_close(losses[f"{prefix}loss_{name}"], value, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("num_frames", [2, 3])
def test_host_mask_loss_restores_the_hosts_losses(build, thin, make_clip, num_frames):
    model = build("mask2former", host_mask_loss=True)
    host = MODELS.build(host_head_cfg(thin("mask2former")["track_head"], num_frames))
    host.load_state_dict(model.track_head.state_dict())
    clip = make_clip([[1] * num_frames])
    x = features(model, num_frames)
    torch.manual_seed(3)
    ours = model.track_head.loss(x, [clip])
    torch.manual_seed(3)
    theirs = host.loss(x, [clip])
    assert set(ours) == set(theirs)
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name].reshape(()), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("method", "lambda_e", "cross_frame_sum"),
    [*(("ours", value, of) for value in (0.0, 0.3) for of in ("sum", "mean")), ("mask2former", 0.0, "sum")],
)
@pytest.mark.parametrize("num_frames", [1, 2, 5])
def test_losses_are_the_equations(build, make_clip, num_frames, method, lambda_e, cross_frame_sum):
    """Also of the baseline with a focal loss."""
    options = {"lambda_e": lambda_e, "cross_frame_sum": cross_frame_sum} if method == "ours" else {}
    model = build(method, class_loss="focal", **options)
    head = model.track_head
    shown = [[1] * num_frames, [1] * num_frames, [0] * (num_frames - 1) + [1]]
    clips = [make_clip(shown[: 2 + b], draw_key=(1, 2, b)) for b in range(2)]
    x = features(model, 2 * num_frames)
    losses = head.loss(x, clips)
    frames = head.encode_frames(x)
    layers = head.decode_layers(frames, 2)
    maps = frames.mask_features.unflatten(0, (2, -1))
    weight = lambda_e / (num_frames - 1 if cross_frame_sum == "mean" and num_frames > 1 else 1)
    for i in (0, 1, 4):
        cls, mask, dice = 0.0, 0.0, 0.0
        for b, target in enumerate(clip_targets(clip, "cpu") for clip in clips):
            draws = target.generator(i)
            cls_logits, embeds = layers[i].cls_logits[b], layers[i].mask_embeds[b]
            own = torch.stack([torch.einsum("nc,chw->nhw", e, f) for e, f in zip(embeds, maps[b])], 1)
            queries = literal.assign(head, cls_logits.sigmoid(), own, target, draws)
            classes = [3] * 6
            for q, label in zip(queries, target.labels):
                classes[q] = int(label)
            cls = cls + literal.focal(cls_logits, classes)
            cross = weight if i > 0 else 0.0
            terms = literal.mask_terms(head, embeds, maps[b], target, queries, draws, cross)
            mask, dice = mask + terms[0], dice + terms[1]
        prefix = f"d{i}." if i < 4 else ""
        for name, value in (("cls", 2 * cls), ("mask", 5 * mask), ("dice", 5 * dice)):
            torch.testing.assert_close(losses[f"{prefix}loss_{name}"], value / 5, rtol=1e-5, atol=1e-6)


def test_draws_depend_on_the_key_alone(build, make_clip):
    model = build("mask2former")
    x = features(model, 2)

    def loss(clip, seed):
        torch.manual_seed(seed)
        return total(model.track_head.loss(x, [clip])).detach()

    free = make_clip(EVERY)
    keyed, other = with_meta(free, draw_key=(0, 5, 1)), with_meta(free, draw_key=(0, 6, 1))
    assert torch.equal(loss(keyed, 1), loss(keyed, 2))
    assert not torch.equal(loss(keyed, 1), loss(other, 1))
    assert torch.equal(loss(free, 1), loss(free, 1))
    assert not torch.equal(loss(free, 1), loss(free, 2))


@pytest.mark.parametrize("method", ["mask2former", "ours"])
def test_micro_batches_add_up_to_the_whole_batch(build, make_clip, method):
    model = build(method)
    shown = [[[1, 1], [0, 1]], [], [[1, 0], [1, 1], [1, 1]]]
    plain = [make_clip(s, draw_key=(0, 0, b)) for b, s in enumerate(shown)]
    clips = [with_meta(clip, batch_num_instances=5, batch_num_clips=3) for clip in plain]
    x = features(model, 6)
    whole = model.track_head.loss(x, plain)
    parts = [model.track_head.loss([level[2 * b : 2 * b + 2] for level in x], [clips[b]]) for b in range(3)]
    for name, value in whole.items():
        torch.testing.assert_close(sum(part[name] for part in parts), value, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("mask2former", {}),
        ("mask2former", {"class_target_from_last_frame": True}),
        ("ours", {}),
        ("ours", {"class_loss": "softmax"}),
        ("mask2former", {"class_loss": "focal"}),
    ],
)
@pytest.mark.parametrize("shown", [[], [[1, 0]], [[1], [1]], [[1, 1]] * 8], ids=["none", "one", "a frame", "too many"])
def test_losses_are_finite_and_give_gradients(build, make_clip, method, head, shown):
    model = build(method, **head)
    clip = make_clip(shown)
    losses = model.track_head.loss(features(model, len(clip)), [clip])
    assert all(torch.isfinite(value) and value >= 0 for value in losses.values())
    total(losses).backward()
    missing = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.requires_grad)


def test_a_cost_that_is_not_finite_names_the_video(build, make_clip):
    model = build("mask2former")
    x = [level * torch.nan for level in features(model, 2)]
    with pytest.raises(NotFiniteLossError, match=r"Lower train.optimizer.lr.*video v: .*prediction 0"):
        model.track_head.loss(x, [make_clip(EVERY)])
