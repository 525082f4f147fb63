"""What can be known to be wrong is refused before anything is queued; what is accepted can be built."""

import pytest

from ifrvis.cli import main
from ifrvis.errors import UserError
from ifrvis.harness.spec.compose import compose
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.options import OPTIONS
from ifrvis.training.build import build_model

HEAD, RESNET, SWIN = "model.track_head", ("ours", "r50"), ("ours", "swin-t")
ENCODER = {"num_layers": 1, "num_heads": 4, "num_points": 2, "feedforward_channels": 32}


def composed(overrides, named=RESNET):
    return compose(*named, "ytvis19", load_profile("smoke"), {"--set": overrides}, num_classes=4)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (f"{HEAD}.cross_frame_sum", "wrong", "it should be 'sum' or 'mean', and is 'wrong'"),
        ("train.precision", "fp8", "it should be 'fp32' or 'amp', and is 'fp8'"),
        ("train.sampler.num_frames", 0, "'num_frames' in 'sampler' in 'train' in profile 'smoke', --set: it should be"),
        ("train.sampler.frame_range", -1, "'frame_range'"),
        ("train.pipeline.sides", [], "'sides'"),
        ("train.pipeline.sides", [96, 0], "item 1 in 'sides'"),
        ("train.pipeline.flip", 1.5, "'flip'"),
        ("train.pipeline.max_side", 0, "'max_side'"),
        ("train.iterations", 0, "'iterations'"),
        ("train.global_batch", -2, "'global_batch'"),
        ("train.threads", 0, "'threads'"),
        ("train.optimizer.lr", -0.1, "'lr'"),
        ("train.optimizer.weight_decay", -0.1, "'weight_decay'"),
        ("train.optimizer.backbone_lr_mult", -1.0, "'backbone_lr_mult'"),
        ("train.optimizer.betas", [0.9], "'betas'"),
        ("train.optimizer.betas", [0.9, 1.0], "item 1 in 'betas'"),
        ("train.optimizer.eps", 0.0, "'eps'"),
        ("train.optimizer.clip_grad", 0.0, "'clip_grad'"),
        ("train.schedule.milestones", [3, 2], "Let 'milestones' rise: they are [3, 2]"),
        ("train.schedule.milestones", [0], "item 0 in 'milestones'"),
        ("train.schedule.gamma", 0.0, "'gamma'"),
        ("train.stills", {"dataset": "coco", "ratio": 1.0}, "'ratio' in 'stills'"),
        ("train.stills", {"dataset": "coco"}, "Add 'ratio'"),
        ("inference.mode", "parts", "'mode' in 'inference' in profile 'smoke', --set: it should be 'whole' or 'clips'"),
        ("inference.side", 0, "'side'"),
        ("inference.topk", 0, "'topk'"),
        ("inference.tta", [], "'tta'"),
        ("inference.min_score", 1.5, "'min_score'"),
        ("inference.min_overlap", -0.5, "'min_overlap'"),
        (f"{HEAD}.num_queries", 0, "'num_queries' in 'track_head' in 'model' in profile 'smoke', --set"),
        (f"{HEAD}.num_points", 0, "'num_points'"),
        (f"{HEAD}.feat_channels", 30, "Make 'feat_channels' a multiple of 4"),
        (f"{HEAD}.encoder", ENCODER | {"num_heads": 5}, "a multiple of 5, the encoder has so many heads: it is 32"),
        (f"{HEAD}.encoder", ENCODER | {"num_layers": 0}, "'num_layers' in 'encoder'"),
        (f"{HEAD}.decoder.num_heads", 3, "a multiple of 3, the decoder"),
        (f"{HEAD}.importance_ratio", 1.5, "'importance_ratio'"),
        (f"{HEAD}.oversample_ratio", 0.5, "'oversample_ratio'"),
        (f"{HEAD}.no_object_weight", -0.1, "'no_object_weight'"),
        (f"{HEAD}.loss_weights.dice", -5.0, "'dice' in 'loss_weights'"),
        (f"{HEAD}.lambda_e", -0.3, "'lambda_e'"),
        (f"{HEAD}.focal.prior", 0.0, "'prior' in 'focal'"),
        (f"{HEAD}.in_channels", [32, 64, 128], "'in_channels'"),
        (f"{HEAD}.in_channels", [32, 64, 128, 512], "to [32, 64, 128, 256], the channels of the backbone"),
        ("model.backbone.depth", 51, "'depth'"),
        ("model.backbone.style", "keras", "'style'"),
        ("model.backbone.stem_channels", 6, "multiples of the 4 groups"),
        ("model.backbone.norm_cfg", {"type": "BN", "num_groups": 4}, "Give norms of type GN"),
        ("model.backbone.out_indices", [0, 1], "'out_indices'"),
        ("model.data_preprocessor.std", [1.0, 1.0, 0.0], "item 2 in 'std'"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_key(key, value, message):
    with pytest.raises(UserError) as caught:
        composed({key: value})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model.backbone.num_heads", [1, 1, 2, 5], "96 has 5 heads"),
        ("model.backbone.drop_path_rate", 1.0, "'drop_path_rate'"),
        ("model.backbone.depths", [2, 2, 2], "'depths'"),
        ("model.backbone.embed_dims", 16, "to [16, 32, 64, 128], the channels of the backbone"),
    ],
)
def test_a_swin_that_cannot_be_is_refused(key, value, message):
    with pytest.raises(UserError) as caught:
        composed({key: value}, SWIN)
    assert message in str(caught.value)


def test_a_plan_refuses_before_anything_is_written(tmp_path, capsys):
    options = ["--profile", "smoke", f"--data-root={tmp_path}/data", f"--results={tmp_path}/results"]
    for change in ("model.track_head.cross_frame_sum=wrong", "train.precision=fp8", "train.pipeline.sides=[]"):
        assert main(["run", "table1", "--rows", "ours-r50-ytvis19", "--set", change, *options]) == 2
        assert "--set: it should " in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_every_packaged_type_with_options_declares_all_of_them():
    for named in (RESNET, SWIN, ("mask2former", "r50")):
        for part in ("backbone", "track_head", "data_preprocessor"):
            config = composed({}, named).model[part]
            assert set(config) <= OPTIONS[config["type"]].model_fields.keys()


@pytest.mark.parametrize(
    ("named", "overrides"),
    [
        (RESNET, {f"{HEAD}.feat_channels": 20, f"{HEAD}.decoder.num_heads": 2, f"{HEAD}.encoder.num_heads": 5}),
        (RESNET, {"model.backbone.depth": 18, f"{HEAD}.in_channels": [8, 16, 32, 64]}),
        (RESNET, {"model.backbone.norm_cfg": {"type": "BN", "requires_grad": False}, "model.backbone.style": "caffe"}),
        (SWIN, {"model.backbone.num_heads": [3, 4, 6, 12], "model.backbone.window_size": 3}),
    ],
)
def test_what_is_accepted_can_be_built(named, overrides):
    build_model(composed(overrides, named).model, seed=0)
