"""Schema: the first wrong thing in a mapping is named with its cure."""

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from ifrvis.errors import UserError
from ifrvis.schema import construct


@dataclass(frozen=True)
class Inner:
    size: int


@dataclass(frozen=True)
class Outer:
    name: str
    kind: Literal["a", "b"] = "a"
    rate: float = 0.1
    pair: tuple[float | None, float | None] = (None, None)
    many: tuple[Inner, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


def test_nested_values_are_converted():
    built = construct(Outer, {"name": "x", "rate": 1, "pair": [1, None], "many": [{"size": 3}]}, "t.yaml")
    assert built == Outer("x", rate=1.0, pair=(1.0, None), many=(Inner(3),))
    assert isinstance(built.rate, float)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "expected keys and values"),
        ({}, "Add 'name'"),
        ({"name": "x", "nmae": 1}, "Remove or rename 'nmae'"),
        ({"name": 1}, "Make 'name' in t.yaml of type str"),
        ({"name": "x", "rate": "1e-4"}, "Write 'rate' in t.yaml as a plain number"),
        ({"name": "x", "rate": True}, "Make 'rate' in t.yaml of type float"),
        ({"name": "x", "kind": "c"}, "to one of a, b"),
        ({"name": "x", "kind": []}, "to one of a, b"),
        ({"name": "x", "pair": [1]}, "Give 'pair' in t.yaml 2 items"),
        ({"name": "x", "many": [{"size": True}]}, "'size' in item 0 of 'many' in t.yaml"),
        ({"name": "x", "many": {"size": 1}}, "Make 'many' in t.yaml a list"),
        ({"name": "x", "options": []}, "Make 'options' in t.yaml keys and values"),
    ],
)
def test_wrong_values_are_refused(value, message):
    with pytest.raises(UserError, match=message):
        construct(Outer, value, "t.yaml")
