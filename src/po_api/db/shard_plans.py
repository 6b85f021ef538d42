"""Statements whose plans are kept by the server that has the rows, where the database is distributed (Citus).

Citus sends a statement to that server as a text, which is planned there each time: for the largest, that takes ten
times as long as their execution. The function `run_prepared` of deploy/citus/convert.sql is executed on that server
instead. It prepares the statement there, for the organisation's shards, unless it has done so in the same session.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

# Stands for the shards of the organisation, before the names of tables.
SHARD = "shard_"


async def call_of(sql_on_shard: str, sql: str, *, types: Sequence[str], place: int, connection: Any) -> str:
    """The statement that executes another one by `run_prepared`, with the same parameters.

    `sql_on_shard` is its text with `SHARD` before the names of tables, `sql` that without. `types` are those of the
    parameters, `place` is the number of the organisation's. The types of the result are asked from the server.
    """
    prepared = await connection.prepare(sql)
    columns = ", ".join(f'"{column.name}" {column.type.name}' for column in prepared.get_attributes())
    arguments = ", ".join(f"${number}::{type_}::text" for number, type_ in enumerate(types, start=1))
    name = f"po_{sha256(sql_on_shard.encode()).hexdigest()[:16]}"
    text = sql_on_shard.replace("'", "''")
    # All parts are the application's own texts; values are parameters.
    call = f"run_prepared(${place}::bigint, '{name}', '{text}', ARRAY[{arguments}])"
    return f"SELECT * FROM {call} AS found({columns})"  # noqa: S608
