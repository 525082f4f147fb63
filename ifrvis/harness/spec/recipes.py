"""Recipes: the merge of three packaged MMEngine configs, a method's, a backbone's and a schedule's.

Configs are code: a table names packaged ones and no others.
"""

import ast
import copy
import functools
from pathlib import Path
from typing import Any

from ifrvis.datasets.catalog import load_config
from ifrvis.errors import UserError, nearest
from ifrvis.files import read_text
from ifrvis.harness.spec.methods import packages

Config = dict[str, Any]
KINDS = ("methods", "backbones", "schedules")


def names_of(kind: str) -> list[str]:
    """The packaged configs of a kind; UserError if two packages bring one of the same name."""
    names = sorted(name for package in packages() for name in package.names_of(kind))
    if twice := next((each for each in names if names.count(each) > 1), None):
        raise UserError(f"Rename one of the two {kind} {twice!r}, or uninstall its package: two packages bring it.")
    return names


@functools.cache
def recipe(method: str, backbone: str, schedule: str) -> Config:
    """A recipe as plain values, to be copied before changes; UserError without such a method, backbone or schedule."""
    for kind, name in zip(KINDS, (method, backbone, schedule)):
        if name not in (known := names_of(kind)):
            cure = f"Choose one of the {kind} {', '.join(known)}, or install the package that brings it"
            raise UserError(f"{cure}: there is no {name!r}{nearest(name, known)}.")
    merged: Config = {}
    for _, values in recipe_layers(method, backbone, schedule):
        _merge(merged, values)
    merged.pop("changes", None)
    return merged


def recipe_layers(method: str, backbone: str, schedule: str) -> list[tuple[str, Config]]:
    """What a recipe is merged of, in order, by the files that say it."""
    named = [*zip(KINDS, (method, backbone, schedule))]
    files = [(f"{kind}/{path.name}", own) for kind, name in named for path, own in _files(_path_of(kind, name))]
    changes = packaged_config("methods", method).get("changes", {})  # to some backbones' and schedules' configs
    return files + [(f"methods/{method}.py for {name}", changes.get(kind, {}).get(name, {})) for kind, name in named]


@functools.cache
def trained_on(dataset: str) -> tuple[str, str]:
    """A data set's name, and the schedule of the recipes that are trained on it; UserError if its YAML names none."""
    config, path = load_config(dataset)
    if config.schedule not in (known := names_of("schedules")):
        near = nearest(config.schedule or "", known)
        text = f"Set 'schedule' in {path} to one of {', '.join(known)}: rows train on it, and it is {config.schedule!r}"
        raise UserError(f"{text}{near}.")
    return config.name, config.schedule


@functools.cache
def packaged_config(kind: str, name: str) -> Config:
    """One packaged config as plain values."""
    merged: Config = {}
    for _, values in _files(_path_of(kind, name)):
        _merge(merged, values)
    return merged


def _path_of(kind: str, name: str) -> Path:
    return next(each.configs / kind / f"{name}.py" for each in packages() if name in each.names_of(kind))


@functools.cache
def _files(path: Path, above: tuple[Path, ...] = ()) -> list[tuple[Path, Config]]:
    """What a config and those of its `_base_`, which come first, set: as the host reads it, but nothing is imported.
    Those `above` build on it.
    """
    text, above = read_text(path, "the config"), (*above, path.resolve())
    try:
        lines: Any = [each for each in ast.parse(text).body if not isinstance(each, ast.Expr)]
        values = {line.targets[0].id: ast.literal_eval(line.value) for line in lines}
    except SyntaxError as error:
        raise UserError(f"Correct line {error.lineno} of {path}: {error.msg}.") from error
    except (AttributeError, ValueError) as error:
        raise UserError(f"Write {path} in literals alone: {error}.") from error
    bases = values.pop("_base_", [])
    found = [_base(base, path) for base in ([bases] if isinstance(bases, str) else bases)]
    if turned := next((base for base in found if base.resolve() in above), None):
        raise UserError(f"Correct '_base_' of {path}: {turned} builds on it, or is it.")
    return [*(each for base in found for each in _files(base, above)), (path, values)]


def _base(base: str, path: Path) -> Path:
    """The file that `_base_` names: beside the config or, as in `ifrvis::methods/ours.py`, among those of a package."""
    package, _, inner = base.rpartition("::")
    found = {each.name: each.configs for each in packages()}.get(package, path.parent) / inner
    if not found.is_file():
        raise UserError(f"Correct '_base_' of {path}: {base!r} is no config here.")
    return found


def _merge(into: Config, layer: Config) -> None:
    for key, value in layer.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict) and not value.get("_delete_"):
            _merge(into[key], value)
        else:
            into[key] = copy.deepcopy(value)
            if isinstance(value, dict):
                into[key].pop("_delete_", None)
