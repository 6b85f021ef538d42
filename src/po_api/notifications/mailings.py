"""Sending in the background: what is still to be told when a mail is due."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import NamedTuple

from sqlalchemy import BigInteger, Integer, any_, bindparam, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.parties import Language
from po_api.core.permissions import Role
from po_api.db.bulk_write import NOW
from po_api.db.database import Database, enter_tenant
from po_api.db.leases import Job
from po_api.db.query import ORGANISATION_ID, NoRow, Query, TransactionExecutor
from po_api.db.work import Failure, Queue, Record, Retry
from po_api.mail.domain import ATTEMPTS, DELAYS, NotSent, delay_after, seconds_until_midnight
from po_api.mail.messages import Mail, enveloped
from po_api.mail.quota import count_mail
from po_api.mail.transports import Mailer
from po_api.members.models import Member
from po_api.notifications.domain import MAX_LISTED, NotifiedEntity
from po_api.notifications.models import Notification, NotificationMail
from po_api.notifications.queries import NotificationQueries, NotificationRow
from po_api.notifications.texts import Item, Letter, digest_of, letter_about
from po_api.observability import metrics
from po_api.organisations.queries import OrganisationQueries, OrganisationRow

NOTIFICATION_MAILS = Queue(
    "notification_mails",
    NotificationMail.__table__,
    seconds=120,
    delays=DELAYS,
    attempts=ATTEMPTS,
    at_once=4,
    leaves_the_house=True,
    depends_on_others=True,
)
# What a digest tells is not older than this: mails were not possible in between.
DIGEST_LOOKS_BACK = timedelta(days=7)


# The addresses of documents in a front end, behind the `#`. Delegations have none.
_PAGES = {NotifiedEntity.PORF: "porf", NotifiedEntity.PURCHASE_ORDER: "order"}


class _DueRow(NamedTuple):
    """A mail that is due, and its recipient as a member."""

    user_id: int
    notification_id: int | None
    message_id: str
    email: str
    roles: list[str]
    is_active: bool


_MAILS = NotificationMail.__table__
_ID = bindparam("id", type_=BigInteger)
_IS_OWN = (NotificationMail.organisation_id == ORGANISATION_ID, NotificationMail.id == _ID)
_DUE = Query(
    "notification_mails.due",
    select(
        *_MAILS.c["user_id", "notification_id", "message_id"], *Member.__table__.c["email", "roles", "is_active"]
    ).where(*_IS_OWN, Member.organisation_id == ORGANISATION_ID, Member.user_id == NotificationMail.user_id),
    _DueRow,
)
_NOTE_ITEMS = Query(
    "notification_mails.note_items",
    update(NotificationMail).where(*_IS_OWN).values(item_count=bindparam("count", type_=Integer)),
    NoRow,
)
_NOTE_MAILED = Query(
    "notifications.note_mailed",
    update(Notification)
    .where(
        Notification.organisation_id == ORGANISATION_ID,
        Notification.id == any_(bindparam("ids", type_=ARRAY(BigInteger))),
    )
    .values(mailed_at=NOW),
    NoRow,
)


class NotificationMailHandler:
    """Sends the mails of the queue. What was read or resolved meanwhile, or is not visible to the member any more, is
    not told; without anything to tell, no mail is sent."""

    def __init__(self, database: Database, mailer: Mailer | None) -> None:
        self._database = database
        self._mailer = mailer

    async def perform(self, job: Job) -> Record:
        due, items, organisation = await self._found(job)
        if items:
            assert self._mailer is not None
            try:
                await self._mailer.transport.send(enveloped(_mail(due, items, organisation, self._mailer)))
            except NotSent as error:
                metrics.MAIL_PROBLEMS.labels(error.problem).inc()
                raise _outcome(job, error) from None
        return partial(_record, job=job, ids=[item.id for item in items[:MAX_LISTED]])

    async def failed(self, session: AsyncSession, job: Job, code: str) -> None:
        """The member sees the notifications in the application."""

    async def _found(self, job: Job) -> tuple[_DueRow, Sequence[NotificationRow], OrganisationRow]:
        """The mail with what is to be told in it, if it may be sent. The mail is counted if there is something to
        tell, at every attempt. Raises Retry at the end of the day's quota."""
        tenant, now = {"organisation_id": job.organisation_id}, utc_now()
        async with self._database.sessions.begin() as session:
            await enter_tenant(session, job.organisation_id)
            executor = TransactionExecutor(session)
            organisation = await OrganisationQueries(executor).own(job.actor)
            due = await executor.row(_DUE, **tenant, id=job.id)
            assert due is not None
            if self._mailer is None or organisation.mail_per_day is None or not due.is_active:
                return due, [], organisation
            member = Actor(job.organisation_id, due.user_id, frozenset(map(Role, due.roles)))
            queries = NotificationQueries(executor, member)
            if due.notification_id is None:
                items = await queries.for_digest(now - DIGEST_LOOKS_BACK)
            else:
                items = await queries.to_mail(due.notification_id)
            if items and not await count_mail(
                executor, job.organisation_id, now.date(), per_day=_share_of(organisation.mail_per_day)
            ):
                raise Retry("mail_quota", after=timedelta(seconds=seconds_until_midnight(now)))
        return due, items, organisation


def _share_of(per_day: int) -> int:
    """How many mails an organisation may have sent when one more about notifications is sent: orders to suppliers come
    first, and half of the day's mails are for them alone."""
    return (per_day + 1) // 2


def _mail(due: _DueRow, items: Sequence[NotificationRow], organisation: OrganisationRow, mailer: Mailer) -> Mail:
    language = Language(organisation.language or Language.ENGLISH)
    letter = _letter(due, [_item(row, mailer.document_url) for row in items], organisation.name, language)
    return Mail(
        sender=mailer.sender,
        to=[due.email],
        cc=[],
        reply_to=None,
        subject=letter.subject,
        body=letter.body,
        locale=language,
        message_id=due.message_id,
        date=utc_now(),
    )


def _letter(due: _DueRow, items: Sequence[Item], organisation: str, language: Language) -> Letter:
    if due.notification_id is None:
        return digest_of(items, organisation, language)
    return letter_about(items[0], language)


def _item(row: NotificationRow, document_url: str | None) -> Item:
    """What a mail says about a notification; without an address of documents there is no link."""
    page = _PAGES.get(NotifiedEntity(row.entity))
    link = None if document_url is None or page is None else f"{document_url}#/{page}/{row.entity_id}"
    return Item(row.kind, row.number or "", row.title, row.actor_name, row.details.get("decision"), link)


def _outcome(job: Job, error: NotSent) -> Exception:
    if error.is_final:
        return Failure(error.problem, error.detail)
    return Retry(error.problem, error.detail, after=delay_after(job.attempts))


async def _record(session: AsyncSession, *, job: Job, ids: Sequence[int]) -> None:
    """Note what the mail has told, so that no other one tells it again."""
    executor, tenant = TransactionExecutor(session), {"organisation_id": job.organisation_id}
    await executor.execute(_NOTE_ITEMS, **tenant, id=job.id, count=len(ids))
    if ids:
        await executor.execute(_NOTE_MAILED, **tenant, ids=list(ids), now=utc_now())
