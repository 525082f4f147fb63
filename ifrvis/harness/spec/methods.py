"""Packages that bring methods: this one, and those installed with an entry point of the group `ifrvis.methods`.

    [project.entry-points."ifrvis.methods"]
    her-vis = "her_vis"                   importing it registers its models with MMDetection

    her_vis/methods/<name>.py             recipes, as in ifrvis/configs; backbones/ and schedules/ too
    her_vis/profiles/<profile>.yaml       what profiles of that name set for its methods (`profiles.Additions`)

Nothing of it is imported before one of its models is built. Beside a copy of the code (`jobs.snapshot`) lie copies of
such packages, and a file that names them: there they alone count, whatever is installed by then.
"""

import functools
import hashlib
import importlib.util
import os
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple

import ifrvis
from ifrvis.errors import UserError
from ifrvis.files import read_bytes, read_json, seen_in

GROUP = "ifrvis.methods"
COPIED = "methods.json"  # beside a copy of the code: package -> version
FOLDERS = ("experiments", "ifrvis", "slurm")  # of the code of this program


class Package(NamedTuple):
    """A package that brings methods."""

    name: str  # what is imported
    registers: str  # the module whose import registers its models
    folder: Path  # where its code lies
    configs: Path  # where its configs lie, in a folder of each kind
    version: str | None  # of what was installed; None where that says none

    def names_of(self, kind: str) -> set[str]:
        """Its configs of a kind."""
        return {path.stem for path in seen_in(self.configs / kind, ".py")}

    def digest(self) -> str:
        """SHA-256 of its files, names and contents."""
        return digest_of(code_in(self.folder))


def code_in(folder: Path) -> dict[Path, Path]:
    """The files of a folder of code, in order: where they lie, by the names that they have beside it."""
    found = []
    for path, folders, names in os.walk(folder):
        folders[:] = [each for each in folders if each != "__pycache__"]
        found += [Path(path) / name for name in names]
    return {path.relative_to(folder.parent): path for path in sorted(found)}


def digest_of(files: Mapping[Path, Path]) -> str:
    """SHA-256 of files, their names and contents."""
    hasher = hashlib.sha256()
    for name, path in files.items():
        content = read_bytes(path, "a file of the package")
        hasher.update(f"{name} {len(content)}\n".encode() + content)
    return hasher.hexdigest()


@functools.cache
def packages() -> tuple[Package, ...]:
    """This package, then those from outside by name; UserError if an entry point names what is no package here."""
    own = Path(ifrvis.__file__).resolve().parent
    return Package("ifrvis", "ifrvis.models", own, own / "configs", ifrvis.__version__), *_outside(own.parent)


def _outside(root: Path) -> list[Package]:
    if (root / COPIED).is_file():
        named = read_json(root / COPIED, "the packages beside a copy of the code")
        return [Package(name, name, root / name, root / name, version) for name, version in named.items()]
    found = {}
    for each in entry_points(group=GROUP):
        spec = importlib.util.find_spec(each.value) if each.value.isidentifier() else None  # imports nothing
        if spec is None or spec.origin is None or not spec.submodule_search_locations or each.value in FOLDERS:
            raise UserError(
                f"Let the entry point {each.name!r} of {GROUP} name a package that lies on Python's path, or uninstall "
                f"it: {each.value!r} is none, or takes a name of this program."
            )
        folder = Path(spec.origin).resolve().parent
        found[each.value] = Package(each.value, each.value, folder, folder, each.dist.version if each.dist else None)
    return [found[name] for name in sorted(found)]
