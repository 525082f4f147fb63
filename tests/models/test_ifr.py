"""The paper's head: its start and its names; decoder and losses have tests of their own."""

import pytest
from mmdet.registry import MODELS


def test_classes_start_at_their_prior(build):
    head = build("ours").track_head
    assert head.cls_embed.bias.sigmoid().tolist() == pytest.approx([0.01] * 3)
    assert build("ours", focal=None).track_head.cls_embed.out_features == 4


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
