"""The code as it is at submission: jobs run from this copy, so that editing while they wait is safe.

results/snapshots/<hash>/
  ifrvis/, experiments/, slurm/      as in a checkout; of a wheel, `ifrvis` alone, which holds the others
  her_vis/                           a package from outside that brings methods (`spec.methods`)
  methods.json, code.json            the names of those; the commit that it was copied from
"""

import contextlib
import json
import shutil
import tempfile
from pathlib import Path

import ifrvis
from ifrvis.errors import UserError
from ifrvis.harness.spec.methods import COPIED, FOLDERS, code_in, digest_of, packages
from ifrvis.harness.store.paths import Store
from ifrvis.harness.store.provenance import COPIED_FROM, provenance
from ifrvis.packed import packed


def _code() -> dict[Path, Path]:
    """The files of the code that runs, packages of methods from outside included, by their names in a copy."""
    root = Path(ifrvis.__file__).resolve().parents[1]
    ours = FOLDERS if packed("experiments").parent == root else ("ifrvis",)
    folders = (*(root / each for each in ours), *(each.folder for each in packages()[1:]))
    return {name: path for folder in folders for name, path in code_in(folder).items()}


def check_snapshot(snapshot: Path) -> None:
    """Pass only if this process runs the code of a copy, as it was made; UserError if it runs another, or the copy was
    changed: jobs would compute what nobody submitted.
    """
    here = Path(ifrvis.__file__).resolve().parents[1]
    if here != snapshot.resolve() or snapshot.name != Store(snapshot.parents[1]).snapshot(digest_of(_code())).name:
        cure = f"Start the same command again, which copies the code anew: {snapshot} is gone or was changed"
        raise UserError(f"{cure}; this job has found the code of {here}.")


def take_snapshot(store: Store) -> Path:
    """Copy the code, once for each content; the copy's absolute path. UserError if it cannot be written."""
    files = _code()
    target = store.snapshot(digest_of(files))
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as scratch:
            copy = Path(scratch, target.name)
            for path, source in files.items():
                (copy / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, copy / path)
            (copy / COPIED).write_text(json.dumps({each.name: each.version for each in packages()[1:]}))
            (copy / COPIED_FROM).write_text(provenance().code.model_dump_json())
            with contextlib.suppress(OSError):  # another launcher was first
                copy.rename(target)
    except OSError as error:
        raise UserError(f"Make {target.parent} writable: code cannot be copied there ({error.strerror}).") from error
    return target


def in_snapshot(path: Path, snapshot: Path) -> Path:
    """Where a path lies in the copy; a path that is not of the code is left alone."""
    package = Path(ifrvis.__file__).resolve().parents[1]
    ours = any(path.is_relative_to(package / each) for each in FOLDERS)
    return snapshot / path.relative_to(package) if ours else path
