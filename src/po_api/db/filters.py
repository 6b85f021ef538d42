"""What narrows a list, as conditions on columns whose values are parameters.

A parameter's name says the condition: `status` is the column's only value, `status_any` are several; `created_at_gte`
is a bound that is included, `created_at_lt` one that is not.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, FromClause, any_, bindparam
from sqlalchemy.dialects.postgresql import ARRAY


def one_of(name: str, values: Collection[Any]) -> dict[str, Any]:
    """The parameter for a column that is one of some values.

    A single one is compared with as such: then an index has the rows in the list's order, too.
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
