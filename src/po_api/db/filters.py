"""Filters of lists: conditions on columns, whose values are parameters.

The name of a parameter determines the condition: `status` is the column's value, `status_any` a list of values;
`created_at_gte` is an inclusive lower bound, `created_at_lt` an exclusive upper bound.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, FromClause, any_, bindparam
from sqlalchemy.dialects.postgresql import ARRAY


def one_of(name: str, values: Collection[Any]) -> dict[str, Any]:
    """The parameter for a column that has one of the values.

    A single value is compared with `=`: an index then also returns the rows in the list's order.
    """
    only, *others = values
    return {f"{name}_any": list(values)} if others else {name: only}


def any_of(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """The column is one of the parameter's values."""
    return column == any_(bindparam(name, type_=ARRAY(column.type)))


def condition(table: FromClause, name: str) -> ColumnElement[bool]:
    """The condition of a parameter."""
    attribute, _, comparison = name.rpartition("_")
    match comparison:
        case "any":
            return any_of(table.c[attribute], name)
        case "gte":
            return table.c[attribute] >= bindparam(name, type_=table.c[attribute].type)
        case "lt":
            return table.c[attribute] < bindparam(name, type_=table.c[attribute].type)
        case _:
            return table.c[name] == bindparam(name, type_=table.c[name].type)
