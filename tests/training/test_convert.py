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
from ifrvis.harness.spec.compose import compose
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.training.build import build_model
from ifrvis.training.convert import convert, model_shapes, what_it_is
from ifrvis.training.renames import VIDEO_MODEL, Renamed, to_host_names
from ifrvis.training.weights import COMPUTED, load_initial_weights, load_trained

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
    assert list(ours.random) == ["class head: its classes are others", "decoder layers: random, as the recipe says"]
    assert any("layers.0.cross_attn" in name for name in ours.unused)
    assert not any("transformer_decoder.layers" in name for name in baseline.unused)
    copied = converted(path, tmp_path / "c.pth", method="ours", copy_image_decoder=True)
    assert list(copied.random)[1:] == ["IFR modules: the source has no such thing"]


@pytest.mark.parametrize(("classes", "name"), [(80, "coco_instance"), (133, "coco_panoptic"), (150, "150-classes")])
def test_the_classes_say_what_the_weights_are(source, tmp_path, classes, name):
    assert converted(source(classes=classes), tmp_path / "w.pth").name == f"mask2former_swin-t_{name}"


def test_an_image_models_names_of_any_age_are_a_start_without_conversion(source):
    for rename in (str, of_mmdetection_2):
        not_loaded = load_initial_weights(build_model(video_model(), seed=1), source(rename=rename))
        assert not_loaded.missing == ["track_head.cls_embed.bias", "track_head.cls_embed.weight"]


@pytest.mark.parametrize("rename", [lambda name: of_original(name), "module.{}".format])
def test_what_has_few_of_a_models_names_is_no_start(source, rename):
    path = source(rename=rename)
    with pytest.raises(
        UserError, match=r"^Choose other initial weights .*, or turn them with `ifrvis weights convert`"
    ):
        load_initial_weights(build_model(video_model(), seed=1), path)


PIXELS, LAYERS = r"^pixel_decoder\.", r"^transformer_decoder\.layers\.(\d+)\."
CROSS, SELF, FFN = (f"predictor.transformer_{each}_layers" for each in ("cross_attention", "self_attention", "ffn"))
ORIGINAL = [  # what the host calls the parts of a head, and what the official repository does
    (rf"{PIXELS}input_convs\.(\d)\.conv", r"pixel_decoder.input_proj.\1.0"),
    (rf"{PIXELS}input_convs\.(\d)\.gn", r"pixel_decoder.input_proj.\1.1"),
    (rf"{PIXELS}lateral_convs\.0\.gn", "pixel_decoder.adapter_1.norm"),
    (rf"{PIXELS}lateral_convs\.0\.conv", "pixel_decoder.adapter_1"),
    (rf"{PIXELS}output_convs\.0\.gn", "pixel_decoder.layer_1.norm"),
    (rf"{PIXELS}output_convs\.0\.conv", "pixel_decoder.layer_1"),
    (rf"{PIXELS}mask_feature\.", "pixel_decoder.mask_features."),
    (rf"{PIXELS}level_encoding\.weight", "pixel_decoder.transformer.level_embed"),
    (rf"{PIXELS}encoder\.", "pixel_decoder.transformer.encoder."),
    (r"(encoder\.layers\.\d+)\.ffn\.layers\.0\.0", r"\1.linear1"),
    (r"(encoder\.layers\.\d+)\.ffn\.layers\.1", r"\1.linear2"),
    (r"(encoder\.layers\.\d+)\.norms\.0", r"\1.norm1"),
    (r"(encoder\.layers\.\d+)\.norms\.1", r"\1.norm2"),
    (r"^transformer_decoder\.post_norm", "predictor.decoder_norm"),
    (rf"{LAYERS}norms\.0", rf"{CROSS}.\1.norm"),
    (rf"{LAYERS}norms\.1", rf"{SELF}.\1.norm"),
    (rf"{LAYERS}norms\.2", rf"{FFN}.\1.norm"),
    (rf"{LAYERS}cross_attn\.attn", rf"{CROSS}.\1.multihead_attn"),
    (rf"{LAYERS}self_attn\.attn", rf"{SELF}.\1.self_attn"),
    (rf"{LAYERS}ffn\.layers\.0\.0", rf"{FFN}.\1.linear1"),
    (rf"{LAYERS}ffn\.layers\.1", rf"{FFN}.\1.linear2"),
    (r"^cls_embed", "predictor.class_embed"),
    (r"^mask_embed\.(\d)", lambda found: f"predictor.mask_embed.layers.{int(found[1]) // 2}"),
    (r"^(query_feat|query_embed|level_embed)", r"predictor.\1"),
]


def of_original(name):
    """The names of the official repository."""
    head, _, found = name.partition("_head.")
    if head not in ("panoptic", "track"):
        return of_detectron2(name)
    for old, new in ORIGINAL:
        found = re.sub(old, new, found)
    return f"sem_seg_head.{found}"


def of_detectron2(name):
    """The names of its backbones."""
    name = name.removeprefix("backbone.")
    for old, new in (
        (r"^(conv1)\.", r"stem.\1."),
        (r"^bn1\.", "stem.conv1.norm."),
        (r"^layer(\d)\.", lambda found: f"res{int(found[1]) + 1}."),
        (r"(res\d\.\d+)\.bn(\d)\.", r"\1.conv\2.norm."),
        (r"\.downsample\.0\.(weight|bias)$", r".shortcut.\1"),
        (r"(res\d\.\d+)\.downsample\.1\.", r"\1.shortcut.norm."),
        (r"^patch_embed\.projection", "patch_embed.proj"),
        (r"^stages", "layers"),
        (r"\.attn\.w_msa\.", ".attn."),
        (r"\.ffn\.layers\.0\.0\.", ".mlp.fc1."),
        (r"\.ffn\.layers\.1\.", ".mlp.fc2."),
    ):
        name = re.sub(old, new, name)
    return f"backbone.{name}"


AGES = {  # of names of the official repository
    "now": str,
    "without": lambda name: name.replace("sem_seg_head.pixel_decoder.", "sem_seg_head."),
    "twice": lambda name: name.replace("sem_seg_head.pixel_decoder.", "sem_seg_head.pixel_decoder.pixel_decoder."),
    "static": lambda name: name.replace("query_feat", "static_query"),
    "several GPUs": lambda name: f"module.{name}",
}


@pytest.mark.parametrize("age", AGES)
def test_names_of_the_official_repository_of_any_age_load_as_a_whole(source, tmp_path, age):
    report = converted(source(rename=lambda name: AGES[age](of_original(name))), tmp_path / "w.pth")
    assert (report.name, report.unused) == ("mask2former_swin-t_coco_instance", TAKEN_OUT)
    assert list(report.random) == ["class head: its classes are others"]
    assert json.loads((tmp_path / "w.json").read_text())["random"] == {"class head: its classes are others": 2}
    converted(source(), tmp_path / "now.pth")
    converted_names, expected = (torch.load(tmp_path / name)["state_dict"] for name in ("w.pth", "now.pth"))
    assert converted_names.keys() == expected.keys()
    reordered = [name for name in expected if ".downsample." in name]
    assert all(torch.equal(converted_names[name], expected[name]) for name in expected if name not in reordered)


TAKEN_OUT = ["track_head.cls_embed.bias", "track_head.cls_embed.weight"]


@pytest.mark.parametrize(
    "part", ["pixel_decoder", "pixel_decoder.encoder.layers.0", "mask_embed.2", "cls_embed", "query_feat"]
)
def test_a_head_that_is_not_whole_has_no_name(source, tmp_path, part):
    path = source()
    for method in ("mask2former", "ours"):
        state = torch.load(path)["state_dict"]
        torch.save({name: value for name, value in state.items() if f"head.{part}." not in name}, tmp_path / "half.pth")
        with pytest.raises(UserError, match=rf"^Choose a whole checkpoint: {part}.* is not in .*half\.pth"):
            converted(tmp_path / "half.pth", tmp_path / "w.pth", method=method)
        assert not list(tmp_path.glob("w.*"))


@pytest.mark.parametrize("part", ["cls_embed", "query_embed"])
def test_a_part_of_which_only_the_bias_is_left_is_not_there(source, tmp_path, part):
    state = torch.load(source())["state_dict"]
    head = next(name for name in state if name.endswith(f"head.{part}.weight")).removesuffix("weight")
    del state[f"{head}weight"]
    torch.save(state | {f"{head}bias": torch.zeros(81)}, tmp_path / "half.pth")
    with pytest.raises(UserError, match=rf"^Choose a whole checkpoint: {part}\.weight of the head is not in"):
        converted(tmp_path / "half.pth", tmp_path / "w.pth")


def test_a_weight_that_is_a_single_number_is_refused(source, tmp_path):
    path = source()
    state = torch.load(path)["state_dict"]
    name = next(each for each in state if each.endswith("cls_embed.weight"))
    torch.save(state | {name: torch.tensor(1.0)}, path)
    for read in (lambda: converted(path, tmp_path / "w.pth"), lambda: load_trained(None, path)):
        with pytest.raises(UserError, match=f"{name} (in it )?is a single number, not the weights of a layer"):
            read()


def of_a_video_model(name):
    """The names of MMDetection's Mask2Former-VIS."""
    return name.replace("panoptic_head", "track_head")


def test_what_was_trained_on_videos_or_is_a_detector_is_no_start_of_coco_or_imagenet(source, tmp_path):
    backbone = {name: each for name, each in image_checkpoint().state_dict().items() if name.startswith("backbone.")}
    video = {
        name.replace("panoptic_head", "track_head"): each for name, each in torch.load(source())["state_dict"].items()
    }
    for classes, made, name in (
        (80, video, "mask2former_swin-t_80-classes"),  # our names: never COCO's images
        (40, None, "mask2former_swin-t_40-classes"),
        (0, backbone, "backbone_swin-t"),
        (0, {**backbone, "head.weight": torch.zeros(40, 8)}, "backbone_swin-t_40-classes"),
        (0, {**backbone, "head.weight": torch.zeros(1000, 8), "norm.bias": torch.zeros(8)}, "imagenet_swin-t"),
    ):
        made = made or torch.load(source(classes=classes))["state_dict"]
        torch.save(made, tmp_path / "source.pth")
        for path in tmp_path.glob("w.*"):
            path.unlink()
        assert converted(tmp_path / "source.pth", tmp_path / "w.pth").name == name
    for name in ("neck.convs.0.weight", "roi_head.mask_head.conv.weight", "decode_head.conv.weight", "proposal.x"):
        torch.save({**backbone, name: torch.zeros(2)}, tmp_path / "detector.pth")
        with pytest.raises(
            UserError, match=f"^Choose an image classifier.* has {name} and 0 more names of another model"
        ):
            converted(tmp_path / "detector.pth", tmp_path / "x.pth")
    model = build_model(video_model(), seed=1)
    torch.save({**backbone, "roi_head.x": torch.zeros(2)}, tmp_path / "detector.pth")
    torch.save(video, tmp_path / "mask2former_swin-t_coco_instance.pth")
    for name, message in (
        ("detector", "a detector's"),
        ("mask2former_swin-t_coco_instance", "head of 81 outputs, not what"),
    ):
        with pytest.raises(UserError, match=message):
            load_initial_weights(model, tmp_path / f"{name}.pth")


@pytest.mark.parametrize("rename", [of_original, of_a_video_model])
def test_a_trained_video_model_is_kept_as_a_whole_with_its_class_head(source, tmp_path, rename):
    path = source(rename=rename, classes=3)
    given = {"shapes": lambda _: model_shapes(video_model()), "backbone": "swin-t", "trained": True}
    report = convert(path, tmp_path / "w.pth", **given)
    assert (report.name, report.random) == ("trained_mask2former_swin-t_3-classes", {})
    model, expected = build_model(video_model(), seed=1), image_checkpoint(classes=3).state_dict()
    load_trained(model, tmp_path / "w.pth")
    for name, value in model.track_head.state_dict().items():
        assert torch.equal(value, expected[f"panoptic_head.{name}"]), name
    half = {name: each for name, each in torch.load(path)["state_dict"].items() if "_norm." not in name}
    torch.save(half, tmp_path / "half.pth")
    with pytest.raises(UserError, match=r"^Choose a whole trained model"):
        convert(tmp_path / "half.pth", tmp_path / "x.pth", **given)


def test_two_weights_that_would_be_one_are_refused():
    given = dict.fromkeys(("conv1.weight", "layer1.0.conv1.weight", "backbone.conv1.weight"), torch.zeros(1))
    with pytest.raises(UserError, match=r"^Leave one .*: backbone\.conv1\.weight and another are both backbone\.conv1"):
        to_host_names(given)


@pytest.mark.parametrize("backbone", ["r50", "r101", "swin-t", "swin-s", "swin-b", "swin-l"])
def test_every_key_of_the_official_repositorys_models_has_a_place(tmp_path, backbone):
    shapes = shapes_of(backbone)
    names = {name: each for name, each in shapes.items() if not name.endswith(COMPUTED)}
    names["track_head.cls_embed.weight"] = torch.Size((81, 256))
    given = {of_original(name): torch.zeros(shape, device="meta") for name, shape in names.items()}
    assert all(name.startswith(("backbone.", "sem_seg_head.p")) for name in given)
    renamed = to_host_names(given)
    assert renamed.source == "the original Mask2Former"
    assert {name: each.shape for name, each in renamed.tensors.items()} == names
    assert what_it_is(tmp_path, renamed, backbone, shapes) == (f"mask2former_{backbone}_coco_instance", queries(shapes))


def queries(shapes):
    return shapes["track_head.query_feat.weight"][0]


def shapes_of(backbone):
    """The weights of the paper's baseline."""
    return model_shapes(compose("mask2former", backbone, "ytvis19", load_profile("paper"), num_classes=40).model)


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
    for out in ("w.pth", "w.json"):
        with pytest.raises(UserError, match=rf"^Give a new file .*, and .*{out} is there\.$"):
            converted(path, tmp_path / "w.pth")
        (tmp_path / out).unlink()


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
    trained = build_model(seqformer_model(num_classes=91), seed=0)
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


def test_a_trained_seqformer_gives_its_classes_to_the_rows_that_its_category_ids_name(tmp_path):
    trained = build_model(seqformer_model(num_classes=42), seed=0).state_dict()
    torch.save({"model": {of_seqformer(name): each for name, each in trained.items()}}, tmp_path / "s.pth")
    shapes = lambda _: model_shapes(seqformer_model(num_classes=40))  # noqa: E731
    report = convert(tmp_path / "s.pth", tmp_path / "w.pth", shapes=shapes, trained=True)
    assert report.name == "trained_seqformer_r50_40-classes"
    model = build_model(seqformer_model(num_classes=40), seed=1)
    load_trained(model, tmp_path / "w.pth")
    for name in ("track_head.cls_embed.1.weight", "track_head.cls_embed.0.bias"):
        assert torch.equal(model.get_parameter(name), trained[name][1:41])


@pytest.mark.parametrize(
    ("classes", "source", "name"),
    [(91, "SeqFormer", "coco"), (42, "SeqFormer", "42-classes"), (91, VIDEO_MODEL, "91-classes")],
)
def test_a_seqformer_of_videos_is_not_called_cocos(classes, source, name):
    shapes = model_shapes(seqformer_model(num_classes=classes))
    given = Renamed(source, {name: torch.zeros(shape, device="meta") for name, shape in shapes.items()}, set())
    assert what_it_is(Path("s.pth"), given, "r50", shapes) == (f"seqformer_r50_{name}", 5)
