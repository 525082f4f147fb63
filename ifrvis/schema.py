"""Models of what is read from files: pydantic's, strict and frozen, whose first error becomes one `UserError`.

A `Model` says keys and types, bounds by `pydantic.Field`, and the rest by validators that raise `ValueError` (or call
`check_name`) with a sentence that begins with what to do. Values come as JSON has them: a list fills a tuple, a whole
number a float, and text nothing but text. A validator with mode "before" would undo that: write it with "after".
"""

import json
import re
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ifrvis.errors import UserError, nearest
from ifrvis.files import read_json, read_yaml

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


class Model(BaseModel):
    """The content of a file, or of a part of one: unknown keys, missing keys and other types are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)


M = TypeVar("M", bound=Model)


def read_model(cls: type[M], path: Path, what: str) -> M:
    """The content of a YAML or JSON file; `what` names it in errors. UserError if it is not what `cls` says."""
    read = read_json if path.suffix == ".json" else read_yaml
    return validated(cls, read(path, what), str(path))


def validated(cls: type[M], value: Any, where: str, *, text: str | None = None) -> M:
    """`value`, made of what JSON has, as a `cls`; `text` is that as JSON, where it is at hand. UserError if it is not
    what `cls` says: what is wrong, where (the key in `where`), what came, and the cure.
    """
    try:
        return cls.model_validate_json(json.dumps(value) if text is None else text)
    except ValidationError as error:
        raise UserError(_told(cls, value, where, error.errors(include_url=False))) from error


def check_name(name: str, *, where: str = "") -> str:
    """A name that can be a part of every path: `../../x` must not lead out of a folder; UserError if it is anything but
    lower-case letters, digits, '.', '_' and '-', at most 100.
    """
    if not NAME.fullmatch(name):
        raise UserError(
            f"Rename {_shown(name)}{where and f', {where}'}: names are at most 100 lower-case letters, digits, '.', "
            "'_' and '-', a letter or digit first."
        )
    return name


def _distinct(items: tuple[Any, ...]) -> tuple[Any, ...]:
    if twice := [item for item in items if items.count(item) > 1]:
        raise ValueError(f"Remove one of the two {_shown(twice[0])}: each comes once.")
    return items


Name = Annotated[str, AfterValidator(check_name)]  # can be a part of every path
Share = Annotated[float, Field(ge=0, le=1)]
Distinct = AfterValidator(_distinct)  # of a tuple


def is_number(value: Any) -> bool:
    """Whether a value of a JSON file is a finite number of a size that people can read: JSON has 10 ** 400 too."""
    return type(value) in (int, float) and abs(value) < 1e15


def _told(cls: type[Model], value: Any, where: str, errors: list[Any]) -> str:
    """The deepest error in words; an unknown key comes before all, for what is missing is often misspelt."""
    found = [(error, _path(error, value)) for error in errors]
    chosen, path = max(found, key=lambda each: (each[0]["type"] == "extra_forbidden", len(each[1])))
    place, came = _place(path, value, where), _shown(chosen["input"])
    wanted = dict.fromkeys(_wanted(error) for error, at in found if at == path)
    match chosen["type"]:
        case "extra_forbidden":
            known, place = [*_model_at(cls, path[:-1]).model_fields], _place(path[:-1], value, where)
            near = nearest(str(path[-1]), known)
            return f"Remove or rename {path[-1]!r} in {place}: known keys are {', '.join(known)}{near}."
        case "missing" if isinstance(chosen["loc"][-1], str):
            return f"Add {path[-1]!r} to {_place(path[:-1], value, where)}: it is required."
        case "value_error":
            return f"{str(chosen['ctx']['error']).rstrip('.')} (in {place})."
        case "json_invalid":
            return f"Correct {where}: it holds what is no text, or is nested beyond reason."
        case "int_type" | "float_type" if isinstance(chosen["input"], str) and len(wanted) == 1:
            return f"Write {place} as a plain number, such as 0.0001: {came} is text."
        case "string_type" if isinstance(chosen["input"], (int, float)) and len(wanted) == 1:
            return f"Write {place} in quotes: {came} is no text."
    return f"Correct {place}: it should {' or '.join(wanted)}, and is {came}."


def _path(error: Any, value: Any) -> list[str | int]:
    """Keys and positions from the file's top to an error, without the alternatives' names that pydantic adds."""
    path: list[str | int] = []
    for part in error["loc"]:
        known = isinstance(value, dict) and part in value
        if known or (isinstance(value, list) and isinstance(part, int) and part < len(value)):
            value = value[part]
            path.append(part)
    key = error["loc"][-1] if error["type"] == "missing" else None
    return [*path, key] if isinstance(key, str) else path


def _place(path: list[str | int], value: Any, where: str) -> str:
    """An error's place in words, innermost first; an item of a list is called by its id or name too."""
    for part in path:
        value = value[part] if isinstance(part, int) or part in value else None
        own = value.get("id", value.get("name")) if isinstance(part, int) and isinstance(value, dict) else None
        called = f" ({_shown(own)})" if isinstance(own, str) else ""
        where = f"{repr(part) if isinstance(part, str) else f'item {part}{called}'} in {where}"
    return where


def _model_at(cls: type[Model], path: list[str | int]) -> type[Model]:
    for part in path:
        if part in cls.model_fields:
            cls = next(_models_in(cls.model_fields[str(part)].annotation), cls)
    return cls


def _models_in(hint: Any) -> Any:
    if isinstance(hint, type) and issubclass(hint, Model):
        yield hint
    for argument in get_args(hint):
        yield from _models_in(argument)


def _wanted(error: Any) -> str:
    known = {"model_type": "be keys and values", "dict_type": "be keys and values", "tuple_type": "be a list"}
    known["missing"] = "be a list with one item more"
    return known.get(error["type"], re.sub("^[A-Z][a-z]* should ", "", error["msg"]))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
