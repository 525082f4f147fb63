"""Recipes: the merge of three packaged MMEngine configs, a method's, a backbone's and a schedule's.

Configs are code: a table names packaged ones and no others.
"""

import ast
import copy
import functools
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from ifrvis.datasets.catalog import load_config
from ifrvis.errors import UserError

Config = dict[str, Any]
KINDS = ("methods", "backbones", "schedules")


def config_folders() -> list[Path]:
    """Where configs lie, in a folder of each kind."""
    return [Path(str(files("ifrvis"))) / "configs"]


def names_of(kind: str) -> list[str]:
    """The packaged configs of a kind."""
    return sorted(path.stem for folder in config_folders() for path in (folder / kind).glob("*.py"))


class Trained(NamedTuple):
    """What a data set's YAML says of the recipes that are trained on it."""

    name: str
    schedule: str


@functools.cache
def recipe(method: str, backbone: str, schedule: str) -> Config | None:
    """The recipe as plain values, to be copied before it is changed; None if the method has none yet.

    Raises:
        UserError: If there is no such backbone or schedule.
    """
    for kind, name in (("backbones", backbone), ("schedules", schedule)):
        if name not in names_of(kind):
            raise UserError(f"Choose one of the {kind} {', '.join(names_of(kind))}: there is no {name!r}.")
    if method not in names_of("methods"):
        return None
    merged: Config = {}
    for kind, name in zip(KINDS, (method, backbone, schedule)):
        _merge(merged, packaged_config(kind, name))
    return merged


@functools.cache
def trained_on(dataset: str) -> Trained:
    """What a recipe has to know of the data set that it is trained on.

    Raises:
        UserError: If its YAML names none.
    """
    config, path = load_config(dataset)
    if config.schedule not in names_of("schedules"):
        known = ", ".join(names_of("schedules"))
        raise UserError(f"Set 'schedule' in {path} to one of {known}: rows train on it, and it is {config.schedule!r}.")
    return Trained(config.name, config.schedule)


@functools.cache
def packaged_config(kind: str, name: str) -> Config:
    """One packaged config as plain values."""
    return _literals(next(path for folder in config_folders() if (path := folder / kind / f"{name}.py").is_file()))


def _literals(path: Path) -> Config:
    """What a config sets, on top of its `_base_`: as the host reads it, but no code runs, and nothing is imported."""
    merged: Config = {}
    lines: Any = [each for each in ast.parse(path.read_text(encoding="utf-8")).body if not isinstance(each, ast.Expr)]
    try:
        values = {line.targets[0].id: ast.literal_eval(line.value) for line in lines}
    except (AttributeError, ValueError) as error:
        raise UserError(f"Write {path} in literals alone: {error}.") from error
    for base in values.pop("_base_", []):
        _merge(merged, _literals(path.parent / base))
    _merge(merged, values)
    return merged


def _merge(into: Config, layer: Config) -> None:
    for key, value in layer.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict) and not value.get("_delete_"):
            _merge(into[key], value)
        else:
            into[key] = copy.deepcopy(value)
            if isinstance(value, dict):
                into[key].pop("_delete_", None)
