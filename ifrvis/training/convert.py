"""Starting weights from other programs' checkpoints: what `ifrvis weights convert` does.

The written file depends on the source alone, not on the method that is going to start from it: one file serves
Mask2Former-VIS and IFR. Beside `<out>.pth` lies `<out>.json`, which says what the weights are; the plan accepts a file
for a recipe's `train.init` by the name there.
"""

import io
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
from ifrvis.training.build import COMPUTED, NEVER_LOADED
from ifrvis.training.foreign import read_foreign
from ifrvis.training.renames import to_host_names

Shapes = Mapping[str, torch.Size]
_COCO = {80: "instance", 133: "panoptic"}  # classes -> task
_SWINS = {(96, 6): "swin-t", (96, 18): "swin-s", (128, 18): "swin-b", (192, 18): "swin-l"}  # width, third stage
_RESNETS = {6: "r50", 23: "r101"}  # blocks of the third stage
_QUERIES = ("track_head.query_feat.weight", "track_head.query_embed.weight")
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


@dataclass(frozen=True)
class Report:
    """What became of every parameter of a model, and of every entry of the source.

    Attributes:
        name: What the weights are, as recipes name them: `mask2former_r50_coco_instance`.
        source: File name, SHA-256, and whose names it had.
        queries: How many the source has; None for a backbone alone.
        loaded: Parameters under the source's own name and order.
        remapped: Parameters that had another name or order there.
        random: Reason -> parameters that start at random.
        unused: Entries of the source without a place.
    """

    name: str
    source: dict[str, str]
    queries: int | None
    loaded: list[str]
    remapped: list[str]
    random: dict[str, list[str]]
    unused: list[str]


def why_random(names: Iterable[str]) -> dict[str, list[str]]:
    """Parameters that start at random, by the reason."""
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        found.setdefault(next(reason for pattern, reason in _REASONS if re.search(pattern, name)), []).append(name)
    return found


def convert(
    source: Path,
    out: Path,
    *,
    shapes: Callable[[str], Shapes],
    backbone: str | None = None,
    queries: int | None = None,
) -> Report:
    """Write `out` and its description from a foreign checkpoint.

    Args:
        source: The checkpoint.
        out: The `.pth` to write; it must not exist.
        shapes: Given a backbone's name, the names and shapes of the model that the report is about, as `model_shapes`
            makes them.
        backbone: The backbone that the weights must be of; by default what their depth and width say.
        queries: Keep only so many of the queries, the first ones; the weights then have another name.

    Raises:
        UserError: If the source cannot be used, is of another backbone, or `out` exists.
    """
    description = out.with_suffix(".json")
    if out.suffix != ".pth" or out.exists() or description.exists():
        raise UserError(f"Give a new file whose name ends in .pth for the converted weights: got {out}.")
    renamed = to_host_names(read_foreign(source))
    tensors = {name: each for name, each in renamed.tensors.items() if not name.endswith(COMPUTED)}
    backbone = backbone or _backbone_of(tensors, source)
    target = shapes(backbone)
    _check_backbone(source, tensors, backbone, target)
    name, count = _what_it_is(tensors, backbone)
    if queries is not None:
        if count is None or not 1 <= queries <= count:
            raise UserError(f"Give --queries a number from 1 to {count or 0}: {source} has so many.")
        tensors |= {key: tensors[key][:queries] for key in _QUERIES if key in tensors}
        name += f"-q{queries}" * (queries < count)
    kept = {key: each for key, each in tensors.items() if not key.startswith(NEVER_LOADED)}
    where = {"file": source.name, "sha256": sha256_file(source), "names": renamed.source}
    fits = {key for key in target if key in kept and kept[key].shape == target[key]}
    report = Report(
        name,
        where,
        queries or count,
        loaded=sorted(fits - renamed.changed),
        remapped=sorted(fits & renamed.changed),
        random=why_random(key for key in target if key not in fits and not key.endswith(COMPUTED)),
        unused=sorted(kept.keys() - fits) + sorted(tensors.keys() - kept.keys()),
    )
    data = _packed({key: kept[key] for key in sorted(kept) if key in target or key.startswith("track_head.")})
    said = {"name": name, "sha256": sha256_bytes(data), "source": where, "queries": report.queries}
    if not publish_once(out, data) or not publish_once(description, json.dumps(said, indent=1) + "\n"):
        raise UserError(f"Give a new file for the converted weights: {out} was made meanwhile.")
    return report


def _packed(tensors: dict[str, Tensor]) -> bytes:
    """The file: equal weights give equal bytes, since a run's identity holds their hash."""
    stream = io.BytesIO()
    torch.save({"state_dict": {name: each.float().clone() for name, each in tensors.items()}}, stream)
    return stream.getvalue()


def _what_it_is(tensors: Mapping[str, Tensor], backbone: str) -> tuple[str, int | None]:
    """The name of the weights, and their number of queries."""
    queries = tensors.get(_QUERIES[1])
    if queries is not None and "track_head.controller.layers.0.weight" in tensors:
        return f"seqformer_{backbone}_coco", len(queries)
    head = tensors.get("track_head.cls_embed.weight")
    if head is None or any(name not in tensors for name in _QUERIES):
        return f"imagenet_{backbone}", None
    classes = len(head) - 1  # the last is no-object
    task = f"coco_{_COCO[classes]}" if classes in _COCO else f"{classes}-classes"
    return f"mask2former_{backbone}_{task}", len(tensors[_QUERIES[0]])


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
