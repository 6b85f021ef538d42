"""The work of all features that a worker does."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.audit import feed
from po_api.core.clock import utc_now
from po_api.core.shared_work import SharedWork
from po_api.db.database import Database
from po_api.db.leases import organisations_with_work
from po_api.db.listeners import Listeners
from po_api.db.work import PeriodicTask, Queue, TenantTask, Work
from po_api.deliveries.mailings import MAILS, MailHandler
from po_api.filing import filings
from po_api.filing.destinations import Destination
from po_api.filing.filings import FILINGS, FilingHandler
from po_api.mail.transports import Mailer
from po_api.notifications.mail_planning import INTERVAL, PLAN, organisations_with_notifications, plan_in
from po_api.notifications.mailings import NOTIFICATION_MAILS, NotificationMailHandler
from po_api.notifications.purging import purge as purge_notifications
from po_api.organisations.queries import in_each_organisation
from po_api.porfs.approval_timers import TIMERS, organisations_with_due_timers, run_in
from po_api.porfs.approval_vacancies import fill_all
from po_api.purchase_orders.renderings import RENDERINGS, RenderingHandler, queue_missing
from po_api.sessions.service import SessionService
from po_api.web import idempotency
from po_api.webhooks import deliveries
from po_api.webhooks.deliveries import WEBHOOKS, WebhookHandler
from po_api.webhooks.encryption import SecretCipher
from po_api.webhooks.following import FOLLOW, follow_in, organisations_behind
from po_api.webhooks.sending import Sender

# What ended or was stored before is deleted; also the defaults of the commands.
SESSIONS_KEPT = timedelta(days=30)
RESPONSES_KEPT = timedelta(hours=48)
# The rows of one statement, which has a time-out: after years without purging there may be millions.
BATCH = 10_000

# Seconds. One transaction numbers all events that an organisation has by then: one for each event would cost as much as
# its change. They are to be in the feed within a second.
RELAY_INTERVAL = 0.25
# A relay has five round trips, each of which waits for the requests of the process: one after the other, those of a
# busy minute's organisations would take seconds.
RELAYS_AT_ONCE = 4

QUEUES: Sequence[Queue] = (RENDERINGS, FILINGS, MAILS, WEBHOOKS, NOTIFICATION_MAILS)


def all_work(
    database: Database,
    *,
    secret_key: str,
    renderings: SharedWork[bytes],
    filing: Destination | None,
    mailer: Mailer | None,
    sender: Sender,
    listeners: Listeners,
) -> Work:
    """The work of the application; `renderings` are those of documents that are in progress in this process.

    `filing` is where the documents are filed, `mailer` sends mail, `sender` sends webhooks; `listeners` are those of
    domain events.
    """
    is_filed = filing is not None
    find_unfiled = PeriodicTask("filings.find_missing", timedelta(hours=1), partial(filings.queue_missing, database))
    outbox = partial(organisations_with_work, table="event_outbox")
    plan = partial(plan_in, database, None if mailer is None else mailer.sender)
    return Work(
        queues=(
            (RENDERINGS, RenderingHandler(database, renderings, is_filed=is_filed)),
            (FILINGS, FilingHandler(database, filing)),
            (MAILS, MailHandler(database, mailer, renderings, listeners, is_filed=is_filed)),
            (WEBHOOKS, WebhookHandler(database, sender, SecretCipher(secret_key))),
            (NOTIFICATION_MAILS, NotificationMailHandler(database, mailer)),
        ),
        tenant_tasks=(
            TenantTask(audit.RELAY, outbox, partial(_relay, database), RELAY_INTERVAL, RELAYS_AT_ONCE),
            TenantTask(FOLLOW, organisations_behind, partial(follow_in, database)),
            TenantTask(PLAN, organisations_with_notifications, plan, INTERVAL),
            TenantTask(TIMERS, organisations_with_due_timers, partial(run_in, database, listeners)),
        ),
        periodic_tasks=(
            *((find_unfiled,) if is_filed else ()),
            PeriodicTask("sessions.purge", timedelta(hours=1), partial(_purge_sessions, database, secret_key)),
            PeriodicTask("idempotency_keys.purge", timedelta(hours=1), partial(_purge_responses, database)),
            PeriodicTask("documents.find_missing", timedelta(hours=1), partial(queue_missing, database)),
            PeriodicTask("webhooks.purge", timedelta(hours=1), partial(deliveries.purge, database)),
            PeriodicTask("notifications.purge", timedelta(hours=1), partial(purge_notifications, database)),
            PeriodicTask("approvals.fill_vacancies", timedelta(minutes=1), partial(fill_all, database, listeners)),
            PeriodicTask("events.find_missing", timedelta(hours=1), partial(_queue_events, database)),
        ),
    )


async def _relay(database: Database, organisation_id: int) -> bool:
    """Number events; whoever follows the feed looks at once."""
    found = await feed.relay_in(database, organisation_id)
    if found:
        database.wakeups.notify(FOLLOW)
    return found


async def _purge_sessions(database: Database, secret_key: str) -> int:
    async def purge(session: AsyncSession) -> int:
        return await SessionService(session, key=secret_key).purge(before=utc_now() - SESSIONS_KEPT, most=BATCH)

    return await _in_batches(database, purge)


async def _queue_events(database: Database) -> int:
    return await in_each_organisation(database, feed.queue_missing)


async def _purge_responses(database: Database) -> int:
    async def purge(session: AsyncSession) -> int:
        return await idempotency.purge(session, before=utc_now() - RESPONSES_KEPT, most=BATCH)

    return await _in_batches(database, purge)


async def _in_batches(database: Database, purge: Callable[[AsyncSession], Awaitable[int]]) -> int:
    """Purge in a transaction for each batch, until one is not full."""
    total, deleted = 0, BATCH
    while deleted == BATCH:
        async with database.sessions.begin() as session:
            deleted = await purge(session)
        total += deleted
    return total
