"""Sending in the background: a worker renders the document, attaches it, and hands the mail over."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.core.clock import utc_now
from po_api.core.shared_work import SharedWork
from po_api.db.database import Database, enter_tenant
from po_api.db.leases import INTERRUPTED, Job
from po_api.db.listeners import Listeners
from po_api.db.query import TransactionExecutor
from po_api.db.work import Failure, Hold, Queue, Record, Retry
from po_api.deliveries.domain import DeliveryStatus, has_link, with_link
from po_api.deliveries.events import DeliveryFailed
from po_api.deliveries.links import new_link
from po_api.deliveries.repository import DeliveryRepository, DueMail, OrderState
from po_api.files.queries import FileQueries, SupplierFile
from po_api.mail.domain import ATTEMPTS, DELAYS, MailProblem, NotSent, delay_after
from po_api.mail.messages import Attachment, Mail, enveloped
from po_api.mail.transports import Mailer
from po_api.observability import metrics
from po_api.organisations.queries import OrganisationQueries
from po_api.purchase_orders.delivery_models import Delivery
from po_api.purchase_orders.document_queries import OrderDocumentQueries
from po_api.purchase_orders.document_service import Document
from po_api.purchase_orders.domain import LINKS_KEPT, FileKind, PurchaseOrderStatus
from po_api.purchase_orders.renderings import stored_document

# A mail whose worker has died is sent again ten minutes after the attempt began: that is when the lease ends.
MAILS = Queue(
    "mails",
    Delivery.__table__,
    seconds=570,
    delays=DELAYS,
    attempts=ATTEMPTS,
    at_once=4,
    done=DeliveryStatus.SENT,
    leaves_the_house=True,
    depends_on_others=True,
)
# Exported as 0 from the start, or Prometheus would miss the first increase.
for _problem in MailProblem:
    metrics.MAIL_PROBLEMS.labels(_problem)
# They wait until an operator has changed the configuration and a member retries them.
_HELD = {MailProblem.NOT_CONFIGURED, MailProblem.NOT_ALLOWED}
_DELIVERABLE = {PurchaseOrderStatus.ISSUED, PurchaseOrderStatus.CLOSED}


class MailHandler:
    """Sends the mails of the queue; without a `mailer` they are held.

    `renderings` are those in progress in this process; with `is_filed`, documents that are stored here are filed.
    `listeners` are told of mails that have failed.
    """

    def __init__(
        self,
        database: Database,
        mailer: Mailer | None,
        renderings: SharedWork[bytes],
        listeners: Listeners,
        *,
        is_filed: bool,
    ) -> None:
        self._database = database
        self._mailer = mailer
        self._renderings = renderings
        self._listeners = listeners
        self._is_filed = is_filed

    async def perform(self, job: Job) -> Record:
        try:
            sent = await self._send(job)
        except NotSent as error:
            metrics.MAIL_PROBLEMS.labels(error.problem).inc()
            raise _outcome(job, error) from None

        async def record(session: AsyncSession) -> None:
            if sent.refused:
                repository = DeliveryRepository(session, job.organisation_id)
                await repository.note_error(job.id, MailProblem.RECIPIENTS_REFUSED, "; ".join(sent.refused))
            await _record(session, job, "send", sent.values())

        return record

    async def failed(self, session: AsyncSession, job: Job, code: str) -> None:
        """The order shows it, and the feed tells it."""
        due = await DeliveryRepository(session, job.organisation_id).due(job.id)
        after = {"status": "failed", "purchase_order_id": due.purchase_order_id, "error_code": code}
        await _record(session, job, "fail", after)
        failed = DeliveryFailed(job.actor, job.id, due.purchase_order_id, due.requested_by_id, due.queued_at, code)
        await self._listeners.notify(session, failed)

    async def _send(self, job: Job) -> "_Sent":
        mailer = self._mailer
        if mailer is None:
            raise NotSent(MailProblem.NOT_CONFIGURED)
        due = await self._due(job)
        document = await stored_document(
            self._database, job.actor, self._renderings, due.purchase_order_id, as_issued=True, is_filed=self._is_filed
        )
        link, electronic, others = await self._prepare(job, due, document, mailer.public_url)
        mail = Mail(
            sender=mailer.sender,
            to=due.to_addresses,
            cc=due.cc_addresses,
            reply_to=due.reply_to,
            subject=due.subject,
            body=with_link(due.body, link),
            locale=due.locale,
            message_id=due.message_id,
            date=utc_now(),
            files=_files(document, electronic, others),
        )
        refused = await mailer.transport.send(enveloped(mail))
        digest = None if electronic is None else _digest(electronic)
        return _Sent(due.purchase_order_id, tuple(refused), digest, tuple(file.digest for file in others))

    async def _due(self, job: Job) -> DueMail:
        async with self._in_tenant(job) as session:
            organisation = await OrganisationQueries(TransactionExecutor(session)).own(job.actor)
            due = await DeliveryRepository(session, job.organisation_id).due(job.id)
        if organisation.mail_per_day is None:
            raise NotSent(MailProblem.NOT_ALLOWED)
        _require_deliverable(due.order, due)
        return due

    async def _prepare(
        self, job: Job, due: DueMail, document: Document, public_url: str | None
    ) -> tuple[str | None, bytes | None, Sequence[SupplierFile]]:
        """Keep the digest of the document, and add a link if the text has one; returns its address, the electronic
        order that was stored with the document, and the files for the supplier.

        Each attempt has a link of its own, since no secret is stored: that of an attempt before is valid, too, if its
        mail has arrived.
        """
        async with self._in_tenant(job) as session:
            repository = DeliveryRepository(session, job.organisation_id)
            # Rendering takes time, and what ends the order meanwhile finds no link to end.
            order = await repository.locked_order(due.purchase_order_id)
            _require_deliverable(order, due)
            if not await repository.keep_digest(job, _digest(document.content)):
                raise Retry(INTERRUPTED)
            files = OrderDocumentQueries(TransactionExecutor(session), job.actor)
            electronic = await files.stored(due.purchase_order_id, due.revision, FileKind.ELECTRONIC)
            attached = FileQueries(TransactionExecutor(session), job.actor)
            others = await attached.for_supplier(due.purchase_order_id, due.revision)
            if public_url is None or not has_link(due.body):
                return None, electronic, others
            address, token_digest = new_link(public_url, job.organisation_id)
            ends = utc_now() + LINKS_KEPT if order.status == PurchaseOrderStatus.CLOSED else None
            await repository.add_link(job.id, token_digest, expires_at=ends)
        return address, electronic, others

    @asynccontextmanager
    async def _in_tenant(self, job: Job) -> AsyncIterator[AsyncSession]:
        async with self._database.sessions.begin() as session:
            await enter_tenant(session, job.organisation_id)
            yield session


@dataclass(frozen=True)
class _Sent:
    """What was sent: `refused` are the recipients that a server did not take, with its answers.

    The digest of the document is on the delivery, those of the electronic order and of the files for the supplier, if
    there are any, in its event.
    """

    purchase_order_id: int
    refused: tuple[str, ...]
    electronic_digest: str | None
    file_digests: tuple[str, ...]

    def values(self) -> dict[str, object]:
        """What the event of the delivery says."""
        always = {"status": str(DeliveryStatus.SENT), "purchase_order_id": self.purchase_order_id}
        others = {
            "refused": len(self.refused),
            "electronic_digest": self.electronic_digest,
            "file_digests": self.file_digests,
        }
        return {**always, **{name: value for name, value in others.items() if value}}


def _files(document: Document, electronic: bytes | None, others: Sequence[SupplierFile]) -> list[Attachment]:
    files = [Attachment(document.name, "application/pdf", document.content)]
    if electronic is not None:
        files.append(Attachment(f"{document.name.removesuffix('.pdf')}.xml", "application/xml", electronic))
    return [*files, *(Attachment(file.name, file.media_type, file.content) for file in others)]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _require_deliverable(order: OrderState, due: DueMail) -> None:
    if order.status not in _DELIVERABLE or order.revision != due.revision:
        raise NotSent(MailProblem.ORDER_NOT_DELIVERABLE, is_final=True)


def _outcome(job: Job, error: NotSent) -> Exception:
    if error.problem in _HELD:
        return Hold(error.problem, error.detail)
    if error.is_final:
        return Failure(error.problem, error.detail)
    return Retry(error.problem, error.detail, after=delay_after(job.attempts))


async def _record(session: AsyncSession, job: Job, action: str, after: dict[str, object]) -> None:
    change = audit.Change(f"delivery.{action}", "delivery", job.id, {"status": "queued"}, after)
    await audit.record(session, job.actor, change)
