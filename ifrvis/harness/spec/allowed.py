"""What a specification may say at all: the keys and the types that packaged recipes name, each in its place.

Building a model turns every `type` into a call, imports what has a dot in its name and loads what `init_cfg` points to:
a table, a profile, `--set` or the folder of a run could run anything by it. So nothing is built before it went through
`check_types`. What may be said grows by the recipes of installed packages (`methods`), and by nothing else.
"""

import functools
import importlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from ifrvis.errors import UserError, nearest
from ifrvis.harness.spec.methods import Package, packages
from ifrvis.harness.spec.recipes import KINDS, Config, names_of, packaged_config

K = TypeVar("K")
# Norms of thin backbones and of several GPUs, which no recipe of full size has.
NORM, NORM_KEYS, NORM_TYPES = "model.backbone.norm_cfg", {"num_groups", "eps", "momentum"}, {"GN", "SyncBN"}


def check_types(config: Config, where: str) -> None:
    """Refuse every key and every type that no packaged recipe has at its place, and a norm without a type, in `model`,
    and in `train` and `inference` where they are known; UserError, with `where` they come from, if there is one.
    """
    keys, types = _known()
    for path, node in mappings(config, ""):
        if path == NORM and "type" not in node:
            raise UserError(f"Add 'type' to {path} of {where}: one of {', '.join(sorted(types[path]))}.")
        for key, value in node.items():
            if key not in keys.get(path, ()):
                near = nearest(key, keys.get(path, ()))
                raise UserError(f"Remove {key!r} from {path or 'the top'} of {where}: no recipe has it there{near}.")
            if key == "type" and not (isinstance(value, str) and value in types[path]):
                named = ", ".join(sorted(types[path]))
                raise UserError(f"Set {path}.type of {where} to one of {named}, which recipes name: it is {value!r}.")


def check_training(spec: Config, where: str) -> None:
    """`check_types` of the specification of a training, as `spec.json` holds it."""
    other = ("model", "data", "seed")
    try:
        check_types({"model": spec["model"], "train": {key: spec[key] for key in spec if key not in other}}, where)
    except UserError as error:  # what nobody has changed was made with a package that is not here
        said = str(error)
        raise UserError(f"Install the package of methods that made it, or {said[0].lower()}{said[1:]}") from error


def brought_by(model: Config) -> list[Package]:
    """The packages from outside whose recipes alone name a type of a model."""
    types = {node["type"] for _, node in mappings(model, "") if "type" in node}
    own, *others = packages()
    return [each for each in others if types & (_types_of(each) - _types_of(own))]


def register_types(model: Config) -> None:
    """Import what registers a model's types, before it is built; UserError if it cannot be imported."""
    for package in (packages()[0], *brought_by(model)):
        try:
            importlib.import_module(package.registers)
        except Exception as error:
            text = f"Repair {package.name}, or install it again: this model is its, and importing it fails"
            raise UserError(f"{text} ({type(error).__name__}: {error}).") from error


@functools.cache
def _types_of(package: Package) -> set[str]:
    found = [packaged_config(kind, name) for kind in KINDS for name in package.names_of(kind)]
    return {node["type"] for config in found for _, node in mappings(config, "") if "type" in node}


@functools.cache
def _known() -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """By dotted path: the keys of a mapping, and the types that recipes give it."""
    keys: dict[str, set[str]] = {NORM: set(NORM_KEYS)}
    types: dict[str, set[str]] = {NORM: set(NORM_TYPES)}
    for config in (packaged_config(kind, name) for kind in KINDS for name in names_of(kind)):
        for path, node in mappings(config, ""):
            keys.setdefault(path, set()).update(key for key in node if not key.startswith("_"))
            types.setdefault(path, set()).update({node["type"]} if "type" in node else ())
    return keys, types


def known_keys() -> list[str]:
    """The dotted keys of all packaged recipes."""
    return sorted(f"{path}.{key}" for path, keys in _known()[0].items() if path and "[]" not in path for key in keys)


def differing(one: Mapping[K, Any], other: Mapping[K, Any]) -> list[K]:
    """The keys, of either, whose values are not the same JSON; what one of them lacks is null there."""
    text = functools.partial(json.dumps, sort_keys=True)
    return [key for key in {**one, **other} if text(one.get(key)) != text(other.get(key))]


def mappings(value: Any, path: str) -> Iterator[tuple[str, Config]]:
    """Every mapping within a value, in lists too, with its dotted path."""
    if isinstance(value, dict):
        yield path, value
        for key, inner in value.items():
            yield from mappings(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from mappings(inner, f"{path}[]")
