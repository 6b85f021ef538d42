"""Representations rendered by PostgreSQL: a row as the JSON text that its schema would produce.

The type of a column determines its JSON form, as in web/schemas.py: amounts keep their scale, quantities, prices and
percentages lose trailing zeros, times are in UTC. Tests compare every representation with its schema.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from json import dumps
from typing import Any

from sqlalchemy import JSON, ColumnElement, FromClause, Numeric, SQLColumnExpression, Text, cast, func, literal, select
from sqlalchemy.dialects.postgresql import TIMESTAMP, aggregate_order_by

_MOMENT = 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'


def shown(expression: SQLColumnExpression[Any]) -> Any:
    """The column in its JSON form."""
    column: Any = expression
    if isinstance(column.type, Numeric):
        # Amounts have the scale of their currency; all other numbers that of their column.
        return cast(column if column.type.scale is None else func.trim_scale(column), Text)
    if isinstance(column.type, TIMESTAMP):
        moment = func.to_char(func.timezone("UTC", column), _MOMENT)
        return func.replace(moment, ".000000Z", "Z")
    return column


def columns_of(source: FromClause, names: Sequence[str]) -> dict[str, SQLColumnExpression[Any]]:
    """The columns of `source` as fields with the same names."""
    return {name: source.c[name] for name in names}


def json_object(name: str, fields: Mapping[str, SQLColumnExpression[Any]]) -> tuple[FromClause, ColumnElement[str]]:
    """A JSON object with these fields: the LATERAL subquery to join on true, and the object's text.

    row_to_json rather than json_build_object, which inserts spaces.
    """
    columns = select(*(shown(column).label(field) for field, column in fields.items()))
    # Whatever they come from is in the FROM of the statement around; to find that out here would be to compile them.
    item = columns.correlate_except(None).lateral(name)
    return item, cast(func.row_to_json(item.table_valued()), Text)


def json_array(objects: ColumnElement[str], *order: SQLColumnExpression[Any]) -> ColumnElement[str]:
    """The JSON array of all rows' objects."""
    joined = func.string_agg(objects, aggregate_order_by(literal(","), *order))
    return func.concat("[", joined, "]")


def in_order(value: SQLColumnExpression[Any], *order: SQLColumnExpression[Any]) -> ColumnElement[Any]:
    """An array of the values of all rows; NULL without rows."""
    return func.array_agg(aggregate_order_by(value, *order))


def nested(json: ColumnElement[str] | ColumnElement[str | None]) -> ColumnElement[Any]:
    """The text of a JSON object or array as the value of a field of another object."""
    return cast(json, JSON)


@dataclass(frozen=True)
class JsonDocument:
    """A representation as JSON; `version` is the one in its ETag."""

    json: str
    version: int
    id: int


def with_fields(json: str, fields: str) -> str:
    """The object `json` with `fields` appended: `"name":value`, separated by commas."""
    return f"{json[:-1]},{fields}}}"


def page(items: Sequence[str], next_cursor: str | None) -> str:
    """A page (web/schemas.py) of items that are JSON texts."""
    has_more = "false" if next_cursor is None else "true"
    return f'{{"next_cursor":{dumps(next_cursor)},"has_more":{has_more},"items":[{",".join(items)}]}}'
