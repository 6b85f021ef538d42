"""What buyers do about deliveries: send an order, record that it was sent, retry, cancel, note a bounce."""

from collections.abc import Mapping
from json import loads

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.parties import Language, PartySnapshot
from po_api.core.permissions import Permission
from po_api.core.versions import ExpectedVersions
from po_api.db.leases import WorkStatus
from po_api.db.listeners import ChangeWarning
from po_api.db.query import TransactionExecutor
from po_api.db.wakeups import notify_after_commit
from po_api.deliveries import errors
from po_api.deliveries.domain import (
    RETRYABLE,
    Channel,
    Contact,
    DeliveryStatus,
    OrderFacts,
    body_of,
    recipients_of,
    subject_of,
)
from po_api.deliveries.mailings import MAILS
from po_api.deliveries.queries import DeliveryQueries, DeliveryRow
from po_api.deliveries.repository import DeliveryRepository, is_being_sent
from po_api.deliveries.templates import texts_in
from po_api.mail.domain import new_message_id, seconds_until_midnight
from po_api.mail.quota import count_mail
from po_api.organisations.queries import OrganisationQueries, OrganisationRow
from po_api.purchase_orders.delivery_models import Delivery
from po_api.purchase_orders.events import DeliveryRequest, OrderIssued
from po_api.purchase_orders.service import PurchaseOrderService
from po_api.suppliers.queries import SupplierQueries


class DeliveryService:
    """Changes the deliveries of the actor's organisation (buyers, admins); it flushes, the caller commits.

    `sender` is the address that mails come from; None if this installation sends none.
    """

    def __init__(self, session: AsyncSession, actor: Actor, *, sender: str | None) -> None:
        self._session = session
        self._actor = actor
        self._sender = sender
        executor = TransactionExecutor(session)
        self._orders = PurchaseOrderService(session, actor)
        self._organisations = OrganisationQueries(executor)
        self._suppliers = SupplierQueries(executor, actor)
        self._repository = DeliveryRepository(session, actor.organisation_id)
        self._queries = DeliveryQueries(executor, actor)

    async def send(self, order_id: int, request: DeliveryRequest, *, expected: ExpectedVersions) -> DeliveryRow:
        """Queue a mail with an issued order to its supplier. A worker sends it after the commit.

        Raises MailNotConfigured, MailNotAllowed, UnknownRecipient, TooManyRecipients, NoRecipient or MailQuotaExceeded.
        """
        order = await self._orders.locked_for_delivery(order_id, expected=expected)
        assert order.number is not None
        organisation, sender = await self._require_mail()
        contacts = [Contact(*row) for row in await self._suppliers.order_contacts(order.supplier_id)]
        allows_others = organisation.allow_other_recipients
        recipients = recipients_of(request, contacts, order.supplier_email, allows_others=allows_others)
        locale = request.locale or _language(order.parties, organisation)
        texts = texts_in(locale, organisation.mail_templates)
        facts = OrderFacts(
            order.number, order.revision, order.supplier_name, order.total, order.currency, order.delivery_date
        )
        delivery = self._new(order_id, order.revision, Channel.EMAIL)
        delivery.to_addresses, delivery.cc_addresses = [*recipients.to], [*recipients.cc]
        delivery.reply_to, delivery.locale = await self._repository.address_of(delivery.requested_by_id), locale
        delivery.subject = request.subject or subject_of(texts.subject, facts, locale)
        delivery.body = body_of(texts.body, facts, locale, message=request.message)
        delivery.message_id = new_message_id(sender)
        delivery.next_attempt_at = delivery.queued_at
        await self._count_mail(organisation)
        return await self._add(delivery, {"to": delivery.to_addresses, "cc": delivery.cc_addresses})

    async def record(self, order_id: int, message: str, *, expected: ExpectedVersions) -> DeliveryRow:
        """Record that the actor has told the supplier; `message` names the person and the way."""
        order = await self._orders.locked_for_delivery(order_id, expected=expected)
        delivery = self._new(order_id, order.revision, Channel.MANUAL)
        delivery.status, delivery.body, delivery.finished_at = DeliveryStatus.SENT, message, delivery.queued_at
        return await self._add(delivery, {})

    async def retry(self, delivery_id: int) -> DeliveryRow:
        """Send a mail again that has failed, has bounced or is held, with the same Message-ID.

        Raises DeliveryNotFound, OrderNotDeliverable, DeliveryNotRetryable, and what `send` raises about mail.
        """
        self._actor.require(Permission.DELIVERIES_WRITE)
        found = await self._queries.get(delivery_id)
        # Orders are locked before their deliveries.
        order = await self._orders.locked_for_delivery(found.purchase_order_id, expected=None)
        delivery = await self._locked(delivery_id)
        if delivery.status not in RETRYABLE:
            raise errors.DeliveryNotRetryable
        if order.revision != delivery.revision:
            raise errors.OrderNotDeliverable
        organisation, _ = await self._require_mail()
        await self._count_mail(organisation)
        before = {"status": delivery.status, "error_code": delivery.error_code}
        delivery.status, delivery.attempts = WorkStatus.QUEUED, 0
        delivery.queued_at = delivery.next_attempt_at = utc_now()
        delivery.error_code = delivery.error_detail = delivery.finished_at = delivery.bounced_at = None
        await self._record("retry", delivery, before)
        notify_after_commit(self._session, MAILS.name)
        return await self._queries.get(delivery_id)

    async def cancel(self, delivery_id: int) -> DeliveryRow:
        """Do not send a mail that waits in the queue. Raises DeliveryNotFound or DeliveryNotCancellable."""
        delivery, now = await self._locked(delivery_id), utc_now()
        if delivery.status not in {DeliveryStatus.QUEUED, DeliveryStatus.HELD} or is_being_sent(delivery, now):
            raise errors.DeliveryNotCancellable
        before = {"status": delivery.status}
        delivery.status, delivery.finished_at = DeliveryStatus.CANCELLED, now
        delivery.next_attempt_at = delivery.leased_until = None
        await self._record("cancel", delivery, before)
        return await self._queries.get(delivery_id)

    async def mark_bounced(self, delivery_id: int) -> DeliveryRow:
        """Note that a mail came back: its links end, also if it is sent again. Raises DeliveryNotFound or
        DeliveryNotSent."""
        delivery = await self._locked(delivery_id)
        if delivery.status != DeliveryStatus.SENT or delivery.channel != Channel.EMAIL:
            raise errors.DeliveryNotSent
        delivery.status, delivery.bounced_at = DeliveryStatus.BOUNCED, utc_now()
        await self._repository.end_links(delivery_id)
        await self._record("mark_bounced", delivery, {"status": str(DeliveryStatus.SENT)})
        return await self._queries.get(delivery_id)

    async def _require_mail(self) -> tuple[OrganisationRow, str]:
        """The organisation, which may send mail, and the sender."""
        if self._sender is None:
            raise errors.MailNotConfigured
        organisation = await self._organisations.own(self._actor)
        if organisation.mail_per_day is None:
            raise errors.MailNotAllowed
        return organisation, self._sender

    async def _count_mail(self, organisation: OrganisationRow) -> None:
        now = utc_now()
        executor, per_day = TransactionExecutor(self._session), organisation.mail_per_day or 0
        if not await count_mail(executor, self._actor.organisation_id, now.date(), per_day=per_day):
            raise errors.MailQuotaExceeded(headers={"Retry-After": str(seconds_until_midnight(now))})

    def _new(self, order_id: int, revision: int, channel: Channel) -> Delivery:
        now = utc_now()
        return Delivery(
            organisation_id=self._actor.organisation_id,
            purchase_order_id=order_id,
            revision=revision,
            channel=channel,
            requested_by_id=self._actor.member_id,
            queued_at=now,
            created_at=now,
        )

    async def _add(self, delivery: Delivery, values: Mapping[str, object]) -> DeliveryRow:
        self._session.add(delivery)
        await self._session.flush()
        await self._record("create", delivery, None, channel=delivery.channel, **values)
        if delivery.channel == Channel.EMAIL:
            notify_after_commit(self._session, MAILS.name)
        return await self._queries.get(delivery.id)

    async def _locked(self, delivery_id: int) -> Delivery:
        self._actor.require(Permission.DELIVERIES_WRITE)
        delivery = await self._repository.locked(delivery_id)
        if delivery is None:
            raise errors.DeliveryNotFound
        return delivery

    async def _record(
        self, action: str, delivery: Delivery, before: Mapping[str, object] | None, **values: object
    ) -> None:
        after = {"status": delivery.status, "purchase_order_id": delivery.purchase_order_id, **values}
        change = audit.Change(f"delivery.{action}", "delivery", delivery.id, before, after)
        await audit.record(self._session, self._actor, change)


def _language(parties: str | None, organisation: OrganisationRow) -> Language:
    """The supplier's language, or else the organisation's."""
    supplier: PartySnapshot = {} if parties is None else loads(parties)["supplier"]
    return Language(supplier.get("language") or organisation.language or Language.ENGLISH)


async def send_issued(session: AsyncSession, event: OrderIssued, *, sender: str | None) -> list[ChangeWarning]:
    """Queue the mail that was requested with the issue of an order, if one was."""
    if event.delivery is None:
        return []
    service = DeliveryService(session, event.actor, sender=sender)
    await service.send(event.order_id, event.delivery, expected=None)
    return []
