"""Models of other programs with random weights: their checkpoints, an input and what they make of it.

Run by a Python that has transformers, timm and torchvision (`requirements.txt` beside this file), which ifrvis and its
host never see: the host imports transformers wherever it finds it.

    python models.py FOLDER

writes `FOLDER/<case>.<ending>`, the checkpoint as its program names it, and `FOLDER/<case>.expected.pth`.
"""

import pickle
import re
import sys
import warnings
from pathlib import Path

import torch

warnings.simplefilter("ignore")
try:
    import torchvision
except RuntimeError:  # its compiled operators want the torch of its own build; what is used here is in Python
    for _name in [each for each in sys.modules if each.startswith("torchvision")]:
        del sys.modules[_name]
    _OPERATORS = torch.library.Library("torchvision", "DEF")
    for _name in ("nms", "qnms"):
        _OPERATORS.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

import timm  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig  # noqa: E402

SWIN = {"embed_dim": 16, "depths": [2, 2, 2, 2], "num_heads": [1, 2, 2, 4]}
# The names of transformers' Mask2Former -> those of the original repository, from which its converter starts.
TO_ORIGINAL = (
    (r"^model\.pixel_level_module\.encoder\.", "encoder."),
    (r"^model\.pixel_level_module\.decoder\.", "decoder."),
    (r"^model\.transformer_module\.", "predictor."),
    (r"^encoder\.hidden_states_norms\.stage1\.", "backbone.norm0."),
    (r"^encoder\.hidden_states_norms\.stage2\.", "backbone.norm1."),
    (r"^encoder\.hidden_states_norms\.stage3\.", "backbone.norm2."),
    (r"^encoder\.hidden_states_norms\.stage4\.", "backbone.norm3."),
    (r"^encoder\.swin\.embeddings\.patch_embeddings\.projection\.", "backbone.patch_embed.proj."),
    (r"^encoder\.swin\.embeddings\.norm\.", "backbone.patch_embed.norm."),
    (r"^encoder\.swin\.encoder\.", "backbone."),
    (r"\.attention\.relative_position_bias\.", ".attn."),
    (r"\.attention\.o_proj\.", ".attn.proj."),
    (r"\.attention\.", ".attn."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"^decoder\.level_embed$", "sem_seg_head.pixel_decoder.transformer.level_embed"),
    (r"^decoder\.encoder\.", "sem_seg_head.pixel_decoder.transformer.encoder."),
    (r"^decoder\.input_projections\.", "sem_seg_head.pixel_decoder.input_proj."),
    (r"^decoder\.mask_projection\.", "sem_seg_head.pixel_decoder.mask_features."),
    (r"^decoder\.(adapter_1|layer_1)\.0\.", r"sem_seg_head.pixel_decoder.\1."),
    (r"^decoder\.(adapter_1|layer_1)\.1\.", r"sem_seg_head.pixel_decoder.\1.norm."),
    (r"(transformer\.encoder\.layers\.\d+)\.self_attn_layer_norm\.", r"\1.norm1."),
    (r"(transformer\.encoder\.layers\.\d+)\.final_layer_norm\.", r"\1.norm2."),
    (r"(transformer\.encoder\.layers\.\d+)\.fc([12])\.", r"\1.linear\2."),
    (r"^predictor\.queries_features\.", "sem_seg_head.predictor.static_query."),
    (r"^predictor\.queries_embedder\.", "sem_seg_head.predictor.query_embed."),
    (r"^predictor\.level_embed\.", "sem_seg_head.predictor.level_embed."),
    (r"^predictor\.decoder\.layernorm\.", "sem_seg_head.predictor.decoder_norm."),
    (r"^predictor\.decoder\.mask_predictor\.mask_embedder\.(\d)\.0\.", r"sem_seg_head.predictor.mask_embed.layers.\1."),
    (r"^predictor\.decoder\.", "sem_seg_head.predictor."),
    (r"predictor\.layers\.(\d+)\.cross_attn\.", r"predictor.transformer_cross_attention_layers.\1.multihead_attn."),
    (r"predictor\.layers\.(\d+)\.cross_attn_layer_norm\.", r"predictor.transformer_cross_attention_layers.\1.norm."),
    (r"predictor\.layers\.(\d+)\.self_attn\.", r"predictor.transformer_self_attention_layers.\1.self_attn."),
    (r"predictor\.layers\.(\d+)\.self_attn_layer_norm\.", r"predictor.transformer_self_attention_layers.\1.norm."),
    (r"predictor\.layers\.(\d+)\.fc([12])\.", r"predictor.transformer_ffn_layers.\1.linear\2."),
    (r"predictor\.layers\.(\d+)\.final_layer_norm\.", r"predictor.transformer_ffn_layers.\1.norm."),
    (r"^class_predictor\.", "sem_seg_head.predictor.class_embed."),
)
FUSED = (("backbone.", ".attn.", "qkv.{}"), ("sem_seg_head.predictor.", ".self_attn.", "in_proj_{}"))


def randomised(model: torch.nn.Module) -> torch.nn.Module:
    """Every weight random, norms and biases too, so that none could be left out unseen."""
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            noise = torch.rand_like(value) if name.endswith("running_var") else torch.randn_like(value)
            value.copy_(noise + 0.5 if value.ndim == 1 and "weight" in name else 0.3 * noise + name.endswith("var"))
            if value.ndim > 1:
                value.copy_(torch.randn_like(value) / value[0].numel() ** 0.5)
    return model.eval()


def renamed(name: str) -> str:
    for pattern, replacement in TO_ORIGINAL:
        name = re.sub(pattern, replacement, name)
    return name


def original(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state of transformers' under the original names, its three projections fused again."""
    state = {renamed(name): value for name, value in state.items() if not name.startswith("criterion.")}
    for prefix, middle, fused in FUSED:
        for name in [each for each in state if each.startswith(prefix) and f"{middle}q_proj." in each]:
            kind = name.rpartition(".")[2]
            parts = [state.pop(name.replace("q_proj", part)) for part in ("q_proj", "k_proj", "v_proj")]
            state[name.rpartition("q_proj")[0] + fused.format(kind)] = torch.cat(parts)
    return state


def dump(path: Path, state: dict[str, torch.Tensor]) -> None:
    """As Detectron2's model zoo keeps weights."""
    arrays = {name: value.numpy() for name, value in state.items()}
    path.write_bytes(pickle.dumps({"model": arrays, "__author__": "test", "matching_heuristics": True}))


def mask2former(folder: Path) -> None:
    swin = SwinConfig(window_size=7, out_features=["stage1", "stage2", "stage3", "stage4"], **SWIN)
    config = Mask2FormerConfig(
        backbone_config=swin,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=64,
        encoder_layers=2,
        decoder_layers=4,  # three, and the prediction of the initial queries
        num_attention_heads=4,
        dim_feedforward=48,
        num_queries=7,
        num_labels=80,
    )
    model = randomised(Mask2FormerForUniversalSegmentation(config))
    images = torch.randn(1, 3, 192, 256)
    outputs = model(images, output_hidden_states=True)
    expected = {
        "images": images,
        "backbone": list(outputs.encoder_hidden_states),
        "mask_features": outputs.pixel_decoder_last_hidden_state,
        "memories": list(outputs.pixel_decoder_hidden_states),
        "class_logits": outputs.class_queries_logits,
        "mask_logits": outputs.masks_queries_logits,
    }
    dump(folder / "mask2former.pkl", original(model.state_dict()))
    torch.save(expected, folder / "mask2former.expected.pth")


def swin_of_timm(folder: Path) -> None:
    """At a size that windows of 7 divide at every stage: timm shifts before it pads, the others after."""
    model = randomised(timm.create_model("swin_tiny_patch4_window7_224", img_size=448, features_only=True, **SWIN))
    images = torch.randn(1, 3, 448, 448)
    features = [F.layer_norm(each, each.shape[-1:]).permute(0, 3, 1, 2) for each in model(images)]
    names = {re.sub(r"^layers_(\d)", r"layers.\1", name): value for name, value in model.state_dict().items()}
    torch.save(names, folder / "swin-timm.pth")
    torch.save({"images": images, "backbone": features}, folder / "swin-timm.expected.pth")


def swin_of_torchvision(folder: Path) -> None:
    model = randomised(torchvision.models.SwinTransformer([4, 4], window_size=[7, 7], **SWIN))
    images = x = torch.randn(1, 3, 256, 256)
    features = []
    for index, stage in enumerate(model.features):
        x = stage(x)
        if index % 2:
            features.append(F.layer_norm(x, x.shape[-1:]).permute(0, 3, 1, 2))
    torch.save(model.state_dict(), folder / "swin-torchvision.pth")
    torch.save({"images": images, "backbone": features}, folder / "swin-torchvision.expected.pth")


def resnet_of_torchvision(folder: Path) -> None:
    """Twice: under torchvision's own names, in the file format of its older downloads, and under Detectron2's."""
    model = randomised(torchvision.models.resnet50())
    images = torch.randn(1, 3, 64, 96)
    x = model.maxpool(model.relu(model.bn1(model.conv1(images))))
    features = []
    for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
        features.append(x := stage(x))
    state = model.state_dict()
    torch.save(state, folder / "resnet-torchvision.pth", _use_new_zipfile_serialization=False)
    dump(folder / "resnet-detectron2.pkl", {detectron2(name): value for name, value in state.items() if value.ndim})
    for case in ("resnet-torchvision", "resnet-detectron2"):
        torch.save({"images": images, "backbone": features}, folder / f"{case}.expected.pth")


def detectron2(name: str) -> str:
    name = re.sub(r"^layer(\d)", lambda found: f"backbone.res{int(found[1]) + 1}", name)
    name = re.sub(r"^(conv1|bn1)\.", r"backbone.stem.\1.", name)
    name = re.sub(r"bn(\d)\.", r"conv\1.norm.", name)
    return name.replace("downsample.0.", "shortcut.").replace("downsample.1.", "shortcut.norm.")


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    torch.manual_seed(0)
    for case in (mask2former, swin_of_timm, swin_of_torchvision, resnet_of_torchvision):
        case(Path(sys.argv[1]))
