import copy
import math

import pytest
import torch
from mmdet.registry import MODELS
from models import literal
from models.conftest import features
from models.host import host_head_cfg
from torch.nn import functional as F

from ifrvis.models.attention import time_positions
from ifrvis.models.decoding import FrameFeatures, LayerOutput
from ifrvis.models.targets import ClipTargets, Normalisers, NotFiniteLossError, clip_targets

EVERY = [[1, 1], [1, 1]]  # two instances in both of two frames


def total(losses):
    return torch.stack(list(losses.values())).sum()


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


@pytest.mark.parametrize("num_frames", [1, 2, 5])
@pytest.mark.parametrize("host_mask_loss", [False, True])
def test_losses_of_constant_masks_follow_by_hand(build, monkeypatch, num_frames, host_mask_loss):
    def centre(*shape, like, generator=None):
        return torch.full((*shape, 2), 0.5)

    monkeypatch.setattr("ifrvis.models.losses.uniform_points", centre)
    head = build("mask2former", host_mask_loss=host_mask_loss).track_head
    num_points, logit = head.supervision.sampling.num_points, 0.7
    embeds = torch.zeros(1, num_frames, 6, 16)
    embeds[..., 0] = torch.tensor([logit, -9, -9, -9, -9, -9])
    mask_features = torch.zeros(1, num_frames, 16, 8, 8)
    mask_features[:, :, 0] = 1.0
    target = ClipTargets(torch.tensor([1]), torch.ones(1, num_frames, 8, 8), "v", None)
    layer = LayerOutput(torch.zeros(1, 6, 4), embeds)
    losses = head.supervision.losses([layer], mask_features, [target], Normalisers(1, 1, 1))
    prob = 1 / (1 + math.exp(-logit))
    assert float(losses["loss_cls"]) == pytest.approx(2 * math.log(4), abs=1e-6)
    times = num_frames if host_mask_loss else 1
    assert float(losses["loss_mask"]) == pytest.approx(5 * num_frames * times * -math.log(prob), abs=1e-5)
    dice = 1 - (2 * num_points * prob + 1) / (num_points * prob + num_points + 1)
    assert float(losses["loss_dice"]) == pytest.approx(5 * num_frames * dice, abs=1e-5)


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


@pytest.mark.parametrize("num_frames", [1, 7])
def test_places_and_times_add_up_to_the_hosts_code(num_frames):
    config = {"num_feats": 8, "normalize": True}
    host = MODELS.build({"type": "SinePositionalEncoding3D", **config})
    place = MODELS.build({"type": "SinePositionalEncoding", **config})
    expected = host(torch.zeros(1, num_frames, 3, 5, dtype=torch.bool))[0]
    places = place(torch.zeros(1, 3, 5, dtype=torch.bool))
    times = time_positions(num_frames, like=torch.zeros(16))
    torch.testing.assert_close(places + times[:, :, None, None], expected)


@pytest.mark.parametrize("num_frames", [1, 5, 20])
def test_inference_frame_by_frame_is_the_fused_attention_of_training(build, num_frames):
    head = build("mask2former").track_head.double()
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=draws))
    maps = [torch.randn(num_frames, 16, s, 2 * s, generator=draws).double() for s in (8, 1, 2, 4)]
    frames = FrameFeatures(maps[0], maps[1:])
    fused, streamed = head.decode_layers(frames, 1)[-1], head.decode_clips(head.levels(frames), num_frames)
    torch.testing.assert_close(streamed.cls_logits, fused.cls_logits.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(streamed.mask_embeds, fused.mask_embeds.detach(), rtol=1e-5, atol=1e-5)


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


def test_predict_without_rescale_keeps_the_networks_size(build, make_clip):
    model = build("mask2former").eval()
    results = model.track_head.predict(features(model, 2), make_clip(EVERY), rescale=False)
    assert [len(results), *results[0].masks.shape] == [2, 10, 32, 64]


def with_meta(clip, **meta):
    clip = copy.deepcopy(clip)
    for frame in clip.video_data_samples:
        frame.set_metainfo(meta)
    return clip


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


@pytest.mark.parametrize("method", ["mask2former", "ours"])
@pytest.mark.parametrize("shown", [[], [[0, 1]], [[1], [1]]], ids=["no instance", "one frame of two", "one-frame clip"])
def test_losses_are_finite_and_give_gradients(build, make_clip, method, shown):
    model = build(method)
    clip = make_clip(shown)
    losses = model.track_head.loss(features(model, len(clip)), [clip])
    assert all(torch.isfinite(value) and value >= 0 for value in losses.values())
    total(losses).backward()
    missing = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.requires_grad)


def test_an_instance_that_no_frame_of_the_clip_shows_is_dropped(make_clip):
    clip = make_clip([[1, 1], [1, 0]])
    frame = clip.video_data_samples[0].gt_instances
    frame.masks.masks[1] = 0
    target = clip_targets(clip, "cpu")
    assert target.labels.tolist() == [0]
    assert target.gt_masks.shape == (1, 2, 32, 64)


def test_class_target_from_last_frame_trains_the_absent_as_no_object(build, make_clip):
    clip = make_clip([[1, 0], [1, 1]], labels=[2, 1])
    assert clip_targets(clip, "cpu").labels.tolist() == [2, 1]
    head = build("mask2former", class_target_from_last_frame=True).track_head
    assert clip_targets(clip, "cpu", absent_class=head.absent_class).labels.tolist() == [3, 1]
    model = build("mask2former", class_target_from_last_frame=True)
    losses = model.track_head.loss(features(model, 2), [clip])
    assert torch.isfinite(total(losses))


def test_loss_leaves_the_clip_as_it_was(build, make_clip):
    model = build("mask2former")
    clip = with_meta(make_clip(EVERY), draw_key=(0, 0, 0))
    first, second = (total(model.track_head.loss(features(model, 2), [clip])) for _ in range(2))
    assert torch.equal(first, second)


def test_more_instances_than_queries_train_the_best_pairs(build, make_clip):
    model = build("mask2former")
    losses = model.track_head.loss(features(model, 2), [make_clip([[1, 1]] * 8)])
    assert torch.isfinite(total(losses))


def test_a_cost_that_is_not_finite_names_the_video(build, make_clip):
    model = build("mask2former")
    x = [level * torch.nan for level in features(model, 2)]
    with pytest.raises(NotFiniteLossError, match=r"Lower train.optimizer.lr.*video v: .*prediction 0"):
        model.track_head.loss(x, [make_clip(EVERY)])


def test_a_received_config_is_left_as_it_was(thin):
    config = thin("mask2former")
    before = copy.deepcopy(config)
    MODELS.build(config["track_head"])
    assert config == before


def test_every_clip_and_layer_draws_its_own_points(make_clip):
    clip = make_clip(EVERY)
    keys = [(seed, iteration, position) for seed in range(2) for iteration in range(3) for position in range(3)]
    targets = [clip_targets(with_meta(clip, draw_key=key), "cpu") for key in keys]
    draws = {float(torch.rand((), generator=target.generator(layer))) for target in targets for layer in range(4)}
    assert len(draws) == 4 * len(keys)


@pytest.mark.parametrize("method", ["mask2former", "ours"])
def test_decoder_layers_start_xavier_uniform_unless_the_hosts_start_is_asked_for(build, method):
    for option, is_uniform in (("xavier_uniform", True), ("xavier_normal", False)):
        head = build(method, decoder_init=option).track_head
        for layer in head._layers():
            for weight in (p.detach() for p in layer.parameters() if p.dim() > 1):
                bound = math.sqrt(6 / sum(weight.shape))
                assert float(weight.std()) == pytest.approx(bound / math.sqrt(3), rel=0.25)
                assert bool(weight.abs().max() <= bound) == is_uniform


def test_a_focal_loss_is_an_option(build, make_clip):
    model = build("mask2former", class_loss="focal")
    clip = make_clip(EVERY, draw_key=(1, 2, 3))
    x = features(model, 2)
    cls_logits, mask_logits = model.track_head(x, [clip])
    assert cls_logits[-1].shape[-1] == 3
    assert model.track_head.cls_embed.bias.sigmoid().tolist() == pytest.approx([0.01] * 3)
    losses, target = model.track_head.loss(x, [clip]), clip_targets(clip, "cpu")
    for i in range(5):
        classes = torch.full((6,), 3)
        probs = cls_logits[i][0].sigmoid()
        classes[literal.assign(model.track_head, probs, mask_logits[i][0], target, target.generator(i))] = target.labels
        expected = 2 * literal.focal(cls_logits[i][0], classes) / 2  # its weight, and two instances
        torch.testing.assert_close(losses[f"d{i}.loss_cls" if i < 4 else "loss_cls"], expected, rtol=1e-5, atol=1e-6)


def test_positions_of_keys_without_time_are_an_option(build):
    """Then a clip is a set of frames: their order changes nothing but the order of the masks."""
    draws = torch.Generator().manual_seed(0)
    maps = [torch.randn(3, 16, s, 2 * s, generator=draws) for s in (8, 1, 2, 4)]
    frames = FrameFeatures(maps[0], maps[1:])
    order = torch.tensor([2, 0, 1])
    for option, same in (("2d", True), ("3d", False)):
        head = build("mask2former", key_positions=option).track_head
        one, other = (head.decode_layers(each, 1)[-1].cls_logits for each in (frames, frames[order]))
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
