"""Copying records: the fields of a kind, inherited ones first, from any object with attributes of these names."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from po_api.core.records import extract, field_names


@dataclass(frozen=True)
class _Named:
    name: str


@dataclass(frozen=True)
class _Numbered(_Named):
    number: int = 0


class _Pair(NamedTuple):
    name: str
    number: int


def test_the_fields_are_in_the_order_of_the_constructor() -> None:
    names = [field_names(kind) for kind in (_Named, _Numbered, _Pair)]
    assert names == [("name",), ("name", "number"), ("name", "number")]


def test_a_record_is_made_of_attributes_and_others() -> None:
    source = SimpleNamespace(name="a", number=1, more=2)
    assert extract(_Named, source) == _Named("a")
    assert extract(_Numbered, source) == _Numbered("a", 1)
    assert extract(_Pair, source, number=3) == _Pair("a", 3)


def test_a_missing_attribute_is_an_error_even_if_the_field_has_a_default() -> None:
    with pytest.raises(AttributeError, match="number"):
        extract(_Numbered, _Named("a"))
