"""What a clip is compared with: its instances and its draws."""

import torch
from models.conftest import with_meta

from ifrvis.models.targets import clip_targets


def test_an_instance_that_no_frame_of_the_clip_shows_is_dropped(make_clip):
    clip = make_clip([[1, 1], [1, 0]])
    frame = clip.video_data_samples[0].gt_instances
    frame.masks.masks[1] = 0
    target = clip_targets(clip, "cpu")
    assert target.labels.tolist() == [0]
    assert target.gt_masks.shape == (1, 2, 32, 64)


def test_a_class_from_the_last_frame_makes_the_absent_no_object(make_clip):
    clip = make_clip([[1, 0], [1, 1]], labels=[2, 1])
    assert clip_targets(clip, "cpu").labels.tolist() == [2, 1]
    assert clip_targets(clip, "cpu", absent_class=3).labels.tolist() == [3, 1]


def test_every_clip_and_layer_draws_its_own_points(make_clip):
    clip = make_clip([[1, 1], [1, 1]])
    keys = [(seed, iteration, position) for seed in range(2) for iteration in range(3) for position in range(3)]
    targets = [clip_targets(with_meta(clip, draw_key=key), "cpu") for key in keys]
    draws = {float(torch.rand((), generator=target.generator(layer))) for target in targets for layer in range(4)}
    assert len(draws) == 4 * len(keys)
