"""Reading checked text and writing files that are never seen half-written.

A file is written under a temporary name in its own folder, flushed to disk, then renamed (`write_atomically`)
or hard-linked (`publish_once`: the first writer wins), so a reader sees all of it or nothing.
"""

import contextlib
import errno
import gzip
import hashlib
import json
import math
import os
import re
import tempfile
import zlib
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Never

import yaml

from ifrvis.errors import UNPRINTABLE, UserError

MAX_YAML_CHARACTERS = 1 << 18  # a second of parsing; the largest packed file has a fiftieth


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
        UserError: If the disk is full, the folder cannot be written, or a folder has that name.
    """
    temporary = _write_temporary(path, data)
    try:
        temporary.replace(path)
    except OSError as error:  # a folder stands there
        temporary.unlink()
        raise _explained(error, path) from error


def publish_once(path: Path, data: bytes | str) -> bool:
    """Create `path` with `data` unless it exists; tells whether this call created it.

    Raises:
        UserError: If that cannot be done, as on FAT and some network mounts, which know no hard links.
    """
    temporary = _write_temporary(path, data)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        where = f"cannot link {path} ({error.strerror}), so that the first writer wins"
        raise UserError(
            f"Choose a folder on a file system with hard links instead of {path.parent}: {where}."
        ) from error
    finally:
        temporary.unlink()
    return True


def _write_temporary(path: Path, data: bytes | str) -> Path:
    try:
        with temporary_beside(path) as (stream, temporary):
            stream.write(data.encode() if isinstance(data, str) else data)
    except OSError as error:
        raise _explained(error, path) from error
    return temporary


@contextlib.contextmanager
def temporary_beside(path: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A new file in the folder of `path`: whole and on disk when the block ends, gone if it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream, Path(name)
            stream.flush()
            os.fsync(handle)
        Path(name).chmod(0o644)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def cache_folder() -> Path:
    """The user's cache; of one without a home or a name, as in some containers, in the folder of temporary files."""
    try:
        home = Path.home()
    except RuntimeError:
        home = Path(tempfile.gettempdir()) / f"ifrvis-{os.getuid()}"
        os.environ["HOME"] = str(home)  # libraries ask for it, too, and jobs inherit it
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")


def _explained(error: OSError, path: Path) -> UserError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"Free some disk space and start again: no room left to write {path} ({error.strerror}).")
    return UserError(f"Make {path.parent} writable or choose another folder: cannot write {path} ({error.strerror}).")


def read_text(path: Path, what: str, most: int = -1) -> str:
    """The UTF-8 text of a file of fewer than `most` characters; `what` names it in errors."""
    try:
        with path.open(encoding="utf-8") as stream:
            text = stream.read(most)
    except FileNotFoundError as error:
        raise UserError(f"Check the path: {what} {path} does not exist.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"Replace {path}: {what} cannot be read as UTF-8 text ({error}).") from error
    if len(text) == most:
        raise UserError(f"Shorten {path}: {what} has {most} characters or more.")
    return text


def read_json(path: Path, what: str = "the file") -> Any:
    """Parse a JSON file in which no object has a key twice; `what` names it in errors."""
    return parse_json(read_text(path, what), path, what)


def read_packed_json(path: Path, what: str, most: int) -> Any:
    """The same of a gzip file that unpacks to at most so many bytes."""
    try:
        with gzip.open(path) as stream:
            data = stream.read(most + 1)
    except FileNotFoundError as error:
        raise UserError(f"Check the path: {what} {path} does not exist.") from error
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise UserError(f"Replace {path}: {what} cannot be unpacked ({error}).") from error
    if len(data) > most:
        raise UserError(f"Replace {path}: {what} unpacks to more than {most} bytes.")
    return parse_json(data, path, what)


def parse_json(text: str | bytes, path: Path, what: str) -> Any:
    """Parse what is the content of a JSON file, or was unpacked from `path`."""
    try:
        return json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits is a ValueError too
        raise UserError(f"Replace {path}: {what} is not valid JSON ({error}).") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"an object has the key {next(key for key in keys if keys.count(key) > 1)!r} twice")
    return found


class _StrictLoader(yaml.composer.Composer, yaml.CSafeLoader):  # libyaml scans in a tenth of Python's time
    """YAML's safe loader for what JSON can say: no key twice, no tags, aliases, dates, infinities or control codes."""

    def __init__(self, stream: str) -> None:
        yaml.CSafeLoader.__init__(self, stream)
        yaml.composer.Composer.__init__(self)

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):  # a few lines of them can stand for more than a memory holds
            mark: Any = event.start_mark
            raise yaml.composer.ComposerError(None, None, "write the value out instead of an alias", mark)
        return super().compose_node(parent, index)

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> str:
        text = str(super().construct_scalar(node))
        if UNPRINTABLE.search(text):
            raise self._refused(node, "remove the control character from the text")
        return text

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        text = self.construct_scalar(node)
        if not re.fullmatch(r"[-+]?(0|[1-9][0-9]{0,17})", text):  # not 010, which is 8, or 1:30, which is 90
            raise self._refused(node, "write the whole number in decimal digits, at most 18")
        return int(text)

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        text = self.construct_scalar(node)
        if not re.fullmatch(r"[-+0-9.eE]+", text) or not math.isfinite(float(text)):
            raise self._refused(node, "write a finite number in decimal digits")
        return float(text)

    def construct_undefined(self, node: yaml.Node) -> Never:
        raise self._refused(node, "quote the value: only text, numbers, true, false, null, lists and keys are read")

    @staticmethod
    def _refused(node: yaml.Node, cure: str) -> yaml.constructor.ConstructorError:
        return yaml.constructor.ConstructorError(None, None, cure, node.start_mark)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise self._refused(key_node, f"quote the key {key!r}: keys are text")
            if key in seen:
                raise self._refused(key_node, f"remove one of the two keys {key!r}")
            seen.add(key)
        return super().construct_mapping(node, deep)


_StrictLoader.yaml_constructors = {
    f"tag:yaml.org,2002:{name}": getattr(_StrictLoader, f"construct_yaml_{name}")
    for name in ("null", "bool", "int", "float", "str", "seq", "map")
} | {None: _StrictLoader.construct_undefined}


def read_yaml(path: Path, what: str = "the file") -> Any:
    """Parse a YAML file with plain types only and no key twice; `what` names it in errors."""
    text = read_text(path, what, MAX_YAML_CHARACTERS)
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506  a SafeLoader by inheritance
    except (yaml.YAMLError, LookupError, RecursionError, ValueError) as error:  # `!!bool x` is a LookupError
        raise UserError(f"Correct {path}: {what} is not valid YAML: {' '.join(str(error).split())}") from error
