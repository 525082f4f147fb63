"""What is trained and how it is evaluated: recipe < profile < row < `--set key=value`.

Profiles, rows and the command line replace values of a recipe by dotted key. A key must exist already and keep its
type, so that a misspelt one is an error and not a run that ignores it.
"""

import copy
import functools
import json
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from ifrvis.errors import UserError, nearest
from ifrvis.harness.spec.allowed import NORM, check_types, known_keys
from ifrvis.harness.spec.profiles import Pretraining, Profile
from ifrvis.harness.spec.recipes import Config, packaged_config, recipe, recipe_layers, trained_on
from ifrvis.harness.spec.tables import Row, find_row
from ifrvis.options import check_options, leaves
from ifrvis.schema import Model, is_number, validated

# Keys that may be null, and what they are where they are not.
OPTIONAL: dict[str, type] = {
    "train.init": str,
    "train.stills": dict,
    "train.optimizer.clip_grad": float,
    "inference.max_side": int,
    "inference.tta": list,
    "inference.clip_frames": int,
    "inference.topk": int,
}
QUERIES = "model.track_head.num_queries"
ANY_LENGTH = ("inference.tta", "train.pipeline.sides", "train.pipeline.crop.sides", "train.schedule.milestones")


class MixedIn(Model):
    """Pseudo-videos among the clips: of which stills, and their share; None is that of the sets' sizes."""

    dataset: str
    ratio: float | None = Field(gt=0, lt=1)

    @classmethod
    def of(cls, given: Config | None, where: str = "train.stills") -> "MixedIn | None":
        """What a recipe's `train.stills` says, for whoever works in another folder; `where` names it in errors."""
        if given is None:
            return None
        mixed = validated(cls, given, where)
        is_path = mixed.dataset.endswith((".yaml", ".yml"))
        return mixed.model_copy(update={"dataset": str(Path(mixed.dataset).resolve())}) if is_path else mixed


@dataclass(frozen=True)
class Composed:
    """A recipe after composition."""

    model: Config
    train: Config
    inference: Config
    changes: Config  # dotted training keys of row and command line whose value is not the recipe's


def compose(
    method: str,
    backbone: str,
    schedule: str,
    profile: Profile,
    overrides: Mapping[str, Config] | None = None,
    *,
    num_classes: int,
) -> Composed:
    """Compose what is trained and how it is evaluated, of packaged parts; UserError if there is no such recipe, or an
    override names a key that does not exist, a type that no recipe names, or gives a value that cannot be.

    `overrides` are values by dotted key, under the name of whoever gives them; later ones win.
    """
    before, given = _plain_copy(recipe(method, backbone, schedule)), overrides or {}
    for layer in _of_profile(profile, method, backbone):
        _apply(before, layer, f"profile {profile.name!r}")
    config = _plain_copy(before)
    for where, layer in given.items():
        _apply(config, layer, where)
    where = ", ".join([f"profile {profile.name!r}", *(name for name, layer in given.items() if layer)])
    check_types(config, where)
    for stills in (before["train"]["stills"], config["train"]["stills"]):
        if MixedIn.of(stills, f"'train.stills' in {where}"):
            stills["dataset"] = profile.stills.get(stills["dataset"], stills["dataset"])
    own, head = before["model"]["track_head"], config["model"]["track_head"]
    if head["num_classes"] not in (own["num_classes"], num_classes):
        raise UserError(f"Remove 'model.track_head.num_classes' from {where}: its data set has {num_classes}.")
    own["num_classes"] = head["num_classes"] = num_classes
    changes = _changes(before, config, {key for layer in given.values() for key in layer})
    check_options(config, where)
    return Composed(config["model"], config["train"], _what_matters(config["inference"]), changes)


def compose_row(row: Row, profile: Profile, overrides: Config, *, num_classes: int) -> Composed:
    """What a row trains and evaluates under a profile and the command line's overrides; see `compose`."""
    given = {f"row {row.id!r}": _at_scale(row, profile), "--set": overrides}
    return compose(row.method, row.backbone, trained_on(row.dataset)[1], profile, given, num_classes=num_classes)


def sources(row: Row, profile: Profile, overrides: Config) -> dict[str, str]:
    """Which file, profile, row or option is the last that gives each value of a row's recipe, by its dotted key."""
    scaled = _at_scale(row, profile)
    as_named = {**row.set, **{f"inference.{key}": value for key, value in row.inference.items()}}
    layers = recipe_layers(row.method, row.backbone, trained_on(row.dataset)[1])
    layers += [(f"profile {profile.name}", layer) for layer in _of_profile(profile, row.method, row.backbone)]
    layers += [(f"row {row.id}", scaled), ("--set", overrides)]
    found = {key: source for source, layer in layers for key in leaves(layer)}
    for key in scaled.keys() & as_named.keys():
        if scaled[key] != as_named[key] and found.get(key) == f"row {row.id}":
            found[key] += f", {as_named[key]} at the scale of profile {profile.name}"
    return found


def _of_profile(profile: Profile, method: str, backbone: str) -> list[Config]:
    own = profile.alone.get(method, profile.set)
    return [own, profile.methods.get(method, {}), profile.backbones.get(backbone, {})]


def row_inference(name: str, profile: Profile) -> Config:
    """How a row, named `table/row`, predicts under a profile; UserError if there is no such row."""
    return compose_row(find_row(name)[1], profile, {}, num_classes=1).inference


def compose_pretraining(
    declared: Pretraining, method: str, backbone: str, profile: Profile, *, num_classes: int
) -> Composed:
    """What a profile's pretraining of a method and a backbone trains; see `compose`."""
    given = {f"'pretraining' of profile {profile.name!r}": {"train.stills": None, **declared.set}}
    schedule = trained_on(declared.dataset)[1]
    return compose(method, backbone, schedule, profile, given, num_classes=num_classes)


def _at_scale(row: Row, profile: Profile) -> Config:
    """A row names the paper's sizes and numbers of queries; a smaller profile says what stands for them."""
    given, sides = dict(row.inference), profile.sides
    if "side" in given:
        given["side"] = sides.get(str(given["side"]), given["side"])
    if isinstance(given.get("tta"), list):
        given["tta"] = [sides.get(str(side), side) for side in given["tta"]]
    named = {**row.set, **{f"inference.{key}": value for key, value in given.items()}}
    if QUERIES in named:
        named[QUERIES] = profile.queries.get(str(named[QUERIES]), named[QUERIES])
    return named


def parse_override(text: str) -> tuple[str, Any]:
    """Split `key=value` of `--set`; the value is JSON, or text where it is not. UserError if there is no `=`."""
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


def _plain_copy(config: Config) -> Config:
    """A deep copy of plain values, in a tenth of `deepcopy`'s time: a plan makes hundreds."""
    copied: Config = pickle.loads(pickle.dumps(config))  # noqa: S301  our own bytes
    return copied


def _apply(config: Config, overrides: Config, where: str) -> None:
    for dotted, value in overrides.items():
        *parents, last = dotted.split(".")
        node: Any = config
        for part in parents:
            node = node.get(part) if isinstance(node, dict) else None
        if not isinstance(node, dict) or last not in node or not parents:
            known = known_keys()
            alike = [key for key in known if key.rpartition(".")[2].startswith(last)]  # `lr`: `train.optimizer.lr`
            near = nearest(dotted, alike, cutoff=0) if alike else nearest(dotted, known)
            near = " (recipes of other methods have it)" if dotted in known else near
            raise UserError(f"Correct the key {dotted!r} of {where}: the recipe has no such key{near}.")
        node[last] = _retyped(node[last], value, dotted, where)


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
    wanted, given = _named_type(old, dotted), _named_type(new, dotted)
    if wanted != given and not dotted.startswith(NORM):
        raise UserError(
            f"Let the type of {dotted!r} of {where} be {wanted}, or choose another method or backbone: got {given!r}."
        )
    if isinstance(old, dict) and wanted == given:
        if old.keys() != new.keys():
            raise UserError(f"Give {dotted!r} of {where} the recipe's keys, {', '.join(old)}: got {', '.join(new)}.")
        return {key: _retyped(old[key], value, f"{dotted}.{key}", where) for key, value in new.items()}
    if isinstance(old, list) and len(old) != len(new) and dotted not in ANY_LENGTH:
        raise UserError(f"Give {dotted!r} of {where} {len(old)} items, as the recipe does: got {new!r}.")
    if isinstance(old, list) and old:
        return [_retyped(old[0], value, f"{dotted}[{index}]", where) for index, value in enumerate(new)]
    return copy.deepcopy(new)


def _named_type(value: Any, dotted: str) -> Any:
    return value.get("type") if isinstance(value, dict) else value if dotted.endswith(".type") else None


def _changes(before: Config, after: Config, keys: Iterable[str]) -> Config:
    """The keys whose values differ, without those below another that does: two ways to say one thing are one."""
    flat = {key: (_value(before, key), _value(after, key)) for key in keys if not key.startswith("inference.")}
    found = {key: new for key, (old, new) in flat.items() if old != new}
    return {key: new for key, new in found.items() if not any(key.startswith(f"{other}.") for other in found)}


def _value(config: Config, dotted: str) -> Any:
    """What lies at a dotted key; None below what is null."""
    return functools.reduce(lambda node, part: node and node[part], dotted.split("."), config)


def choose_inference(kept: Config, overrides: Config) -> Config:
    """A run's inference, changed by `--set`; UserError if an override is no option of inference, or of another type."""
    config = {"inference": {**packaged_config("methods", "mask2former")["inference"], **kept}}
    _apply(config, overrides, "--set")
    check_options(config, "--set")
    return _what_matters(config["inference"])


def _what_matters(inference: Config) -> Config:
    """Inference without the options that its mode does not read, so that they change no identity."""
    unread = set[str]()
    if inference["mode"] == "whole":
        unread |= {"min_class_score", "min_overlap"}
        inference = {**inference, "clip_frames": None, "stride": 1}
    if not inference["tta"]:
        unread.add("flip")
    if inference.get("recurrence"):  # as trained
        unread.add("recurrence")
    return {key: value for key, value in inference.items() if key not in unread}
