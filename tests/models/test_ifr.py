import pytest
import torch
from mmdet.registry import MODELS
from models import literal
from models.conftest import features

from ifrvis.models import ifr_layers
from ifrvis.models.decoding import FrameFeatures, LayerOutput
from ifrvis.models.losses import FocalClasses
from ifrvis.models.targets import ClipTargets, Normalisers, clip_targets


def make_frames(draws, num_frames, width, size=(2, 3), dtype=torch.float64):
    """Pixel decoder features of random content; `size` is that of the coarsest level."""

    def randn(stride):
        return torch.randn(num_frames, width, *(s * stride for s in size), generator=draws, dtype=dtype)

    return FrameFeatures(randn(8), [randn(1), randn(2), randn(4)])


def shaken(head, draws):
    """The head with every parameter random, biases and norms too."""
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=draws).to(parameter))
    return head


@pytest.fixture
def make_head(thin):
    def make(seed=0, dtype=torch.float64, method="ours", **head):
        torch.manual_seed(seed)
        config = thin(method, **head)["track_head"]
        draws = torch.Generator().manual_seed(seed)
        return shaken(MODELS.build(config).to(dtype), draws), draws

    return make


def random_shape(draws):
    num_clips, num_frames, num_queries = (int(torch.randint(1, 5, (), generator=draws)) for _ in range(3))
    size = tuple(int(x) for x in torch.randint(1, 4, (2,), generator=draws))
    return {"num_clips": min(num_clips, 2), "num_frames": num_frames, "num_queries": 1 + num_queries, "size": size}


@pytest.mark.parametrize(("seed", "recurrence"), [*((seed, True) for seed in range(6)), (0, False), (1, False)])
def test_decoder_is_the_literal_one_in_values_and_gradients(make_head, seed, recurrence):
    shape = random_shape(torch.Generator().manual_seed(seed))
    head, draws = make_head(seed, num_queries=shape["num_queries"], recurrence=recurrence)
    frames = make_frames(draws, shape["num_clips"] * shape["num_frames"], 16, shape["size"])
    inputs = [frames.mask_features, *frames.memories]
    for x in inputs:
        x.requires_grad_()
    fast = mask_logits(head, frames, shape["num_clips"])

    def code(height, width, _):  # the host's code is in single precision
        return head.decoder_positional_encoding(torch.zeros(1, height, width))[0].flatten(1).T

    clips = clips_of(frames, shape["num_clips"])
    slow, margins = zip(*(literal.ifr_decoder(head, *clip, code=code, recurrence=recurrence) for clip in clips))
    assert min(margins) > 1e-6
    parameters = [p for name, p in head.named_parameters() if not name.startswith("pixel_decoder")]
    ours, theirs = [], []
    for i, outputs in enumerate(fast):
        for j, value in enumerate(outputs):
            expected = torch.stack([clip[i][j] for clip in slow])
            torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-9)
            weights = torch.randn(value.shape, generator=draws, dtype=value.dtype)
            ours.append((weights * value).sum())
            theirs.append((weights * expected).sum())
    grads = torch.autograd.grad(sum(ours), parameters + inputs)
    for grad, expected in zip(grads, torch.autograd.grad(sum(theirs), parameters + inputs)):
        torch.testing.assert_close(grad, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_decoder_is_the_literal_one_in_single_precision_with_the_same_masks(make_head, monkeypatch, seed):
    head, draws = make_head(seed, torch.float32)
    frames = make_frames(draws, 3, 16, dtype=torch.float32)
    masks, allowed_keys = [], ifr_layers.allowed_keys
    monkeypatch.setattr(ifr_layers, "allowed_keys", lambda *args: masks.append(allowed_keys(*args)) or masks[-1])
    with torch.no_grad():
        fast = mask_logits(head, frames, 1)
        slow, _ = literal.ifr_decoder(head, frames.mask_features, frames.memories, [mask[0] for mask in masks])
    for outputs, expected in zip(fast, slow):
        for value, other in zip(outputs, expected):
            torch.testing.assert_close(value[0], other, rtol=1e-5, atol=1e-5)


def mask_logits(head, frames, num_clips):
    """Class and mask logits of every prediction."""
    layers = head.decode_layers(frames, num_clips)
    maps = frames.mask_features.unflatten(0, (num_clips, -1))
    return [(layer.cls_logits, torch.einsum("btnc,btchw->bnthw", layer.mask_embeds, maps)) for layer in layers]


def clips_of(frames, num_clips):
    split = [x.unflatten(0, (num_clips, -1)) for x in (frames.mask_features, *frames.memories)]
    return [(maps[0], maps[1:]) for maps in zip(*split)]


@pytest.mark.parametrize("method", ["mask2former", "ours"])
@pytest.mark.parametrize(("num_frames", "stride"), [(2, 1), (3, 2), (4, 1), (1, 1)])
def test_clips_that_share_frames_are_each_the_clip_alone(make_head, method, num_frames, stride):
    head, draws = make_head(method=method)
    frames = make_frames(draws, 2 * stride + num_frames, 16)
    levels = head.levels(frames)
    together = head.decode_clips(levels, num_frames, stride)
    assert together.mask_embeds.shape == (3, num_frames, 6, 16)
    for b in range(3):
        clip = slice(b * stride, b * stride + num_frames)
        alone = head.decode_layers(frames[clip], 1)[-1]  # as in training, with gradients
        torch.testing.assert_close(together.cls_logits[b], alone.cls_logits[0].detach(), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(together.mask_embeds[b], alone.mask_embeds[0].detach(), rtol=1e-5, atol=1e-5)


def test_permuting_queries_permutes_predictions(make_head):
    head, draws = make_head()
    frames = make_frames(draws, 3, 16)
    before = mask_logits(head, frames, 1)
    order = torch.randperm(6, generator=draws)
    with torch.no_grad():
        for embedding in (head.query_feat, head.query_embed):
            embedding.weight.copy_(embedding.weight[order].clone())
    for (cls, masks), (cls_after, masks_after) in zip(before, mask_logits(head, frames, 1)):
        torch.testing.assert_close(cls[:, order], cls_after)
        torch.testing.assert_close(masks[:, order], masks_after)


def test_first_layer_is_blind_to_later_frames_and_the_second_is_not(make_head):
    head, draws = make_head()
    frames, others = make_frames(draws, 4, 16), make_frames(draws, 4, 16)
    mixed = FrameFeatures.cat([frames[:2], others[2:]])
    before, after = head.decode_layers(frames, 1), head.decode_layers(mixed, 1)
    assert torch.equal(before[1].mask_embeds[:, :2], after[1].mask_embeds[:, :2])
    assert not torch.allclose(before[1].mask_embeds[:, 2:], after[1].mask_embeds[:, 2:])
    assert not torch.allclose(before[2].mask_embeds[:, :2], after[2].mask_embeds[:, :2])


def test_a_frame_follows_the_one_before(make_head):
    head, draws = make_head()
    frames, others = make_frames(draws, 3, 16), make_frames(draws, 3, 16)
    mixed = FrameFeatures.cat([others[:1], frames[1:]])
    before, after = head.decode_layers(frames, 1)[1], head.decode_layers(mixed, 1)[1]
    assert not torch.allclose(before.mask_embeds[:, 2], after.mask_embeds[:, 2])


def test_a_clip_in_a_batch_is_the_clip_alone(make_head):
    head, draws = make_head()
    frames = make_frames(draws, 6, 16)
    together = mask_logits(head, frames, 2)
    alone = mask_logits(head, frames[3:], 1)
    for outputs, expected in zip(together, alone):
        for value, other in zip(outputs, expected):
            torch.testing.assert_close(value[1:], other)


@pytest.mark.parametrize("num_frames", [1, 2, 16, 17, 40])
def test_clips_of_any_length_decode_to_the_last_layer_of_forward(make_head, num_frames):
    head, draws = make_head(dtype=torch.float32)
    frames = make_frames(draws, num_frames, 16, (1, 2), torch.float32)
    cls_logits, masks = mask_logits(head, frames, 1)[-1]
    last = head.decode_clips(head.levels(frames), num_frames)
    torch.testing.assert_close(last.cls_logits, cls_logits.detach())
    torch.testing.assert_close(
        torch.einsum("nc,chw->nhw", last.mask_embeds[0, -1], frames.mask_features[-1]), masks[0, :, -1].detach()
    )


def test_chunks_of_frames_change_nothing(make_head, monkeypatch):
    head, draws = make_head()
    frames = make_frames(draws, 7, 16)
    whole = mask_logits(head, frames, 1)
    monkeypatch.setattr("ifrvis.models.ifr_layers.FRAMES_AT_ONCE", 3)
    for outputs, expected in zip(mask_logits(head, frames, 1), whole):
        for value, other in zip(outputs, expected):
            torch.testing.assert_close(value, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("lambda_e", [0.0, 0.3])
@pytest.mark.parametrize("cross_frame_sum", ["sum", "mean"])
@pytest.mark.parametrize("num_frames", [1, 2, 5])
def test_losses_are_the_equations(build, make_clip, num_frames, cross_frame_sum, lambda_e):
    model = build("ours", lambda_e=lambda_e, cross_frame_sum=cross_frame_sum)
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


def test_cross_frame_losses_follow_by_hand(make_head):
    """One instance that fills frame 2 alone; the query of frame 1 says 'everywhere', that of frame 2 'nowhere'."""
    head, _ = make_head(dtype=torch.float32, lambda_e=0.5)
    embeds = torch.zeros(1, 2, 6, 16)
    embeds[0, 0, :, 0], embeds[0, 1, :, 0] = 50.0, -50.0
    maps = torch.zeros(1, 2, 16, 64, 64)
    maps[:, :, 0] = 1.0
    gt_masks = torch.stack([torch.zeros(64, 64), torch.ones(64, 64)])[None]
    target = ClipTargets(torch.tensor([1]), gt_masks, "v", (0,))
    layers = [LayerOutput(torch.zeros(1, 6, 3), embeds)] * 2
    losses = head.supervision.losses(layers, maps, [target], Normalisers(1, 1, 1))
    assert float(losses["d0.loss_mask"]) == pytest.approx(5 * 100, rel=0.05)  # both own masks are wrong
    # The query of frame 1 is right on frame 2, and that of frame 2 is right on frame 1: the cross terms are nothing.
    assert float(losses["loss_mask"]) == pytest.approx(5 * 100, rel=0.05)
    swapped = [LayerOutput(torch.zeros(1, 6, 3), -embeds)] * 2
    losses = head.supervision.losses(swapped, maps, [target], Normalisers(1, 1, 1))
    assert float(losses["d0.loss_mask"]) == pytest.approx(0, abs=5 * 5)
    assert float(losses["loss_mask"]) == pytest.approx(5 * 0.5 * 100, rel=0.1)


def test_focal_loss_is_the_written_one_and_counts_no_object_as_no_class():
    cls_logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([0, 3, 2, 3, 1])
    torch.testing.assert_close(FocalClasses(0.25, 2.0).loss(cls_logits, classes), literal.focal(cls_logits, classes))


def test_classes_start_at_their_prior(build):
    head = build("ours").track_head
    assert head.cls_embed.bias.sigmoid().tolist() == pytest.approx([0.01] * 3)


def test_softmax_is_an_option(build, make_clip):
    model = build("ours", class_loss="softmax")
    losses = model.track_head.loss(features(model, 2), [make_clip([[1, 1]])])
    assert model.track_head.cls_embed.out_features == 4
    assert all(torch.isfinite(value) for value in losses.values())


def test_a_time_code_on_the_keys_of_a_frame_would_change_nothing(make_head, monkeypatch):
    head, draws = make_head()
    frames = make_frames(draws, 3, 16)
    plain = mask_logits(head, frames, 1)
    memory, code = ifr_layers.Attention.memory, torch.randn(3, 2, 1, 8, generator=draws, dtype=torch.float64)

    def with_times(*args):
        key, value = memory(*args)
        return key + code, value

    monkeypatch.setattr(ifr_layers.Attention, "memory", with_times)
    for outputs, expected in zip(mask_logits(head, frames, 1), plain):
        for value, other in zip(outputs, expected):
            torch.testing.assert_close(value, other, rtol=1e-9, atol=1e-9)


def test_an_unknown_sum_is_refused(thin):
    with pytest.raises(ValueError, match=r"cross_frame_sum must be 'sum' or 'mean', got 'max'; set it in model"):
        MODELS.build(thin("ours", cross_frame_sum="max")["track_head"])


def test_an_image_decoder_fits_only_where_asked(build):
    image = {name for name in build("mask2former").state_dict() if ".transformer_decoder.layers." in name}
    assert not image & build("ours").state_dict().keys()
    fitting = build("ours", copy_image_decoder=True).state_dict()
    own = {name: value.shape for name, value in build("mask2former").state_dict().items()}
    assert all(fitting[name].shape == own[name] for name in image)


def test_all_but_decoder_layers_and_class_head_has_the_baselines_names(build):
    baseline, ours = (build(method).state_dict() for method in ("mask2former", "ours"))
    random = ("track_head.transformer_decoder.layers.", "track_head.cls_embed.")
    for name, value in baseline.items():
        if not name.startswith(random):
            assert ours[name].shape == value.shape


def test_predict_gives_masks_of_the_best_pairs(build, make_clip):
    model = build("ours").eval()
    results = model.track_head.predict(features(model, 3), make_clip([[1, 1, 1]]))
    assert [tuple(r.masks.shape) for r in results] == [(10, 64, 128)] * 3
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


def test_the_best_queries_of_a_clip_are_kept_where_no_class_says_which_are_none():
    logits = torch.full((14, 3), -4.0)
    best = [13, 2, 3, 5, 7, 8, 9, 10, 11, 12]
    logits[best, torch.arange(10) % 3] = torch.linspace(-3, 2, 10)
    assert FocalClasses(0.25, 2.0).kept(logits).nonzero().flatten().tolist() == sorted(best)
    assert FocalClasses(0.25, 2.0).kept(logits[:4]).tolist() == [True] * 4
