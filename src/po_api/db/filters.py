"""Filters of lists: conditions on columns, whose values are parameters.

The name of a parameter determines the condition: `status` is the column's value, `status_any` a list of values;
`created_at_gte` is an inclusive lower bound, `created_at_lt` an exclusive upper bound. web/filters.py declares the
parameters of requests.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, FromClause, any_, bindparam
from sqlalchemy.dialects.postgresql import ARRAY

_COMPARISONS = frozenset({"any", "gte", "lt"})


class Filters:
    """The filters of a list that are used, by the names of their parameters; several values mean any of them."""

    def __init__(self, **values: object) -> None:
        self._given = {name: value for name, value in values.items() if value is not None and value != []}

    def parameters(self) -> dict[str, object]:
        """The parameters of the conditions, by the names that determine them."""
        parameters: dict[str, object] = {}
        for name, value in self._given.items():
            parameters |= one_of(name, value) if isinstance(value, list) else {name: value}
        return parameters


def one_of(name: str, values: Collection[Any]) -> dict[str, Any]:
    """The parameter for a column that has one of the values.

    A single value is compared with `=`: an index then also returns the rows in the list's order.
    """
    only, *others = values
    return {f"{name}_any": list(values)} if others else {name: only}


def attribute_of(name: str) -> str:
    """The attribute that the condition of a parameter is about, without the comparison."""
    attribute, _, comparison = name.rpartition("_")
    return attribute if comparison in _COMPARISONS else name


def condition(table: FromClause, name: str) -> ColumnElement[bool]:
    """The condition of a parameter on the table's column."""
    return compare(table.c[attribute_of(name)], name)


def compare(value: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """The condition of a parameter on the attribute's value."""
    match name.removeprefix(f"{attribute_of(name)}_"):
        case "any":
            return value == any_(bindparam(name, type_=ARRAY(value.type)))
        case "gte":
            return value >= bindparam(name, type_=value.type)
        case "lt":
            return value < bindparam(name, type_=value.type)
        case _:
            return value == bindparam(name, type_=value.type)
