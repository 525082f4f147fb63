"""Recipes: the merge of three packaged MMEngine configs, a method's, a backbone's and a schedule's.

Configs are code: a table names packaged ones and no others.
"""

import copy
import functools
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from ifrvis.errors import UserError

Config = dict[str, Any]
KINDS = ("methods", "backbones", "schedules")


def config_folders() -> list[Path]:
    """Where configs lie, in a folder of each kind."""
    return [Path(str(files("ifrvis"))) / "configs"]


def names_of(kind: str) -> list[str]:
    """The packaged configs of a kind."""
    return sorted(path.stem for folder in config_folders() for path in (folder / kind).glob("*.py"))


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
def packaged_config(kind: str, name: str) -> Config:
    """One packaged config as plain values."""
    from mmengine.config import Config as HostConfig  # a quarter of a second, without torch

    path = next(path for folder in config_folders() if (path := folder / kind / f"{name}.py").is_file())
    plain: Config = json.loads(json.dumps(HostConfig.fromfile(path).to_dict()))
    return plain


def _merge(into: Config, layer: Config) -> None:
    for key, value in layer.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict) and not value.get("_delete_"):
            _merge(into[key], value)
        else:
            into[key] = copy.deepcopy(value)
            if isinstance(value, dict):
                into[key].pop("_delete_", None)
