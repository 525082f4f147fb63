"""What is trained and how it is evaluated: recipe < profile < row < `--set key=value`.

A recipe is the merge of three packed MMEngine configs (method, backbone, schedule of the dataset). Profiles, rows
and the command line then replace values by dotted key. A key must exist already and keep its type, so that a
misspelt one is an error and not a run that ignores it.
"""

import copy
import functools
import json
import pickle
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from ifrvis.errors import UserError
from ifrvis.files import read_yaml
from ifrvis.harness.spec.tables import Row
from ifrvis.packed import packed_yaml
from ifrvis.schema import check_name, construct, is_number

Config = dict[str, Any]
PRETRAINING = "pretraining"  # the value of `train.init` that names the profile's own pretraining
# Keys that may be null, and what they are where they are not.
OPTIONAL: dict[str, type] = {
    "train.init": str,
    "train.stills": dict,
    "train.optimizer.clip_grad": float,
    "inference.tta": list,
    "inference.clip_frames": int,
    "inference.min_score": float,
}
POSITIVE = ("train.iterations", "train.global_batch", "train.threads", "inference.side", "inference.topk")


@dataclass(frozen=True)
class Pretraining:
    """An image-level Mask2Former on stills, whose weights the rows of a profile start from.

    It stands where COCO pretraining stands: a recipe whose `train.init` is "pretraining" starts from that of its
    backbone.
    """

    dataset: str
    set: dict[str, Any]
    est_hours: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Learning:
    """A run is watched on a few held-out videos, from before its first iteration; and what counts as learned.

    Attributes:
        videos: How many held-out videos are watched, evenly spaced.
        gain: By how much the final AP (a fraction) must exceed that of the initial weights; None judges nothing.
        reach: What the final AP must reach; None judges nothing.
    """

    videos: int
    gain: float | None = None
    reach: float | None = None


@dataclass(frozen=True)
class Profile:
    """A scale at which every table can be run: real data on GPUs, or small synthetic sets on a laptop."""

    name: str
    title: str
    datasets: dict[str, str]
    set: dict[str, Any] = field(default_factory=dict)
    methods: dict[str, dict[str, Any]] = field(default_factory=dict)
    backbones: dict[str, dict[str, Any]] = field(default_factory=dict)
    pretraining: Pretraining | None = None
    learning: Learning | None = None
    sides: dict[str, int] = field(default_factory=dict)  # shortest side in a row's inference -> the side used here
    est_hours: dict[str, float] = field(default_factory=dict)  # backbone -> hours of one training, measured or guessed
    est_unit: str = "core hours"

    @property
    def compares(self) -> bool:
        """Whether its numbers are on the paper's data."""
        return self.name == "paper"


@dataclass(frozen=True)
class Composed:
    """A row's recipe after composition, and why it cannot run here if so."""

    model: Config
    train: Config
    inference: Config
    changes: Config  # dotted training keys of row and command line whose value is not the recipe's
    not_implemented: str = ""


def load_profile(name: str) -> Profile:
    """The profile `name` of `experiments/profiles/`, or of a YAML file."""
    path = packed_yaml("profiles", name)
    profile = construct(Profile, read_yaml(path, "the profile"), str(path))
    check_name(profile.name, f"the profile's name in {path}")
    return profile


def compose(row: Row, profile: Profile, overrides: Config, *, num_classes: int) -> Composed:
    """Compose what `row` trains and evaluates under a profile and the command line's overrides.

    Raises:
        UserError: If an override names a key that does not exist or gives a value of another type.
    """
    recipe = _recipe(row.method, row.backbone, row.dataset)
    if recipe is None:
        return Composed({}, {}, {}, {}, f"method {row.method!r} has no recipe yet")
    before = _plain_copy(recipe)
    where = f"profile {profile.name!r}"
    for layer in (profile.set, profile.methods.get(row.method, {}), profile.backbones.get(row.backbone, {})):
        _apply(before, layer, where)
    config = _plain_copy(before)
    _apply(config, row.overrides, f"row {row.id!r}")
    _map_sides(config["inference"], row.inference, profile.sides)
    _apply(config, overrides, "--set")
    changes = _changes(before, config, {**row.set, **overrides})
    config["model"]["track_head"]["num_classes"] = num_classes
    inference = _what_matters(config["inference"])
    return Composed(config["model"], config["train"], inference, changes)


def parse_override(text: str) -> tuple[str, Any]:
    """Split `key=value` of `--set`; the value is JSON, or text where it is not.

    Raises:
        UserError: If there is no `=`.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(f"Write --set key=value, as in --set train.iterations=100: got {text!r}.")
    try:
        return key, json.loads(value, parse_int=_plain_number, parse_float=_plain_number, parse_constant=_plain_number)
    except (RecursionError, ValueError):
        return key, value


def _plain_number(text: str) -> float:
    """A number that JSON and a float hold; ValueError for NaN, infinities and 10 ** 400."""
    value = float(text)
    if not is_number(value):
        raise ValueError(text)
    return int(text) if text.lstrip("-").isdigit() else value


@functools.cache
def _recipe(method: str, backbone: str, schedule: str) -> Config | None:
    layers = [_packaged_config("methods", method), _packaged_config("backbones", backbone)]
    layers.append(_packaged_config("schedules", schedule))
    if any(layer is None for layer in layers):
        return None
    merged: Config = {}
    for layer in layers:
        _merge(merged, layer or {})
    return merged


@functools.cache
def _packaged_config(kind: str, name: str) -> Config | None:
    """A packaged MMEngine config as plain values; only packaged ones, because configs are code."""
    folder = Path(str(files("ifrvis"))) / "configs" / kind
    if name not in {path.stem for path in folder.glob("*.py")}:
        return None
    from mmengine.config import Config as HostConfig  # a quarter of a second, without torch

    plain: Config = json.loads(json.dumps(HostConfig.fromfile(folder / f"{name}.py").to_dict()))
    return plain


def _plain_copy(config: Config) -> Config:
    """A deep copy of plain values, in a tenth of `deepcopy`'s time: a plan makes hundreds."""
    copied: Config = pickle.loads(pickle.dumps(config))  # noqa: S301  our own bytes
    return copied


def _merge(into: Config, layer: Config) -> None:
    for key, value in layer.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict) and not value.get("_delete_"):
            _merge(into[key], value)
        else:
            into[key] = copy.deepcopy(value)
            if isinstance(value, dict):
                into[key].pop("_delete_", None)


def _apply(config: Config, overrides: Config, where: str) -> None:
    for dotted, value in overrides.items():
        *parents, last = dotted.split(".")
        node: Any = config
        for part in parents:
            node = node.get(part) if isinstance(node, dict) else None
        if not isinstance(node, dict) or last not in node or not parents:
            raise UserError(f"Correct the key {dotted!r} of {where}: the recipe has no such key.")
        node[last] = _retyped(node[last], value, dotted, where)
        if dotted in POSITIVE and node[last] < 1:
            raise UserError(f"Make {dotted!r} of {where} 1 or more: got {node[last]}.")


def _retyped(old: Any, new: Any, dotted: str, where: str) -> Any:
    """The new value of a key, with the type of the old one all the way down."""
    kind = OPTIONAL.get(dotted, type(old))
    if new is None and (old is None or dotted in OPTIONAL):
        return None
    if kind is float and isinstance(new, int) and not isinstance(new, bool):
        return float(new)
    if kind in (int, float) and isinstance(new, str):
        raise UserError(f"Write {dotted!r} of {where} as a plain number, such as 0.0001: {new!r} is text.")
    if type(new) is not kind and (old is not None or dotted in OPTIONAL):
        raise UserError(f"Make {dotted!r} of {where} of type {kind.__name__}, as in the recipe: got {new!r}.")
    if isinstance(old, dict) and isinstance(new, dict) and old.get("type") == new.get("type"):
        if old.keys() != new.keys():
            raise UserError(f"Give {dotted!r} of {where} the recipe's keys, {', '.join(old)}: got {', '.join(new)}.")
        return {key: _retyped(old[key], value, f"{dotted}.{key}", where) for key, value in new.items()}
    if isinstance(old, list) and isinstance(new, list) and old:
        return [_retyped(old[0], value, f"{dotted}[{index}]", where) for index, value in enumerate(new)]
    return copy.deepcopy(new)


def _map_sides(inference: Config, given: Config, sides: dict[str, int]) -> None:
    """Rows name the paper's sizes; a profile with smaller frames says what stands for them."""
    if "side" in given:
        inference["side"] = sides.get(str(given["side"]), given["side"])
    if given.get("tta"):
        inference["tta"] = [sides.get(str(side), side) for side in given["tta"]]


def _changes(before: Config, after: Config, keys: Config) -> Config:
    flat = {key: (_value(before, key), _value(after, key)) for key in keys if not key.startswith("inference.")}
    return {key: new for key, (old, new) in flat.items() if old != new}


def _value(config: Config, dotted: str) -> Any:
    return functools.reduce(lambda node, part: node[part], dotted.split("."), config)


def choose_inference(kept: Config, overrides: Config) -> Config:
    """An inference that a run was asked for, changed from the command line.

    Raises:
        UserError: If an override is no option of inference, or of another type.
    """
    recipe = _recipe("mask2former", "r50", "ytvis19")
    assert recipe is not None
    config = {"inference": {**recipe["inference"], **kept}}
    _apply(config, overrides, "--set")
    return _what_matters(config["inference"])


def _what_matters(inference: Config) -> Config:
    """Inference without the options that its mode does not read, so that they change no identity."""
    _check_inference(inference)
    if inference["mode"] == "whole":
        unread = {"min_score", "min_overlap"}
        inference = {**inference, "clip_frames": None, "stride": 1}
    else:
        unread = set()
    if not inference["tta"]:
        unread.add("flip")
    return {key: value for key, value in inference.items() if key not in unread}


def _check_inference(inference: Config) -> None:
    mode, clip_frames, stride, sides = (inference[key] for key in ("mode", "clip_frames", "stride", "tta"))
    if mode not in ("whole", "clips"):
        raise UserError(f"Set inference.mode to whole or clips: got {mode!r}.")
    if mode == "clips" and not (clip_frames and 1 <= stride <= clip_frames):
        raise UserError(
            f"Set inference.clip_frames to the length of a clip and inference.stride from 1 to that: got {clip_frames} "
            f"and {stride}."
        )
    if sides is not None and not (sides and all(type(side) is int and side > 0 for side in sides)):
        raise UserError(f"Set inference.tta to sizes in pixels, such as [360, 480], or to null: got {sides!r}.")
