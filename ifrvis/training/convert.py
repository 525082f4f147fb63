"""Starting weights from other programs' checkpoints: what `ifrvis weights convert` does.

The written file depends on the source alone, not on the method that is going to start from it: one file serves
Mask2Former-VIS and IFR. Beside `<out>.pth` lies `<out>.json`, which says what the weights are; the plan accepts a file
for a recipe's `train.init` by the name there.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from torch import Tensor
from torch.overrides import TorchFunctionMode

import ifrvis.models  # noqa: F401  registers the method
from ifrvis.errors import UserError
from ifrvis.files import publish_once, sha256_bytes, sha256_file
from ifrvis.training.foreign import read_foreign
from ifrvis.training.renames import VIDEO_MODEL, Renamed, to_host_names
from ifrvis.training.weights import COMPUTED, NEVER_LOADED, packed

Shapes = Mapping[str, torch.Size]
# What weights of so many classes are; of SeqFormer so many outputs: COCO has 80 classes, and ids up to 90.
_COCO = {"mask2former": {80: "coco_instance", 133: "coco_panoptic"}, "seqformer": {80: "coco", 90: "coco", 91: "coco"}}
_SWINS = {(96, 6): "swin-t", (96, 18): "swin-s", (128, 18): "swin-b", (192, 18): "swin-l"}  # width, third stage
_RESNETS = {6: "r50", 23: "r101"}  # blocks of the third stage
_QUERIES = ("track_head.query_feat.weight", "track_head.query_embed.weight")
# What an image classifier has beside a backbone, its last layer first, and how many classes ImageNet's releases have.
_CLASSIFIER = r"backbone\.(?:stem\.)?(?:fc|head|head\.fc|classifier)"
_BESIDE = re.compile(rf"{_CLASSIFIER}\.(weight|bias)|backbone\.norm\d?\.(weight|bias)|.*\.attn_mask")
_IMAGENET = (1000, 10450, 11221, 11821, 21841, 21842, 21843)
# Parts without which a head is a half, or another model's; what every method takes of one is there as a whole.
_PARTS = {
    "mask2former": "pixel_decoder. mask_embed. level_embed. query_feat. query_embed.weight transformer_decoder.layers.",
    "seqformer": "pixel_encoder. mask_branch. controller. query_embed.weight decoder.layers.",
}
_WHOLE = re.compile(r"track_head\.(pixel_|mask_|controller\.|level_embed)")
_LAYER = re.compile(r"track_head\.transformer_decoder\.(?:random_)?layers\.(\d+)\.")
# Which parameters of a model start at random, and why; the first that matches holds.
_REASONS = (
    (r"^track_head\.cls_embed\.", "class head: its classes are others"),
    (r"^track_head\.query_(feat|embed)\.", "queries: the source has another number of them, or none"),
    (r"^track_head\.transformer_decoder\.random_layers\.", "decoder layers: random, as the recipe says"),
    (r"\.(temporal_attn|clip_attn|clip_ffn|clip_norms)\.", "IFR modules: the source has no such thing"),
    (r"^backbone\.norm\d\.", "norms of the backbone's outputs: image classifiers have none"),
    (r"^track_head\.", "head: the source has no such parameter, or of another shape"),
    (r"", "backbone: the source has no such parameter, or of another shape"),
)


_OF_METHODS = [reason for pattern, reason in _REASONS if "random_layers" in pattern or "temporal_attn" in pattern]


@dataclass(frozen=True)
class Report:
    """What became of every parameter of a model, and of every entry of the source."""

    name: str  # what the weights are, as recipes name them: `mask2former_r50_coco_instance`
    source: dict[str, str]  # file name, SHA-256, and whose names it had
    queries: int | None  # how many the source has; None for a backbone alone
    loaded: list[str]  # parameters under the source's own name and order
    remapped: list[str]  # parameters that had another name or order there
    random: dict[str, list[str]]  # reason -> parameters that start at random
    unused: list[str]  # entries of the source without a place


def why_random(names: Iterable[str]) -> dict[str, list[str]]:
    """Parameters that start at random, by the reason."""
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        found.setdefault(next(reason for pattern, reason in _REASONS if re.search(pattern, name)), []).append(name)
    return found


def convert(
    source: Path,  # the checkpoint
    out: Path,  # the `.pth` to write; it must not exist
    *,
    # Given a backbone's name, the names and shapes of the model that the report is about, as `model_shapes` makes them.
    shapes: Callable[[str], Shapes],
    backbone: str | None = None,  # the backbone that the weights must be of; by default what their depth and width say
    queries: int | None = None,  # keep only so many of the queries, the first ones; the weights then have another name
    # Keep all of a trained video model, class head included, to predict with it and not to start from it.
    trained: bool = False,
) -> Report:
    """Write `out` and its description from a foreign checkpoint; UserError if the source cannot be used, is of another
    backbone, its head is not whole, nothing says what it was trained on, or `out` exists.
    """
    description = out.with_suffix(".json")
    there = next((f", and {each} is there" for each in (out, description) if each.exists()), "")
    if out.suffix != ".pth" or there:
        raise UserError(f"Give a new file whose name ends in .pth for the converted weights: got {out}{there}.")
    renamed = to_host_names(read_foreign(source))
    tensors = {name: each for name, each in renamed.tensors.items() if not name.endswith(COMPUTED)}
    backbone = backbone or _backbone_of(tensors, source)
    target = shapes(backbone)
    if trained and renamed.source == "SeqFormer":  # outputs are category ids: of 42 the first and the last are of none
        heads = {name: each for name, each in tensors.items() if name.startswith(NEVER_LOADED)}
        tensors |= {name: each[1:-1] for name, each in heads.items() if len(each) == 42}
    _check_backbone(source, tensors, backbone, target)
    name, count = what_it_is(source, renamed._replace(tensors=tensors), backbone, target)
    if trained:
        name, kept, fits = f"trained_{name}", tensors, _all_of(target, tensors, source)  # never the name of a start
        written = fits
    else:
        if queries is not None:
            if count is None or not 1 <= queries <= count:
                raise UserError(f"Give --queries a number from 1 to {count or 0}: {source} has so many.")
            tensors |= {key: tensors[key][:queries] for key in _QUERIES if key in tensors}
            name += f"-q{queries}" * (queries < count)
        kept = {key: each for key, each in tensors.items() if not key.startswith(NEVER_LOADED)}
        fits = {key for key in target if key in kept and kept[key].shape == target[key]}
        written = {key for key in kept if key in target or key.startswith("track_head.")}
    report = Report(
        name,
        {"file": source.name, "sha256": sha256_file(source), "names": renamed.source},
        queries or count,
        loaded=sorted(fits - renamed.changed),
        remapped=sorted(fits & renamed.changed),
        random=why_random(key for key in target if key not in fits and not key.endswith(COMPUTED)),
        unused=sorted(kept.keys() - fits) + sorted(tensors.keys() - kept.keys()),
    )
    _publish(out, {key: kept[key] for key in written}, report)
    return report


def _all_of(target: Shapes, tensors: Mapping[str, Tensor], source: Path) -> set[str]:
    """All weights of a video model, which have to be there: `ifrvis evaluate-model` and `ifrvis predict` take them."""
    wanted = {key for key in target if not key.endswith(COMPUTED)}
    for key in sorted(wanted):
        if key not in tensors or (tensors[key].shape != target[key] and not key.startswith(NEVER_LOADED)):
            came = f"{tuple(tensors[key].shape)} in it, here {tuple(target[key])}" if key in tensors else "not in it"
            raise UserError(f"Choose a whole trained model of this method and backbone: {key} of {source} is {came}.")
    return wanted


def _publish(out: Path, tensors: Mapping[str, Tensor], report: Report) -> None:
    """Write the weights, and beside them what they are and, by its reason, how much of a model they leave to chance."""
    data = packed({key: tensors[key].float().clone() for key in sorted(tensors)})
    random = {reason: len(names) for reason, names in report.random.items() if reason not in _OF_METHODS}
    said = {"name": report.name, "sha256": sha256_bytes(data), "source": report.source, "queries": report.queries}
    text = json.dumps({**said, "random": random}, indent=1) + "\n"
    if not publish_once(out, data) or not publish_once(out.with_suffix(".json"), text):
        raise UserError(f"Give a new file for the converted weights: {out} was made meanwhile.")


def what_it_is(source: Path, renamed: Renamed, backbone: str, target: Shapes) -> tuple[str, int | None]:
    """The name of weights, and their number of queries; UserError if their head is not whole, or they are of a
    detector: nothing says what they were trained on.
    """
    tensors = renamed.tensors
    inside = [name.removeprefix("track_head.") for name in tensors if name.startswith("track_head.")]
    if not inside:
        return _backbone_alone(source, tensors, backbone, target), None
    kind = "seqformer" if any(name.startswith("controller.") for name in inside) else "mask2former"
    of_classes = f"track_head.cls_embed.{'0.' * (kind == 'seqformer')}weight"
    decoder = {layer[1] for name in target if (layer := _LAYER.match(name))}
    parts, wanted = [*_PARTS[kind].split(), of_classes.removeprefix("track_head.")], []
    if any(".controller." in name for name in target) == (kind == "seqformer"):  # else the report is of another model
        parts += [f"transformer_decoder.layers.{each}." for each in sorted(decoder)]
        wanted = [name for name in target if _WHOLE.match(name)]
    lacks = [part for part in parts if not any(name.startswith(part) for name in inside)]
    lacks += [name for name in wanted if name not in tensors or tensors[name].shape != target[name]]
    if lacks:
        raise UserError(
            f"Choose a whole checkpoint: {lacks[0].removeprefix('track_head.')} of the head is not in {source}, or of "
            f"another shape, and {len(lacks) - 1} more; nothing says what the rest of it is."
        )
    number = len(tensors[of_classes]) - (kind == "mask2former")  # its last is no-object
    task = _COCO[kind].get(number) if renamed.source != VIDEO_MODEL else None
    return f"{kind}_{backbone}_{task or f'{number}-classes'}", len(tensors[_QUERIES[1]])


def _backbone_alone(source: Path, tensors: Mapping[str, Tensor], backbone: str, target: Shapes) -> str:
    """The name of weights without a head of ours: an image classifier's, which its last layer says."""
    others = [name for name in tensors if name not in target and not _BESIDE.fullmatch(name)]
    if others:
        raise UserError(
            f"Choose an image classifier, or a Mask2Former or SeqFormer as a whole: {source} has "
            f"{others[0].removeprefix('backbone.')} and {len(others) - 1} more names of another model, as a detector's."
        )
    last = next((each for name, each in tensors.items() if re.fullmatch(rf"{_CLASSIFIER}\.weight", name)), None)
    if last is None:
        return f"backbone_{backbone}"  # it may have been trained on anything
    of_imagenet = last.ndim != 2 or len(last) in _IMAGENET
    return f"imagenet_{backbone}" if of_imagenet else f"backbone_{backbone}_{len(last)}-classes"


def _backbone_of(tensors: Mapping[str, Tensor], source: Path) -> str:
    """The backbone by its depth and width."""
    third = re.compile(r"backbone\.(?:stages\.2\.blocks|layer3)\.(\d+)\.")
    blocks = {found[1] for name in tensors if (found := third.match(name))}
    patches = tensors.get("backbone.patch_embed.projection.weight")
    known: dict[Any, str] = _RESNETS if patches is None else _SWINS
    key = len(blocks) if patches is None else (len(patches), len(blocks))
    if key not in known:
        raise UserError(f"Choose weights of {', '.join((*_RESNETS.values(), *_SWINS.values()))}: {source} has others.")
    return known[key]


def _check_backbone(source: Path, tensors: Mapping[str, Tensor], backbone: str, target: Shapes) -> None:
    """All of the backbone but the norms of its outputs must be there and fit: a part of one is a mistake."""
    for name, shape in target.items():
        if not name.startswith("backbone.") or name.endswith(COMPUTED) or re.match(r"backbone\.norm\d\.", name):
            continue
        if name not in tensors:
            raise UserError(f"Choose weights of {backbone}, or another --backbone: {source} has no {name}.")
        if tensors[name].shape != shape:
            raise UserError(
                f"Choose weights of {backbone} as its recipe has it, or another --backbone: {name} is "
                f"{tuple(tensors[name].shape)} in {source}, here {tuple(shape)}."
            )


class _RealLinspace(TorchFunctionMode):
    """Swin reads values of `torch.linspace` while it is built, which the meta device has not."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs["device"] = "cpu"
        return func(*args, **kwargs)


def model_shapes(config: Mapping[str, Any]) -> Shapes:
    """Names and shapes of all weights of a model's config, without memory for them."""
    init_default_scope("mmdet")
    with torch.device("meta"), _RealLinspace():
        model = MODELS.build(ConfigDict(dict(config)))
    return {name: each.shape for name, each in model.state_dict().items()}
