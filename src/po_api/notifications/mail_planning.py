"""Planning in the background: which mails follow from new notifications, by what their members have chosen.

Causes add rows of notifications and nothing else: what members want is read here, a moment later.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import BigInteger, and_, any_, bindparam, func, literal_column, select, update
from sqlalchemy.dialects.postgresql import ARRAY

from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.db.bulk_write import as_json, insert_new_from, json_rows
from po_api.db.database import Database
from po_api.db.query import ORGANISATION_ID, NoRow, Query, QueryExecutor, tenant_transaction
from po_api.mail.domain import new_message_id
from po_api.notifications.domain import EmailChoice, NewNotification, PlannedMail, planned_mails
from po_api.notifications.models import Notification, NotificationMail, NotificationPreference
from po_api.notifications.queries import chosen_email
from po_api.organisations.queries import OrganisationQueries

PLAN = "notifications.plan_mails"
# Seconds. One transaction plans the mails of all notifications that an organisation has by then.
INTERVAL = 1
# The most notifications of one transaction.
_BATCH = 1000

_MAILS = NotificationMail.__table__


class _OrganisationRow(NamedTuple):
    organisation_id: int


class _Key(NamedTuple):
    id: int


_UNPLANNED = Query(
    "notifications.organisations",
    select(func.organisations_with_notifications().label("organisation_id")),
    _OrganisationRow,
)


def _find() -> Query[NewNotification]:
    preference = and_(
        NotificationPreference.organisation_id == ORGANISATION_ID,
        NotificationPreference.user_id == Notification.user_id,
        NotificationPreference.kind == Notification.kind,
    )
    preferred = select(NotificationPreference.email).where(preference).correlate(Notification).scalar_subquery()
    email = chosen_email(Notification.__table__.c.kind, preferred)
    statement = (
        select(Notification.id, Notification.user_id, email.label("email"), Notification.created_at)
        .where(Notification.organisation_id == ORGANISATION_ID, Notification.is_planned.is_(False))
        .order_by(Notification.id)
        .limit(literal_column(str(_BATCH)))
        .with_for_update(skip_locked=True, key_share=True, of=Notification)
    )
    return Query("notifications.unplanned", statement, NewNotification)


_FIND = _find()
_ADDED = ("user_id", "kind", "key", "notification_id", "message_id", "next_attempt_at")
# Whoever has a mail with this key already gets no other one.
_ADD_MAILS = Query("notifications.add_mails", insert_new_from(_MAILS, json_rows("mails", *_MAILS.c[_ADDED])), _Key)
_PLANNED = Query(
    "notifications.planned",
    update(Notification)
    .where(
        Notification.organisation_id == ORGANISATION_ID,
        Notification.id == any_(bindparam("ids", type_=ARRAY(BigInteger))),
    )
    .values(is_planned=True),
    NoRow,
)


async def organisations_with_notifications(executor: QueryExecutor) -> Sequence[int]:
    """The organisations with notifications that were not looked at for mails; no tenant is entered."""
    return [row.organisation_id for row in await executor.rows(_UNPLANNED)]


async def plan_in(database: Database, sender: str | None, organisation_id: int) -> bool:
    """Plan the mails about new notifications of an organisation; returns whether there were some.

    Without a `sender`, or if the organisation may not send mail, there are none.
    """
    tenant = {"organisation_id": organisation_id}
    async with tenant_transaction(database.engine, organisation_id) as executor:
        found = [row._replace(email=EmailChoice(row.email)) for row in await executor.rows(_FIND, **tenant)]
        if not found:
            return False
        if sender is not None:
            await _add_mails(executor, sender, organisation_id, found)
        await executor.execute(_PLANNED, **tenant, ids=[row.id for row in found])
    return True


async def _add_mails(
    executor: QueryExecutor, sender: str, organisation_id: int, found: Sequence[NewNotification]
) -> None:
    organisation = await OrganisationQueries(executor).own(Actor.system(organisation_id))
    if organisation.mail_per_day is None:
        return
    now = utc_now()
    if mails := [_row(mail, sender) for mail in planned_mails(found, now, organisation.timezone)]:
        await executor.rows(_ADD_MAILS, organisation_id=organisation_id, now=now, mails=as_json(mails))


def _row(mail: PlannedMail, sender: str) -> dict[str, object]:
    """The row of a mail, whose Message-ID every attempt has."""
    same = {"user_id": mail.user_id, "kind": mail.kind, "key": mail.key, "notification_id": mail.notification_id}
    return {**same, "message_id": new_message_id(sender), "next_attempt_at": mail.due_at.isoformat()}
