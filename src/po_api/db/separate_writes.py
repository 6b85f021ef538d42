"""What bulk_write.py makes one statement of, as a statement for each table: for distributed databases.

Citus sends the result of each part of a combined statement to all servers, and a statement with its rows as values to
the one that has the organisation: a request is created in a third of the time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, update
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.offload import offload
from po_api.db.bulk_write import Rows, as_json, json_rows, update_from
from po_api.db.query import NoRow, Query, TransactionExecutor


@dataclass(frozen=True)
class SeparateWrites:
    """The changes of one organisation at one time; without rows there is no statement."""

    session: AsyncSession
    organisation_id: int
    now: datetime

    async def insert(self, table: Any, rows: Rows, *returned: str, **others: object) -> Sequence[Row[*tuple[Any, ...]]]:
        """Insert rows: those of their columns that the table has, and `others`.

        Returns the columns `returned` of the inserted rows, in no order.
        """
        return await self._insert(insert(table), rows, returned, others)

    async def insert_new(self, table: Any, rows: Rows) -> None:
        """Insert those of the rows that conflict with none."""
        await self._insert(insert(table).on_conflict_do_nothing(), rows, (), {})

    async def _insert(
        self, statement: Insert, rows: Rows, returned: Sequence[str], others: dict[str, object]
    ) -> Sequence[Row[*tuple[Any, ...]]]:
        table: Any = statement.table
        others |= {name: self.now for name in ("created_at", "updated_at") if name in table.c}
        others["organisation_id"] = self.organisation_id
        values = [{name: row[name] for name in row if name in table.c} | others for row in rows]
        if not values:
            return []
        columns = table.c[returned or ("organisation_id",)]
        return (await self.session.execute(statement.returning(*columns), values)).all()

    async def update(self, table: Any, rows: Rows, **others: Any) -> None:
        """Update the rows with the ids of `rows`: the other columns that those have, and `others`."""
        found = list(rows)
        if len(found) == 1:
            await self._update_one(table, found[0], others)
        elif found:
            source = json_rows("rows", *table.c[tuple(found[0])])
            query = Query(f"{table}.update", update_from(table, source, **others), NoRow)
            parameters = {"organisation_id": self.organisation_id, "now": self.now}
            rows_as_json = await offload(len(found), as_json, found)
            await TransactionExecutor(self.session).execute(query, **parameters, rows=rows_as_json)

    async def _update_one(self, table: Any, row: Mapping[str, Any], others: Mapping[str, Any]) -> None:
        """Without a join: Citus keeps the plan."""
        changes = {**others, **{name: value for name, value in row.items() if name != "id"}}
        if "updated_at" in table.c:
            changes["updated_at"] = self.now
        its = (table.c.organisation_id == self.organisation_id, table.c.id == row["id"])
        await self.session.execute(update(table).values(**changes).where(*its))
