"""Deleting notifications that are old, whatever became of them."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import bindparam, delete, literal_column, select
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.clock import utc_now
from po_api.db.database import Database
from po_api.db.leases import WorkStatus
from po_api.db.models import Timestamp
from po_api.db.query import ORGANISATION_ID, Query, TransactionExecutor
from po_api.notifications.domain import KEPT
from po_api.notifications.models import Notification, NotificationMail
from po_api.organisations.queries import in_each_organisation

# The rows of one statement, which has a time-out.
_BATCH = 5000
_BEFORE = bindparam("before", type_=Timestamp)


class _Key(NamedTuple):
    id: int


def _deleting(table: type[Notification] | type[NotificationMail], *, name: str) -> Query[_Key]:
    """Delete rows that were created before a time, of the first ones by id: those are the oldest."""
    first = (
        select(table.id, table.created_at)
        .where(table.organisation_id == ORGANISATION_ID)
        .order_by(table.id)
        .limit(literal_column(str(_BATCH)))
        .subquery("first")
    )
    old = select(first.c.id).where(first.c.created_at < _BEFORE)
    statement = delete(table).where(table.organisation_id == ORGANISATION_ID, table.id.in_(old))
    if table is NotificationMail:
        statement = statement.where(NotificationMail.status != str(WorkStatus.QUEUED))
    return Query(f"{name}.purge", statement.returning(table.id), _Key)


# Those of single notifications go with these.
_PURGE_MAILS = _deleting(NotificationMail, name="notification_mails")
_PURGE = _deleting(Notification, name="notifications")


async def purge(database: Database) -> int:
    """Delete what is older than KEPT, of all organisations; returns the number of rows."""
    before = utc_now() - KEPT

    async def delete_in(session: AsyncSession, organisation_id: int) -> int:
        return await _purge_in(session, organisation_id, before)

    found, deleted = 0, 1
    while deleted:
        deleted = await in_each_organisation(database, delete_in)
        found += deleted
    return found


async def _purge_in(session: AsyncSession, organisation_id: int, before: datetime) -> int:
    executor = TransactionExecutor(session)
    parameters = {"organisation_id": organisation_id, "before": before}
    return sum([len(await executor.rows(query, **parameters)) for query in (_PURGE_MAILS, _PURGE)])
