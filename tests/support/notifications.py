"""Notifications of members, and the mails about them."""

from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update

from po_api.core.clock import utc_now
from po_api.db.database import enter_tenant
from po_api.mail.transports import Mailer
from po_api.notifications.mail_planning import PLAN
from po_api.notifications.mailings import NOTIFICATION_MAILS
from po_api.notifications.models import Notification, NotificationMail
from po_api.porfs.models import Porf
from support.organisations import Member, Tenant, TestOrganisation, ok
from support.workers import work_until_idle

Json = dict[str, Any]


async def notifications_of(member: Member, **query: object) -> list[Json]:
    """What a member is told, the newest first."""
    items: list[Json] = (await ok(member.get("/notifications", params=query))).json()["items"]
    return items


async def unread_kinds(member: Member) -> list[str]:
    """The kinds of what a member is told and has not read, the newest first."""
    return [item["kind"] for item in await notifications_of(member, unread="true")]


async def notification_for(organisation: TestOrganisation, member: Member) -> int:
    """The id of a notification about a request of the member, which members of all roles see."""
    porf_id = (await organisation.draft()).json()["id"]
    async with organisation.database.sessions.begin() as session:
        await enter_tenant(session, organisation.organisation_id)
        await session.execute(update(Porf).where(Porf.id == porf_id).values(requester_id=member.user_id))
        told = Notification(
            organisation_id=organisation.organisation_id,
            user_id=member.user_id,
            kind="decided",
            porf_id=porf_id,
            data={"decision": "approved"},
            dedupe_key=f"porf:{porf_id}",
            created_at=utc_now(),
        )
        session.add(told)
        await session.flush()
        return told.id


async def plan_mails(tenant: Tenant, mailer: Mailer) -> None:
    """Plan the mails about new notifications of an organisation."""
    await work_until_idle(tenant, names=frozenset({PLAN}), mailer=mailer)


async def due_at(tenant: Tenant) -> list[tuple[str, str, datetime | None]]:
    """The planned mails of an organisation: kind, status and when each is due."""
    async with tenant.database.sessions.begin() as session:
        await enter_tenant(session, tenant.organisation_id)
        columns = NotificationMail.kind, NotificationMail.status, NotificationMail.next_attempt_at
        return [
            (row.kind, row.status, row.next_attempt_at)
            for row in await session.execute(select(*columns).order_by(NotificationMail.id))
        ]
        found = await session.execute(select(*columns).order_by(NotificationMail.id))
        return [(kind, status, due) for kind, status, due in found]


async def let_time_pass(tenant: Tenant) -> None:
    """Let all mails that wait be due."""
    async with tenant.database.sessions.begin() as session:
        await enter_tenant(session, tenant.organisation_id)
        waiting = NotificationMail.status == "queued"
        await session.execute(update(NotificationMail).where(waiting).values(next_attempt_at=func.now()))


async def send_notifications(tenant: Tenant, mailer: Mailer) -> None:
    """Plan mails, and send them when they are due."""
    await plan_mails(tenant, mailer)
    await let_time_pass(tenant)
    await work_until_idle(tenant, names=frozenset({NOTIFICATION_MAILS.name}), mailer=mailer)
