"""Schema: the first wrong thing in a mapping is named with its cure."""

import re
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from pydantic import Field, field_validator

from ifrvis.errors import UserError
from ifrvis.schema import Model, Name, construct, validated


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


class InnerModel(Model):
    size: int = Field(ge=1)


class OuterModel(Model):
    name: Name
    kind: Literal["a", "b"] = "a"
    rate: float = 0.1
    threshold: float | Literal["best"] | None = None
    pair: tuple[float | None, float | None] = (None, None)
    many: tuple[InnerModel, ...] = ()
    options: dict[str, Any] = Field(default_factory=dict)
    rule: str | InnerModel | None = None

    @field_validator("rate")
    @classmethod
    def _rate(cls, rate: float) -> float:
        if rate < 0:
            raise ValueError(f"Make 'rate' 0 or more: it is {rate:g}.")
        return rate


def test_a_model_takes_what_json_has():
    given = {"name": "x", "rate": 1, "pair": [1, None], "many": [{"size": 3}], "options": {"deep": [1, {"a": 1e-8}]}}
    built = validated(OuterModel, given, "t.yaml")
    assert built == OuterModel(
        name="x", rate=1.0, pair=(1.0, None), many=(InnerModel(size=3),), options=given["options"]
    )
    assert isinstance(built.rate, float)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "Correct t.yaml: it should be keys and values, and is []"),
        ({}, "Add 'name' to t.yaml: it is required"),
        ({"nmae": 1}, "Remove or rename 'nmae' in t.yaml: known keys are name, kind, rate"),
        ({"name": 1}, "Correct 'name' in t.yaml: it should be a valid string, and is 1"),
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
        validated(OuterModel, value, "t.yaml")
