"""The one place that opens files to read and to write, and the most that may be read of each kind.

What is read is a regular file of a size that is known before memory is taken; devices, FIFOs, folders and links to
themselves are refused, whatever they stand for. A file is written under a temporary name in its own folder, flushed to
disk, then renamed (`write_atomically`) or hard-linked (`publish_once`: the first writer wins), so a reader sees all of
it or nothing. Of a link the target is written; a device or a FIFO is never replaced.
"""

import contextlib
import errno
import gzip
import hashlib
import io
import json
import math
import os
import re
import resource
import stat
import tempfile
import zlib
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Never

import yaml

from ifrvis.errors import UNPRINTABLE, DataMissingError, UserError

MAX_YAML_BYTES = 1 << 18  # a second of parsing; the largest packed file has a fiftieth
MAX_JSON_BYTES = 2 << 30  # COCO's largest file of annotations has a fourth
MAX_WEIGHTS_BYTES = 8 << 30  # Swin-L with the state of its optimizer has a third
MAX_SCORES_BYTES = 1 << 16  # of a server's output
MAX_LOG_BYTES = 1 << 24  # of a log's end
MAX_OTHER_BYTES = 1 << 28
# What is packed unpacks to a few times its size, and takes a few times that as Python's objects: run-length text
# packs to a third or a tenth, and what is small may be anything.
MAX_RATIO, FREE_BYTES = 64, 1 << 24
MAX_MEMORY_RATIO, FREE_MEMORY_BYTES = 128, 1 << 30
MAX_COPIES = 8  # of a file of weights, while it is read; what it holds has half of it
_OBJECT_BYTES = {b"{": 240, b"[": 72, b",": 40}  # that a value takes, by what comes before it
_STATM = Path("/proc/self/statm")  # what this process takes, in pages, where the system says so
_POINTER = b"version https://git-lfs.github.com/spec/"  # what Git LFS leaves in the place of a file
_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFLNK: "a link to itself", stat.S_IFSOCK: "a socket"}

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def canonical_json(value: Any) -> bytes:
    """The one byte string of a JSON value: sorted keys, no white space, ASCII, no NaN or infinity."""
    return _CANONICAL.encode(value).encode()


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of `data` as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def open_file(path: Path, what: str = "the file", most: int | None = None) -> io.BufferedReader:
    """Open a regular file of at most `most` bytes to read; `what` names it in errors. DataMissingError if there is
    none; UserError if it is something else (a device, a FIFO, a folder), larger, a pointer of Git LFS, or cannot be
    read.
    """
    stream = _opened(path, what, most)
    if stream.peek(len(_POINTER)).startswith(_POINTER):
        stream.close()
        raise UserError(
            f"Run `git lfs pull` in the folder of {path}, or download that file by itself: what is there is a pointer "
            f"of Git LFS, which stands for {what}."
        )
    return stream


def _opened(path: Path, what: str = "the file", most: int | None = None) -> io.BufferedReader:
    try:  # without waiting for somebody who writes to a FIFO
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise DataMissingError(f"Check the path: {what} {path} does not exist.") from error
    except (OSError, ValueError) as error:  # a path that no system takes is a ValueError
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"Replace {path}: {what} cannot be read ({reason}).") from error
    state, wrong = os.fstat(handle), ""
    if not stat.S_ISREG(state.st_mode):
        wrong = f"Give a regular file for {what}: {path} is {_kind(state.st_mode)}."
    elif most is not None and state.st_size > most:
        wrong = f"Give a smaller file than {path}: {what} has {state.st_size} bytes, at most {most} are read."
    if wrong:
        os.close(handle)
        raise UserError(wrong)
    return os.fdopen(handle, "rb")


def _kind(mode: int) -> str:
    return _KINDS.get(stat.S_IFMT(mode), "a device")


def read_bytes(path: Path, what: str = "the file", most: int = MAX_OTHER_BYTES) -> bytes:
    """The content of a regular file; errors are those of `open_file`."""
    with open_file(path, what, most) as stream:
        # The memory of its size is taken, not that of `most`; files of /proc, which are short, say that they have none.
        return stream.read(max(os.fstat(stream.fileno()).st_size, 1 << 16))


def read_end(path: Path, what: str, offset: int = 0) -> tuple[str, int]:
    """The text of a log from `offset` bytes on, its end alone where that is long, and where it ends in bytes."""
    with open_file(path, what) as stream:
        end = stream.seek(0, io.SEEK_END)
        stream.seek(max(offset, end - MAX_LOG_BYTES))
        return stream.read(MAX_LOG_BYTES).decode(errors="replace"), stream.tell()


def seen_in(folder: Path, ending: str = "") -> list[Path]:
    """What of a folder ends so, in order; nothing without one, and nothing hidden: macOS leaves a `._x.json` beside
    each `x.json` that it copies. OSError if the folder cannot be listed, of which `glob` finds nothing.
    """
    there = folder.iterdir() if folder.is_dir() else ()
    found = (path for path in there if path.name[0] != "." and path.name.endswith(ending))
    return sorted(found, key=str)  # paths take long to compare


def sha256_file(path: Path) -> str:
    """SHA-256 of a regular file's content, be it a pointer, as 64 hex digits; errors are those of `open_file`."""
    with _opened(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def written(path: Path) -> Path:
    """The file that is written where `path` is given, a link's target; UserError if no file can be written there."""
    target = Path(os.path.realpath(path)) if os.path.islink(path) else path  # noqa: PTH114  never raises
    try:
        mode = os.lstat(target).st_mode
    except (OSError, ValueError):
        return target
    if not stat.S_ISREG(mode):
        raise UserError(f"Choose another file than {path} to write: it is {_kind(mode)}.")
    return target


def write_atomically(path: Path, data: bytes | str) -> None:
    """Replace `path`, or the target of such a link, by `data` in one step; UserError if the disk is full, the folder
    cannot be written, or what stands there is no regular file.
    """
    path = written(path)
    temporary = _write_temporary(path, data)
    try:
        temporary.replace(path)
    except OSError as error:
        temporary.unlink()
        raise _explained(error, path) from error


def publish_once(path: Path, data: bytes | str) -> bool:
    """Create `path`, or the target of such a link, with `data` unless it exists; tells whether this call did. UserError
    if that cannot be done, as on FAT and some network mounts, which know no hard links.
    """
    path = written(path)
    temporary = _write_temporary(path, data)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        cure = f"Choose a folder on a file system with hard links instead of {path.parent}"
        why = f"cannot link {path} ({error.strerror}), so that the first writer wins"
        raise UserError(f"{cure}: {why}.") from error
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
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")
    try:
        with temporary.open("xb") as stream:  # of the mode that the user's umask leaves
            yield stream, temporary
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
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


def read_text(path: Path, what: str, most: int = MAX_JSON_BYTES) -> str:
    """The UTF-8 text of a regular file of at most `most` bytes; `what` names it in errors."""
    try:
        return read_bytes(path, what, most).decode("utf-8-sig")  # Windows' editors mark text so
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(path, what, error) from error


def unreadable(path: Path | str, what: str, error: Exception) -> UserError:
    """What to do about a file that is no UTF-8 text, or no JSON."""
    if not isinstance(error, OSError | UnicodeDecodeError):
        return UserError(f"Replace {path}: {what} is not valid JSON ({error}).")
    is_packed = isinstance(error, UnicodeDecodeError) and error.object[:2] in (b"PK", b"\x1f\x8b")
    cure = "Unpack" if is_packed else "Replace"
    return UserError(f"{cure} {path}: {what} cannot be read as UTF-8 text ({error}).")


def read_json(path: Path, what: str = "the file") -> Any:
    """Parse a JSON file in which no object has a key twice; `what` names it in errors."""
    return parse_json(read_text(path, what), path, what)


def read_packed_json(path: Path, what: str) -> Any:
    """The same of a gzip file."""
    return parse_json(b"".join(_unpacked_gzip(path, what)), path, what)


def unpack(path: Path, what: str, target: Path) -> None:
    """Write what a gzip file of JSON holds to another file, with the errors of `read_packed_json`."""
    with target.open("wb") as written_to:
        written_to.writelines(_unpacked_gzip(path, what))


def _unpacked_gzip(path: Path, what: str) -> Iterator[bytes]:
    with open_file(path, what, MAX_JSON_BYTES) as stream:
        try:
            with gzip.open(stream) as unpacking:
                yield from unpacked(unpacking.read, os.fstat(stream.fileno()).st_size, path, what)
        except UserError:
            raise
        except (OSError, EOFError, zlib.error, ValueError) as error:
            raise UserError(f"Replace {path}: {what} cannot be unpacked ({error}).") from error


def unpacked(read: Callable[[int], bytes], size: int, path: Path, what: str) -> Iterator[bytes]:
    """The JSON that was packed in `size` bytes of `path`, as `read` gives it; UserError, before the memory is taken, if
    it is too long, or would take too much of it once it is parsed.
    """
    length = taken = 0
    most, most_taken = min(MAX_JSON_BYTES, FREE_BYTES + MAX_RATIO * size), FREE_MEMORY_BYTES + MAX_MEMORY_RATIO * size
    while data := read(1 << 20):
        length += len(data)
        taken += sum(data.count(each) * of for each, of in _OBJECT_BYTES.items())
        if length > most:
            why = f"unpacks from {size} to more than {most} bytes, the most that is read"
            raise UserError(f"Replace {path}: {what} {why}.")
        if taken > most_taken:
            why = f"holds what takes {taken} bytes of memory, at most {most_taken} are given to it"
            raise UserError(f"Replace {path}: {what} of {size} bytes {why}.")
        yield data


@contextlib.contextmanager
def bounded_memory(stream: BinaryIO) -> Iterator[None]:
    """While the block lasts, what reads an open file runs out of memory long before the machine does (on Linux)."""
    if not _STATM.is_file():
        yield
        return
    limits = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(read_bytes(_STATM).split()[0]) * resource.getpagesize()
    wanted = taken + FREE_MEMORY_BYTES + MAX_COPIES * os.fstat(stream.fileno()).st_size
    fewest = min([wanted, *(each for each in limits if each != resource.RLIM_INFINITY)])
    resource.setrlimit(resource.RLIMIT_AS, (fewest, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def parse_json(text: str | bytes, path: Path | str, what: str) -> Any:
    """Parse what is the content of a JSON file, a part of it, or was unpacked from `path`."""
    try:
        return json.loads(text, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits is a ValueError too
        raise unreadable(path, what, error) from error


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """What a JSON decoder makes of an object; ValueError if it has a key twice."""
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
    text = read_text(path, what, MAX_YAML_BYTES)
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506  a SafeLoader by inheritance
    except (yaml.YAMLError, LookupError, RecursionError, ValueError) as error:  # `!!bool x` is a LookupError
        raise UserError(f"Correct {path}: {what} is not valid YAML: {' '.join(str(error).split())}") from error
