"""Schema: the first wrong thing in a mapping is named with its cure."""

import re
from typing import Any, Literal

import pytest
from pydantic import Field, field_validator

from ifrvis.errors import UserError
from ifrvis.schema import Model, Name, validated


class Inner(Model):
    size: int = Field(ge=1)


class Outer(Model):
    name: Name
    kind: Literal["a", "b"] = "a"
    rate: float = 0.1
    threshold: float | Literal["best"] | None = None
    pair: tuple[float | None, float | None] = (None, None)
    many: tuple[Inner, ...] = ()
    options: dict[str, Any] = Field(default_factory=dict)
    rule: str | Inner | None = None

    @field_validator("rate")
    @classmethod
    def _rate(cls, rate: float) -> float:
        if rate < 0:
            raise ValueError(f"Make 'rate' 0 or more: it is {rate:g}.")
        return rate


def test_a_model_takes_what_json_has():
    given = {"name": "x", "rate": 1, "pair": [1, None], "many": [{"size": 3}], "options": {"deep": [1, {"a": 1e-8}]}}
    built = validated(Outer, given, "t.yaml")
    assert built == Outer(name="x", rate=1.0, pair=(1.0, None), many=(Inner(size=3),), options=given["options"])
    assert isinstance(built.rate, float)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "Correct t.yaml: it should be keys and values, and is []"),
        ({}, "Add 'name' to t.yaml: it is required"),
        ({"nmae": 1}, "Remove or rename 'nmae' in t.yaml: known keys are name, kind, rate"),
        ({"name": 1}, "Write 'name' in t.yaml in quotes: 1 is no text"),
        ({"name": False}, "Write 'name' in t.yaml in quotes: False is no text"),
        ({"name": "../x"}, "Rename '../x': names are at most 100 lower-case letters"),
        ({"name": "x", "rate": "1e-4"}, "Write 'rate' in t.yaml as a plain number, such as 0.0001: '1e-4' is text"),
        ({"name": "x", "rate": True}, "Correct 'rate' in t.yaml: it should be a valid number, and is True"),
        ({"name": "x", "rate": float("nan")}, "Correct 'rate' in t.yaml: it should be a finite number"),
        ({"name": "x", "rate": -1}, "Make 'rate' 0 or more: it is -1 (in 'rate' in t.yaml)."),
        ({"name": "x", "threshold": "bets"}, "it should be a valid number or be 'best', and is 'bets'"),
        ({"name": "x", "kind": []}, "Correct 'kind' in t.yaml: it should be 'a' or 'b', and is []"),
        ({"name": "x", "pair": [1]}, "Correct 'pair' in t.yaml: it should be a list with one item more, and is [1]"),
        ({"name": "x", "many": [{"size": 0}]}, "'size' in item 0 in 'many' in t.yaml: it should be greater than or"),
        ({"name": "x", "many": [{"id": "r", "size": 1}]}, "in item 0 ('r') in 'many' in t.yaml: known keys are size"),
        ({"name": "x", "many": {"size": 1}}, "Correct 'many' in t.yaml: it should be a list"),
        ({"name": "x", "options": []}, "Correct 'options' in t.yaml: it should be keys and values"),
        ({"name": "x", "rule": {"size": "2"}}, "Write 'size' in 'rule' in t.yaml as a plain number"),
        ({"name": "\ud800"}, "Correct t.yaml: it holds what is no text"),
    ],
)
def test_a_model_names_what_is_wrong_with_its_cure(value, message):
    with pytest.raises(UserError, match=re.escape(message)):
        validated(Outer, value, "t.yaml")
