"""From a parsed YAML mapping to a dataclass, with the first thing that is wrong named.

The types of a dataclass are its schema: unknown keys, missing keys and values of another type are refused.
`1e-4`, which YAML loads as text, is refused where a number is expected, with the cure.
"""

import dataclasses
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from ifrvis.errors import UserError

T = TypeVar("T")
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


def check_name(name: str, where: str) -> None:
    """Refuse a name that cannot be a part of every path: `../../x` must not lead out of a folder.

    Raises:
        UserError: If it is anything but lower-case letters, digits, '.', '_' and '-', at most 100.
    """
    if not NAME.fullmatch(name):
        raise UserError(
            f"Rename {_shown(name)}, {where}: names are at most 100 lower-case letters, digits, '.', '_' and '-', "
            "a letter or digit first."
        )


def is_number(value: Any) -> bool:
    """Whether a value of a JSON file is a finite number of a size that people can read: JSON has 10 ** 400 too."""
    return type(value) in (int, float) and abs(value) < 1e15


def construct(cls: type[T], value: Any, where: str) -> T:
    """Build the dataclass `cls` from a mapping; lists become tuples where the field is a tuple.

    Raises:
        UserError: If a key is unknown or missing or a value has another type; the message opens with `where`.
    """
    if not isinstance(value, Mapping):
        raise UserError(f"Correct {where}: expected keys and values, got {_shown(value)}.")
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    unknown = [key for key in value if key not in fields]
    if unknown:
        raise UserError(f"Remove or rename {unknown[0]!r} in {where}: known keys are {', '.join(fields)}.")
    missing = [name for name, field in fields.items() if _required(field) and name not in value]
    if missing:
        raise UserError(f"Add {missing[0]!r} to {where}: it is required.")
    hints = typing.get_type_hints(cls)
    return cls(**{key: _converted(hints[key], item, f"{key!r} in {where}") for key, item in value.items()})


def _required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _converted(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (types.UnionType, typing.Union):
        return _one_of(arguments, value, where)
    if origin is typing.Literal:
        return _literal(arguments, value, where)
    if dataclasses.is_dataclass(hint):
        return construct(typing.cast(type, hint), value, where)
    if origin is tuple:
        return _tuple(arguments, value, where)
    if origin in (dict, Mapping):
        return _mapping(arguments, value, where)
    return _scalar(hint, value, where)


def _one_of(hints: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in hints:
        return None
    last: UserError | None = None
    for hint in hints:
        if hint is not type(None):
            try:
                return _converted(hint, value, where)
            except UserError as error:
                last = error
    assert last is not None
    raise last


def _literal(choices: tuple[Any, ...], value: Any, where: str) -> Any:
    if not isinstance(value, str) or value not in choices:
        raise UserError(f"Change {where} to one of {', '.join(choices)}; it is {_shown(value)}.")
    return value


def _tuple(hints: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise UserError(f"Make {where} a list; it is {_shown(value)}.")
    if hints[-1] is not Ellipsis:
        if len(value) != len(hints):
            raise UserError(f"Give {where} {len(hints)} items; it has {len(value)}.")
        return tuple(_converted(hint, item, where) for hint, item in zip(hints, value))
    return tuple(_converted(hints[0], item, f"item {index} of {where}") for index, item in enumerate(value))


def _mapping(hints: tuple[Any, ...], value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise UserError(f"Make {where} keys and values; it is {_shown(value)}.")
    return {key: _converted(hints[1], item, f"{key!r} of {where}") for key, item in value.items()}


def _scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, hint) and not (isinstance(value, bool) and hint is not bool):
        return value
    if hint in (int, float) and isinstance(value, str):
        raise UserError(f"Write {where} as a plain number, such as 0.0001: YAML reads {_shown(value)} as text.")
    raise UserError(f"Make {where} of type {hint.__name__}; it is {_shown(value)}.")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
