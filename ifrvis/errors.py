"""The errors that speak to the user.

Everything raised on purpose because of what the user gave is a `UserError`: its first sentence says what
to do. The command prints it without a traceback and exits with 2; any other exception is our own mistake.
"""

import re
from collections.abc import Iterable

# What moves a terminal's cursor, turns the direction of its text, or cannot be encoded; tabs and line ends are fine.
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

REPEAT_S = 30.0  # where no terminal is: at most so often a line about work that goes on


def printable(text: str) -> str:
    """Text from files as a terminal can print it: what would control it becomes a question mark."""
    return UNPRINTABLE.sub("?", text)


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """How a message ends about a name that is not among those known: with the nearest of them, where one is near."""
    from difflib import get_close_matches

    found = get_close_matches(name.lower(), known, n=1, cutoff=cutoff)
    return f" (did you mean {found[0]!r}?)" if found else ""


class UserError(ValueError):
    """Something that the user can put right; the message says where and how."""

    def __str__(self) -> str:
        return printable(super().__str__())


class DataMissingError(UserError):
    """Frames, annotations or weights that cannot be made here are not where they are expected."""


class MismatchError(UserError):
    """Predictions of other videos or categories than those of the ground truth that they are read for."""
