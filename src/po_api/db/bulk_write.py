"""Writing many rows in one statement: the rows of each table arrive as one JSON text.

The driver sends rows one by one, and the ORM creates an entity for each. PostgreSQL reads rows from JSON with the types
of the target's columns: a change is one round trip, however many lines it has. The parts of a statement do not see each
other's writes, but a part may use what another returns; foreign keys are checked at the end.
docs/development/writing.md describes when to use it.
"""

from collections.abc import Iterable, Mapping
from json import JSONEncoder
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    FromClause,
    Insert,
    Text,
    Update,
    bindparam,
    cast,
    column,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.dml import ReturningInsert

from po_api.db.models import Timestamp
from po_api.db.query import ORGANISATION_ID, NoRow, Query

# A parameter of every statement that writes, beside the organisation: the time of the change.
NOW = bindparam("now", type_=Timestamp)

Rows = Iterable[Mapping[str, Any]]
_ENCODER = JSONEncoder(default=str, ensure_ascii=False)


def json_rows(name: str, *columns: ColumnElement[Any]) -> FromClause:
    """The rows in the parameter `name`, to select from; they have the names and types of `columns`."""
    of_row: Any = (column(str(like.key), like.type) for like in columns)
    # Not required for SQLAlchemy, which does not look for parameters behind the columns of an UPDATE.
    text = cast(bindparam(name, None, type_=Text), JSON)
    rows = func.json_to_recordset(text).table_valued(*of_row)
    return rows.render_derived(name=f"{name}_rows", with_types=True)


def insert_from(table: Any, source: FromClause, **others: Any) -> Insert:
    """Insert the rows of `source`: those of its columns that the table has, and `others`."""
    values = _inserted(table, source, others)
    inserted = insert(table).from_select(list(values), select(*values.values()), include_defaults=False)
    # Without RETURNING, a distributed database would copy the rows, which row-level security refuses.
    return inserted.returning(table.c.organisation_id)


def insert_new_from(table: Any, source: FromClause, **others: Any) -> ReturningInsert[int]:
    """Insert those of the rows that conflict with none, as `insert_from` does, and return their ids."""
    values = _inserted(table, source, others)
    inserted = postgresql.insert(table).from_select(list(values), select(*values.values()), include_defaults=False)
    return inserted.on_conflict_do_nothing().returning(table.c.id)


def _inserted(table: Any, source: FromClause, others: Mapping[str, Any]) -> dict[str, Any]:
    values = {"organisation_id": ORGANISATION_ID, **_timestamps(table, "created_at", "updated_at")}
    return values | {same.key: same for same in source.c if same.key in table.c} | dict(others)


def update_from(table: Any, source: FromClause, **others: Any) -> Update:
    """Update the rows with the ids of `source`: the other columns that it has, and `others`."""
    values = {same.key: same for same in source.c if same.key != "id"}
    return (
        update(table)
        .values(**_timestamps(table, "updated_at"), **values, **others)
        .where(table.c.organisation_id == ORGANISATION_ID, table.c.id == source.c.id)
    )


def combine(name: str, *changes: Insert | Update) -> Query[NoRow]:
    """One statement that makes all of these changes."""
    parts = (change.cte(f"change_{n}") for n, change in enumerate(changes))
    return Query(name, select(literal_column("1")).add_cte(*parts), NoRow)


def _timestamps(table: Any, *names: str) -> dict[str, Any]:
    return {name: NOW for name in names if name in table.c}


def as_json(rows: Rows) -> str:
    """The value of a parameter of `json_rows`."""
    # Row by row: in a thread, the event loop gets its turn between two of them.
    return f"[{','.join(map(_ENCODER.encode, rows))}]"
