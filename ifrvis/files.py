"""Reading checked text and writing files that are never seen half-written.

A file is written under a temporary name in its own folder, flushed to disk, then renamed (`write_atomically`)
or hard-linked (`publish_once`: the first writer wins), so a reader sees all of it or nothing.
"""

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from ifrvis.errors import UserError

__all__ = [
    "canonical_json",
    "publish_once",
    "read_json",
    "read_yaml",
    "sha256_bytes",
    "sha256_file",
    "write_atomically",
]


def canonical_json(value: Any) -> bytes:
    """The one byte string of a JSON value: sorted keys, no white space, ASCII, no NaN or infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of `data` as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content as 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_atomically(path: Path, data: bytes | str) -> None:
    """Replace `path` by `data` in one step.

    Raises:
        UserError: If the disk is full or the folder cannot be written.
    """
    temporary = _write_temporary(path, data)
    temporary.replace(path)


def publish_once(path: Path, data: bytes | str) -> bool:
    """Create `path` with `data` unless it exists; tells whether this call created it."""
    temporary = _write_temporary(path, data)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    return True


def _write_temporary(path: Path, data: bytes | str) -> Path:
    payload = data.encode() if isinstance(data, str) else data
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        temporary = Path(name)
        with os.fdopen(handle, "wb") as stream:
            stream.write(payload)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise _explained(error, path) from error
    return temporary


def _explained(error: OSError, path: Path) -> UserError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"Free some disk space and start again: no room left to write {path} ({error.strerror}).")
    return UserError(f"Make {path.parent} writable or choose another folder: cannot write {path} ({error.strerror}).")


def _read_text(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(f"Check the path: {what} {path} does not exist.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"Replace {path}: {what} cannot be read as UTF-8 text ({error}).") from error


def read_json(path: Path, what: str = "the file") -> Any:
    """Parse a JSON file; `what` names it in errors."""
    text = _read_text(path, what)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits is a ValueError too
        raise UserError(f"Replace {path}: {what} is not valid JSON ({error}).") from error


class _StrictLoader(yaml.SafeLoader):
    """YAML's safe loader that refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"quote the key {key!r}: keys are text", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"remove one of the two keys {key!r}", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path, what: str = "the file") -> Any:
    """Parse a YAML file with plain types only and no key twice; `what` names it in errors."""
    try:
        return yaml.load(_read_text(path, what), Loader=_StrictLoader)  # noqa: S506  a SafeLoader by inheritance
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"Correct {path}: {what} is not valid YAML: {' '.join(str(error).split())}") from error
