"""What convert writes and says: right for each source, one file for both methods, refusals with what to do.

Also tests: ifrvis.commands.weights, ifrvis.training.renames.
"""

import argparse
import json
import pickle
import re
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config, ConfigDict

import ifrvis.models  # noqa: F401
from ifrvis.errors import UserError
from ifrvis.files import sha256_file
from ifrvis.training.build import build_model, load_initial_weights
from ifrvis.training.convert import convert, model_shapes

ROOT = Path(str(files("ifrvis"))) / "configs"
SWIN = {"embed_dims": 8, "num_heads": [1, 1, 2, 2], "depths": [2, 2, 2, 2]}
HEAD = {
    "in_channels": [8, 16, 32, 64],
    "feat_channels": 16,
    "encoder": {"num_layers": 1, "num_heads": 2, "num_points": 4, "feedforward_channels": 16},
    "decoder": {"num_layers": 3, "num_heads": 2, "feedforward_channels": 16},
}


def video_model(method="mask2former", num_queries=6, **head):
    """A thin Swin-T row's model; the names and the structure are those of the full one."""
    merged = Config()
    for kind, name in (("methods", method), ("backbones", "swin-t")):
        merged.merge_from_dict(Config.fromfile(ROOT / kind / f"{name}.py").to_dict())
    model = merged.to_dict()["model"]
    model["backbone"].update(SWIN)
    model["track_head"].update(HEAD, num_queries=num_queries, num_classes=3, **head)
    return model


def image_checkpoint(num_queries=6, classes=80, seed=0):
    """The state of the host's own Mask2Former for images, as MMDetection 3 names it."""
    from ifrvis.models.host_configs import decoder_cfg, pixel_decoder_cfg

    width = HEAD["feat_channels"]
    head = {
        "type": "Mask2FormerHead",
        "in_channels": HEAD["in_channels"],
        "feat_channels": width,
        "out_channels": width,
        "num_things_classes": classes,
        "num_stuff_classes": 0,
        "num_queries": num_queries,
        "pixel_decoder": pixel_decoder_cfg(width, **HEAD["encoder"]),
        "transformer_decoder": decoder_cfg(width, **HEAD["decoder"]),
        "positional_encoding": {"num_feats": width // 2, "normalize": True},
        "loss_cls": {"type": "CrossEntropyLoss", "class_weight": [1.0] * classes + [0.1]},
    }
    config = {"type": "Mask2Former", "backbone": video_model()["backbone"], "panoptic_head": head}
    config["panoptic_fusion_head"] = {
        "type": "MaskFormerFusionHead",
        "num_things_classes": classes,
        "num_stuff_classes": 0,
    }
    torch.manual_seed(seed)
    model = MODELS.build(ConfigDict(config))
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.randn_like(value))
    return model


def of_mmdetection_2(name):
    """The names of MMDetection 2, whose layers held lists of attentions and of FFNs."""
    name = re.sub(r"(transformer_decoder\.layers\.\d+)\.cross_attn\.", r"\1.attentions.0.", name)
    name = re.sub(r"(transformer_decoder\.layers\.\d+)\.self_attn\.", r"\1.attentions.1.", name)
    name = re.sub(r"(encoder\.layers\.\d+)\.self_attn\.", r"\1.attentions.0.", name)
    return re.sub(r"(panoptic_head.*layers\.\d+)\.ffn\.", r"\1.ffns.0.", name)


@pytest.fixture
def source(tmp_path):
    def write(name="source.pth", rename=str, **model):
        state = {rename(key): value for key, value in image_checkpoint(**model).state_dict().items()}
        torch.save({"meta": {"epoch": 50}, "state_dict": state}, tmp_path / name)
        return tmp_path / name

    return write


def converted(source, out, method="mask2former", queries=None, backbone="swin-t", **model):
    shapes = {"shapes": lambda _: model_shapes(video_model(method, **model))}
    return convert(source, out, backbone=backbone, queries=queries, **shapes)


@torch.no_grad()
@pytest.mark.parametrize("rename", [str, of_mmdetection_2])
def test_a_video_model_sees_frames_as_the_hosts_image_model_did(source, tmp_path, rename):
    report = converted(source(rename=rename), tmp_path / "w.pth")
    model, image_model = build_model(video_model(), seed=1).eval(), image_checkpoint().eval()
    not_loaded = load_initial_weights(model, tmp_path / "w.pth")
    assert report.name == "mask2former_swin-t_coco_instance"
    assert report.random == {"class head: its classes are others": not_loaded.missing}
    assert not_loaded.mismatched == not_loaded.unexpected == []
    images = torch.randn(1, 3, 64, 96)
    features = image_model.backbone(images)
    expected, memories = image_model.panoptic_head.pixel_decoder(features)
    frames = model.track_head.encode_frames(model.backbone(images))
    for found, host in zip([frames.mask_features, *frames.memories], [expected, *memories]):
        torch.testing.assert_close(found, host, rtol=0, atol=1e-5)  # sums of sampled values in another order
    for name in (
        "query_feat.weight",
        "mask_embed.2.weight",
        "transformer_decoder.layers.2.cross_attn.attn.in_proj_bias",
    ):
        assert torch.equal(model.track_head.get_parameter(name), image_model.panoptic_head.get_parameter(name))


def test_one_file_serves_both_methods_and_equal_weights_give_equal_bytes(source, tmp_path):
    path = source()
    baseline = converted(path, tmp_path / "a.pth")
    ours = converted(path, tmp_path / "b.pth", method="ours")
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()
    description = json.loads((tmp_path / "a.json").read_text())
    assert description == json.loads((tmp_path / "b.json").read_text())
    assert description["sha256"] == sha256_file(tmp_path / "a.pth")
    assert description["source"] == {"file": "source.pth", "sha256": sha256_file(path), "names": "MMDetection"}
    assert list(ours.random) == [
        "class head: its classes are others",
        "decoder layers: random, as the recipe says",
    ]
    assert any("layers.0.cross_attn" in name for name in ours.unused)
    assert not any("transformer_decoder.layers" in name for name in baseline.unused)
    copied = converted(path, tmp_path / "c.pth", method="ours", copy_image_decoder=True)
    assert list(copied.random)[1:] == ["IFR modules: the source has no such thing"]


@pytest.mark.parametrize(("classes", "name"), [(80, "coco_instance"), (133, "coco_panoptic"), (150, "150-classes")])
def test_the_classes_say_what_the_weights_are(source, tmp_path, classes, name):
    assert converted(source(classes=classes), tmp_path / "w.pth").name == f"mask2former_swin-t_{name}"


def test_other_numbers_of_queries_start_at_random_or_are_the_first_if_asked_for(source, tmp_path):
    path = source(num_queries=9)
    report = converted(path, tmp_path / "a.pth")
    reason = "queries: the source has another number of them, or none"
    assert report.random[reason] == ["track_head.query_embed.weight", "track_head.query_feat.weight"]
    assert report.queries == 9
    not_loaded = load_initial_weights(build_model(video_model(), seed=1), tmp_path / "a.pth")
    assert not_loaded.mismatched == report.random[reason]
    report = converted(path, tmp_path / "b.pth", queries=6)
    assert (report.name, report.queries) == ("mask2former_swin-t_coco_instance-q6", 6)
    assert reason not in report.random
    model = build_model(video_model(), seed=1)
    load_initial_weights(model, tmp_path / "b.pth")
    expected = image_checkpoint(num_queries=9).panoptic_head.query_feat.weight[:6]
    assert torch.equal(model.track_head.query_feat.weight, expected)
    for queries in (0, 10):
        with pytest.raises(UserError, match=r"^Give --queries a number from 1 to 9"):
            converted(path, tmp_path / "c.pth", queries=queries)


def test_what_does_not_fit_is_refused_and_nothing_is_written(source, tmp_path):
    path = source()
    state = torch.load(path, weights_only=True)["state_dict"]
    less = {name: value for name, value in state.items() if "stages.1" not in name}
    wider = {**state, "backbone.stages.0.blocks.0.attn.w_msa.relative_position_bias_table": torch.zeros(23 * 23, 1)}
    for given, message in [
        (less, "^Choose weights of swin-t, or another --backbone: .* has no backbone.stages.1"),
        (wider, r"^Choose weights of swin-t as its recipe has it.*\(529, 1\)"),
        ({"x.weight": torch.zeros(2)}, r"^Choose a COCO Mask2Former"),
        (
            {"patch_embed.proj.weight": torch.zeros(8, 3, 4, 4), "layers.1.downsample.norm.weight": torch.zeros(7)},
            "^Download",
        ),
    ]:
        torch.save(given, tmp_path / "bad.pth")
        with pytest.raises(UserError, match=message):
            converted(tmp_path / "bad.pth", tmp_path / "w.pth")
        assert not list(tmp_path.glob("w.*"))
    with pytest.raises(UserError, match=r"^Choose weights of r50, r101, swin-t"):
        converted(path, tmp_path / "w.pth", backbone=None)  # thin
    with pytest.raises(UserError, match=r"^Give a new file whose name ends in \.pth"):
        converted(path, tmp_path / "w.pkl")
    converted(path, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"^Give a new file"):
        converted(path, tmp_path / "w.pth")


def test_the_command_finds_the_backbone_and_prints_the_report(tmp_path, capsys):
    from mmdet.models import ResNet

    from ifrvis.cli import main

    state = ResNet(50).state_dict()
    arrays = {"fc.weight": state["conv1.weight"].numpy(), **{name: value.numpy() for name, value in state.items()}}
    (tmp_path / "r50.pkl").write_bytes(pickle.dumps(arrays))
    assert main(["weights", "convert", str(tmp_path / "r50.pkl"), str(tmp_path / "w.pth"), "--method", "ours"]) == 0
    shown = capsys.readouterr().out
    assert "w.pth: imagenet_r50, by the names of a ResNet" in shown
    assert "2 x class head: its classes are others: track_head.cls_embed.bias" in shown
    assert "unused: 1: backbone.fc.weight" in shown
    out = ["weights", "convert", str(tmp_path / "r50.pkl"), str(tmp_path / "x.pth"), "--json", "--method"]
    assert main([*out, "mask2former"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["name"], report["unused"]) == ("imagenet_r50", ["backbone.fc.weight"])
    assert main([*out[:3], str(tmp_path / "y.pth"), "--method", "nothing"]) == 2
    assert "Choose one of the methods" in capsys.readouterr().err


SEQFORMER = {
    "in_channels": [32, 64, 128, 256],
    "feat_channels": 16,
    "mask_channels": 4,
    "encoder": {"num_layers": 1, "num_heads": 2, "num_points": 2, "feedforward_channels": 16},
    "decoder": {"num_layers": 2, "num_heads": 2, "num_points": 2, "feedforward_channels": 16},
    "num_queries": 5,
    "num_classes": 3,
}


def seqformer_model(num_classes=3):
    """A thin SeqFormer with a ResNet-50 of an eighth of its width."""
    merged = Config()
    for kind, name in (("methods", "seqformer"), ("backbones", "r50")):
        merged.merge_from_dict(Config.fromfile(ROOT / kind / f"{name}.py").to_dict())
    model = merged.to_dict()["model"]
    model["backbone"].update(base_channels=8, stem_channels=8)
    model["track_head"].update(SEQFORMER, num_classes=num_classes)
    return model


def of_seqformer(name):
    """The names of the official code."""
    if name.startswith("backbone."):
        return f"detr.backbone.0.body.{name.removeprefix('backbone.')}"
    name = name.removeprefix("track_head.")
    for number, layer in enumerate(["lay3", "lay4", "dcn", "lay1", "lay2"]):
        name = name.replace(f"mask_branch.convs.{number}.", f"mask_head.{layer}.")
    for old, new in (
        (r"^pixel_encoder\.input_convs\.(\d)", r"detr.input_proj.\1.0"),
        (r"^pixel_encoder\.input_norms\.(\d)", r"detr.input_proj.\1.1"),
        (r"^pixel_encoder\.level_embed", "detr.transformer.level_embed"),
        (r"^pixel_encoder\.encoder", "detr.transformer.encoder"),
        (r"^decoder\.box_mlps", "detr.bbox_embed"),
        (r"^decoder\.", "detr.transformer.decoder."),
        (r"^detr\.transformer\.decoder\.reference_points", "detr.transformer.reference_points"),
        (r"^cls_embed", "detr.class_embed"),
        (r"^query_embed", "detr.query_embed"),
        (r"(encoder\.layers\.\d)\.norms\.0", r"\1.norm1"),
        (r"(encoder\.layers\.\d)\.norms\.1", r"\1.norm2"),
        (r"(decoder\.layers\.\d)\.norms(_box)?\.0", r"\1.norm2\2"),  # of self-attention
        (r"(decoder\.layers\.\d)\.norms(_box)?\.1", r"\1.norm1\2"),  # of cross-attention
        (r"(decoder\.layers\.\d)\.norms(_box)?\.2", r"\1.norm3\2"),
        (r"ffn(_box)?\.layers\.0\.0", r"linear1\1"),
        (r"ffn(_box)?\.layers\.1", r"linear2\1"),
        (r"time_weight", "time_attention_weights"),
    ):
        name = re.sub(old, new, name)
    return name


def test_seqformers_weights_fill_all_but_the_class_head(tmp_path):
    torch.manual_seed(0)
    trained = MODELS.build(ConfigDict(seqformer_model(num_classes=91)))
    state = {of_seqformer(name): each for name, each in trained.state_dict().items() if "num_batches" not in name}
    boxes = {f"detr.transformer.decoder.{name[5:]}": each for name, each in state.items() if "bbox_embed" in name}
    unused = {"detr.transformer.encoder.layers.0.self_attn.output_proj_box.weight": torch.ones(16, 16)}
    torch.save({"model": {**state, **boxes, **unused}, "args": argparse.Namespace(lr=2e-4)}, tmp_path / "s.pth")
    shapes = lambda _: model_shapes(seqformer_model())  # noqa: E731
    report = convert(tmp_path / "s.pth", tmp_path / "w.pth", shapes=shapes)
    assert (report.name, report.queries, report.source["names"]) == ("seqformer_r50_coco", 5, "SeqFormer")
    assert report.loaded == []
    assert list(report.random) == ["class head: its classes are others"]
    model = build_model(seqformer_model(), seed=1)
    not_loaded = load_initial_weights(model, tmp_path / "w.pth")
    assert not_loaded.missing == [f"track_head.cls_embed.{i}.{kind}" for i in (0, 1) for kind in ("bias", "weight")]
    expected = trained.state_dict()
    for name, value in model.state_dict().items():
        if not name.startswith("track_head.cls_embed.") and "num_batches" not in name:
            assert torch.equal(value, expected[name]), name
