"""Where the YAML of `experiments/` and `slurm/` lies: beside the package in a checkout, inside it in a wheel."""

import os
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from ifrvis.errors import UserError, nearest
from ifrvis.files import seen_in

SET_YAML = "dataset.yaml"  # what `ifrvis data import` writes into the folder of a set


def packed(*parts: str) -> Path:
    """The path of one packed file or folder, as in `packed("experiments", "tables")`."""
    package = Path(str(files("ifrvis")))
    inside = package / "_packed"
    return (inside if inside.is_dir() else package.parent).joinpath(*parts)


def packed_names(*parts: str) -> list[str]:
    """The names, without ending, of the YAML files in one packed folder."""
    return sorted(path.stem for path in seen_in(packed(*parts), ".yaml"))


def packed_yaml(kind: str, name: str, *, within: str = "experiments", beside: Iterable[str] = ()) -> Path:
    """The path of `<within>/<kind>/<name>.yaml`, or `name` itself where it is a YAML file or the folder of a set;
    UserError without one, with all names and those `beside`.
    """
    if name.endswith((".yaml", ".yml")) and os.path.lexists(name):  # what is no regular file is said when it is read
        return Path(name)
    if kind == "datasets" and os.path.isfile(Path(name, SET_YAML)):  # noqa: PTH113  never raises
        return Path(name, SET_YAML)
    if name.endswith((".yaml", ".yml")):
        where = "" if os.path.isabs(name) else " in this folder"  # noqa: PTH117  never raises
        raise UserError(f"Correct the path of the {kind[:-1]}: there is no file {name}{where}.")
    if name not in (names := packed_names(within, kind)):
        names += sorted(beside)
        came = f"no {kind[:-1]} {name!r}{nearest(name, names)}"
        raise UserError(f"Choose one of {', '.join(names)} or give the path of a YAML file: {came}.")
    return packed(within, kind, f"{name}.yaml")
