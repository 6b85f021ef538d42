"""Rows of deliveries that are locked and changed."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import BigInteger, Integer, Text, and_, bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.clock import utc_now
from po_api.db.leases import Job
from po_api.db.query import ORGANISATION_ID, NoRow, Query, TransactionExecutor
from po_api.members.models import Member
from po_api.purchase_orders.delivery_models import Delivery, DeliveryLink
from po_api.purchase_orders.models import PurchaseOrder

_ID = bindparam("id", type_=BigInteger)
_IS_OWN = and_(Delivery.organisation_id == ORGANISATION_ID, Delivery.id == _ID)


class OrderState(NamedTuple):
    """What decides whether an order may be sent."""

    status: str
    revision: int


class DueMail(NamedTuple):
    """A mail to send, with the state of its order."""

    purchase_order_id: int
    requested_by_id: int
    queued_at: datetime
    revision: int
    to_addresses: list[str]
    cc_addresses: list[str]
    reply_to: str
    subject: str
    body: str
    locale: str
    message_id: str
    order_status: str
    order_revision: int

    @property
    def order(self) -> OrderState:
        return OrderState(self.order_status, self.order_revision)


class _Address(NamedTuple):
    email: str


class _Key(NamedTuple):
    id: int


_DUE = Query(
    "deliveries.due",
    select(
        Delivery.purchase_order_id,
        Delivery.requested_by_id,
        Delivery.queued_at,
        Delivery.revision,
        Delivery.to_addresses,
        Delivery.cc_addresses,
        Delivery.reply_to,
        Delivery.subject,
        Delivery.body,
        Delivery.locale,
        Delivery.message_id,
        PurchaseOrder.status.label("order_status"),
        PurchaseOrder.revision.label("order_revision"),
    ).where(_IS_OWN, PurchaseOrder.organisation_id == ORGANISATION_ID, PurchaseOrder.id == Delivery.purchase_order_id),
    DueMail,
)
_LOCK_ORDER = Query(
    "deliveries.lock_order",
    select(PurchaseOrder.status, PurchaseOrder.revision)
    .where(PurchaseOrder.organisation_id == ORGANISATION_ID, PurchaseOrder.id == _ID)
    .with_for_update(read=True),
    OrderState,
)
# Earlier than they would, if they end.
_END_LINKS = Query(
    "deliveries.end_links",
    update(DeliveryLink)
    .where(DeliveryLink.organisation_id == ORGANISATION_ID, DeliveryLink.delivery_id == _ID)
    .values(expires_at=func.least(DeliveryLink.expires_at, func.now())),
    NoRow,
)
_KEEP_DIGEST = Query(
    "deliveries.keep_digest",
    update(Delivery)
    .where(
        _IS_OWN,
        Delivery.attempts == bindparam("attempts", type_=Integer),
        Delivery.leased_until == bindparam("leased_until", type_=Delivery.leased_until.type),
    )
    .values(file_digest=bindparam("file_digest", type_=Text))
    .returning(Delivery.id),
    _Key,
)
_ADDRESS = Query(
    "deliveries.address",
    select(Member.email).where(
        Member.organisation_id == ORGANISATION_ID, Member.user_id == bindparam("user_id", type_=BigInteger)
    ),
    _Address,
)
_NOTE_ERROR = Query(
    "deliveries.note_error",
    update(Delivery)
    .where(_IS_OWN)
    .values(error_code=bindparam("error_code", type_=Text), error_detail=bindparam("error_detail", type_=Text))
    .returning(Delivery.id),
    _Key,
)


class DeliveryRepository:
    """The rows of one organisation, whose tenant the session's transaction has entered."""

    def __init__(self, session: AsyncSession, organisation_id: int) -> None:
        self._session = session
        self._executor = TransactionExecutor(session)
        self._tenant = {"organisation_id": organisation_id}

    async def locked(self, delivery_id: int) -> Delivery | None:
        statement = (
            select(Delivery)
            .where(Delivery.organisation_id == self._tenant["organisation_id"], Delivery.id == delivery_id)
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        )
        return (await self._session.scalars(statement)).one_or_none()

    async def address_of(self, user_id: int) -> str:
        """The e-mail address of a member."""
        row = await self._executor.row(_ADDRESS, **self._tenant, user_id=user_id)
        assert row is not None
        return row.email

    async def due(self, delivery_id: int) -> DueMail:
        row = await self._executor.row(_DUE, **self._tenant, id=delivery_id)
        assert row is not None
        return row

    async def locked_order(self, order_id: int) -> OrderState:
        """The state of an order, which stays as it is until the end of the transaction."""
        row = await self._executor.row(_LOCK_ORDER, **self._tenant, id=order_id)
        assert row is not None
        return row

    async def end_links(self, delivery_id: int) -> None:
        """Let the links of a delivery be valid no more."""
        await self._executor.execute(_END_LINKS, **self._tenant, id=delivery_id)

    async def keep_digest(self, job: Job, digest: str) -> bool:
        """Keep the digest of the document that is about to be sent; returns False if another attempt has begun."""
        attempt = {"id": job.id, "attempts": job.attempts, "leased_until": job.leased_until}
        return await self._executor.row(_KEEP_DIGEST, **self._tenant, **attempt, file_digest=digest) is not None

    async def add_link(self, delivery_id: int, token_digest: str, *, expires_at: datetime | None) -> None:
        link = {"delivery_id": delivery_id, "token_digest": token_digest, "expires_at": expires_at}
        self._session.add(DeliveryLink(**self._tenant, **link, created_at=utc_now()))
        await self._session.flush()

    async def note_error(self, delivery_id: int, code: str, detail: str) -> None:
        """Note an error of a mail that was sent to some recipients."""
        await self._executor.row(_NOTE_ERROR, **self._tenant, id=delivery_id, error_code=code, error_detail=detail)


def is_being_sent(delivery: Delivery, now: datetime) -> bool:
    """Whether a worker holds the delivery."""
    return delivery.leased_until is not None and delivery.leased_until > now
