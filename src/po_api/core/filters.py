"""What narrows a list, as conditions whose values are parameters of the same names."""

from typing import Any

from sqlalchemy import ColumnElement, FromClause, FunctionElement, any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY


def any_of(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """The column is one of the values."""
    return column == any_(bindparam(name, type_=ARRAY(column.type)))


def bounded(table: FromClause, name: str) -> ColumnElement[bool]:
    """A bound of a column: `created_at_gte` includes its value, `created_at_lt` does not."""
    attribute, _, comparison = name.rpartition("_")
    column = table.c[attribute]
    bound = bindparam(name, type_=column.type)
    return column >= bound if comparison == "gte" else column < bound


def found_by(search: FunctionElement[Any], id_column: ColumnElement[int]) -> ColumnElement[bool]:
    """One of the ids that a search finds."""
    return id_column.in_(select(search.column_valued("found")))
