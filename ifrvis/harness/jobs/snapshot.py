"""The code as it is at submission: jobs run from this copy, so that editing while they wait is safe.

results/snapshots/<hash>/
  ifrvis/, experiments/, slurm/      as in a checkout; of a wheel, `ifrvis` alone, which holds the others
  code.json                          the commit that it was copied from
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import ifrvis
from ifrvis.errors import UserError
from ifrvis.harness.store.paths import Store
from ifrvis.harness.store.provenance import COPIED_FROM, provenance
from ifrvis.packed import packed

FOLDERS = ("ifrvis", "experiments", "slurm")


def take_snapshot(store: Store) -> Path:
    """Copy the code, once for each content; the copy's absolute path.

    Raises:
        UserError: If it cannot be written.
    """
    root = Path(ifrvis.__file__).resolve().parents[1]
    files = sorted(_files(root))
    hasher = hashlib.sha256()
    for path in files:
        content = (root / path).read_bytes()
        hasher.update(f"{path} {len(content)}\n".encode() + content)
    target = store.snapshot(hasher.hexdigest())
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        for path in files:
            (temporary / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / path, temporary / path)
        (temporary / COPIED_FROM).write_text(provenance().code.model_dump_json())
        temporary.chmod(0o755)
    except OSError as error:
        raise UserError(
            f"Make {target.parent} writable: the code cannot be copied there ({error.strerror})."
        ) from error
    try:
        temporary.rename(target)
    except OSError:  # another launcher was first
        shutil.rmtree(temporary)
    return target


def in_snapshot(path: Path, snapshot: Path) -> Path:
    """Where a path lies in the copy; a path that is not of the code is left alone."""
    package = Path(ifrvis.__file__).resolve().parents[1]
    ours = any(path.is_relative_to(package / each) for each in FOLDERS)
    return snapshot / path.relative_to(package) if ours else path


def _files(root: Path) -> Iterator[Path]:
    """The files of the code, relative to the folder that holds the package."""
    beside = packed("experiments").parent == root
    for folder in FOLDERS if beside else FOLDERS[:1]:
        for path, folders, names in os.walk(root / folder):
            folders[:] = [each for each in folders if each != "__pycache__"]
            yield from ((Path(path) / name).relative_to(root) for name in names)
