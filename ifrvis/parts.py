"""JSON files that are read part by part: the entries of their long lists one at a time, and any of them again.

Memory is taken for one entry, and for what stands beside the lists. What is read is what `files.read_json` reads, and
what is wrong is said in its words.
"""

import codecs
import json
import os
import re
from array import array
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ifrvis.errors import UserError
from ifrvis.files import MAX_JSON_BYTES, open_file, parse_json, unique_keys, unreadable

_SPACE = re.compile(r"[ \t\n\r]*")
_BEHIND = tuple(" \t\n\r,:]}")  # a value
_AT_ONCE = 1 << 20  # bytes
Entry = tuple[int, int, Any]  # where it begins and ends, in bytes, and what it is
Place = tuple[int, int, int]  # of an entry: its index in its list, its first byte, the byte behind its last
Read = Callable[[int, int], None]  # told how many bytes are read, and how many there are


class PartsFile(NamedTuple):
    """A file whose entries are read again by their places; in any process."""

    path: Path
    name: str  # in errors
    what: str  # likewise
    state: tuple[int, int]  # bytes, and time of the last change in ns, when the places were found

    def read(self, places: Iterable[Place]) -> Iterator[tuple[int, Any]]:
        """The entries, each with its index; UserError if one has a key twice, or the file is not as it was."""
        with open_file(self.path, self.what, MAX_JSON_BYTES) as stream:
            if _state(stream) != self.state:
                raise UserError(f"Leave {self.name} as it is, and start again: {self.what} has changed meanwhile.")
            for index, start, end in places:
                stream.seek(start)
                yield index, parse_json(stream.read(end - start), self.name, self.what)


class Places:
    """Where the entries of a list stand, by the ids of what they belong to: 24 bytes an entry."""

    def __init__(self, rows: dict[Any, int]) -> None:
        self._rows = rows  # a number for each id; lists may share them
        self._owners, self._bounds = array("i"), array("q")

    def __len__(self) -> int:
        return len(self._owners)

    @property
    def num_owners(self) -> int:
        """How many ids have an entry."""
        return len(np.unique(self._owners))

    def add(self, owner: int | str, start: int, end: int) -> None:
        """Add an entry of the id `owner`, which may be new."""
        self._owners.append(self._rows.setdefault(owner, len(self._rows)))
        self._bounds.extend((start, end))

    def of(self, owner: int | str) -> list[Place]:
        """The entries of an id, in their order."""
        (order, firsts), row = self._sorted, self._rows[owner]
        of_owner = order[firsts[row] : firsts[row + 1]].tolist()
        return [(index, self._bounds[2 * index], self._bounds[2 * index + 1]) for index in of_owner]

    @cached_property
    def _sorted(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        order = np.argsort(self._owners, kind="stable").astype(np.int32)
        return order, np.searchsorted(self._owners, np.arange(len(self._rows) + 1), sorter=order)


def split_json(
    path: Path,
    what: str,
    places: Mapping[str, Places],
    owner_of: Callable[[str, int, Any], int | str],
    on_read: Read,
    *,
    name: str = "",
) -> tuple[Any, PartsFile]:
    """What `read_json` gives, with its errors, but without the entries of some lists; and the file that has these.

    `places` takes where they stand, by the keys of their lists in the object that the file is; "" is the list that the
    file is. `owner_of` says what id an entry belongs to, given the key of its list, its index and itself, in which an
    object may still have a key twice. `on_read` is told of each entry; `name` stands in errors instead of the path.
    """
    name = name or str(path)
    with open_file(path, what, MAX_JSON_BYTES) as stream:
        state = _state(stream)

        def take(key: str, entries: Iterator[Entry]) -> list[Any]:
            for start, end, entry in entries:
                places[key].add(owner_of(key, len(places[key]), entry), start, end)
                on_read(end, state[0])
            return []

        try:
            content = _split(scanner := _Scanner(stream), places, take)
            if scanner.peek():
                raise scanner.error("Extra data")
        except UserError:
            raise
        except (OSError, ValueError, RecursionError) as error:
            raise unreadable(name, what, error) from error
        return content, PartsFile(path, name, what, state)


def _state(stream: BinaryIO) -> tuple[int, int]:
    state = os.fstat(stream.fileno())
    return state.st_size, state.st_mtime_ns


class _Scanner:
    """The text of a file, of which no more is held than the value that is being read, and what was read with it."""

    def __init__(self, stream: BinaryIO) -> None:
        self.offset = 3 * (stream.read(3) == codecs.BOM_UTF8)  # of what comes next, in bytes
        stream.seek(self.offset)
        self._stream, self._decode = stream, codecs.getincrementaldecoder("utf-8")().decode
        self._text, self._at = "", 0  # what is held, and what of it comes next
        self._chars = self._lines = self._line_start = 0  # before `_text`: characters, line ends, the last line's start
        self._whole, self._entry = json.JSONDecoder(object_pairs_hook=unique_keys), json.JSONDecoder()

    def peek(self) -> str:
        """The next character that is no white space; none at the end."""
        while True:
            self._pass(_SPACE.match(self._text, self._at).end())  # type: ignore[union-attr]  # it always matches
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def take(self, allowed: str, message: str) -> str:
        """The next character, which is one of those allowed."""
        if not (found := self.peek()) or found not in allowed:
            raise self.error(message)
        self._pass(self._at + 1)
        return found

    def value(self, *, is_entry: bool = False) -> Any:
        """The next value; of an entry, in which a key may come twice."""
        self.peek()
        decoder = self._entry if is_entry else self._whole
        while True:
            try:
                value, end = decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if not self._more():
                    raise self.error(error.msg, error.pos) from error
            else:
                if self._text[end : end + 1] in _BEHIND or not self._more():  # else a number may go on
                    self._pass(end)
                    return value

    def entries(self) -> Iterator[Entry]:
        """The entries of the list that comes next."""
        self.take("[", "Expecting value")
        if self.peek() == "]":
            self.take("]", "")
            return
        separator = ","
        while separator == ",":
            self.peek()
            start, entry = self.offset, self.value(is_entry=True)
            yield start, self.offset, entry
            separator = self.take(",]", "Expecting ',' delimiter")

    def error(self, message: str, at: int | None = None) -> ValueError:
        """What json says of the whole text."""
        at = self._at if at is None else at
        line, start = self._line_of(at)
        return ValueError(f"{message}: line {line + 1} column {self._chars + at - start + 1} (char {self._chars + at})")

    def _line_of(self, at: int) -> tuple[int, int]:
        """Of a place in what is held the line, and where that begins in the whole text."""
        last = self._text.rfind("\n", 0, at)
        start = self._line_start if last < 0 else self._chars + last + 1
        return self._lines + self._text.count("\n", 0, at), start

    def _pass(self, end: int) -> None:
        self.offset += len(self._text[self._at : end].encode())
        self._at = end

    def _more(self) -> bool:
        """Read on, at least as much as is held, so that a long value is not begun too often; whether there was more."""
        data = self._stream.read(max(_AT_ONCE, len(self._text) - self._at))
        text = self._decode(data, not data)
        if data:
            self._lines, self._line_start = self._line_of(self._at)
            self._chars += self._at
            self._text, self._at = self._text[self._at :] + text, 0
        return bool(data)


def _split(scanner: _Scanner, lists: Container[str], take: Callable[[str, Iterator[Entry]], list[Any]]) -> Any:
    opening = scanner.peek()
    if opening == "[" and "" in lists:
        return take("", scanner.entries())
    if opening != "{":
        return scanner.value()
    scanner.take("{", "")
    found: dict[str, Any] = {}
    separator = scanner.take("}", "") if scanner.peek() == "}" else ","
    while separator == ",":
        if scanner.peek() != '"':
            raise scanner.error("Expecting property name enclosed in double quotes")
        key = scanner.value()
        scanner.take(":", "Expecting ':' delimiter")
        if key in found:
            raise ValueError(f"an object has the key {key!r} twice")
        found[key] = take(key, scanner.entries()) if key in lists and scanner.peek() == "[" else scanner.value()
        separator = scanner.take(",}", "Expecting ',' delimiter")
    return found
