"""The leases of deliveries: a limited number to each endpoint at the same time, none to one that is deactivated."""

from datetime import timedelta
from functools import cached_property
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    Text,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    literal,
    null,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.orm import InstrumentedAttribute

from po_api.db.leases import Job, Leases
from po_api.db.query import ORGANISATION_ID, Query, QueryExecutor
from po_api.db.work import Queue
from po_api.webhooks.domain import IN_FLIGHT, IN_FLIGHT_FAILING, WebhookDeliveryStatus
from po_api.webhooks.models import WebhookDelivery, WebhookEndpoint


class _EndpointRow(NamedTuple):
    """An endpoint with due deliveries, and how many may be in flight to it."""

    id: int
    is_active: bool
    at_once: int


class _Locked(NamedTuple):
    locked: None


class _Key(NamedTuple):
    id: int


_ROW = WebhookDelivery.__table__.c
_ENDPOINT_ID, _AT_ONCE = bindparam("endpoint_id", type_=BigInteger), bindparam("at_once", type_=Integer)
_IS_DUE = and_(_ROW.next_attempt_at <= func.now(), or_(_ROW.leased_until.is_(None), _ROW.leased_until <= func.now()))


def _in_flight(endpoint_id: ColumnElement[int] | InstrumentedAttribute[int]) -> Select[int]:
    """The number of deliveries to an endpoint that are leased. They are queued: those that are finished, of which there
    may be a month's, are not read."""
    others = WebhookDelivery.__table__.alias("others")
    return select(func.count().label("in_flight")).where(
        others.c.organisation_id == ORGANISATION_ID,
        others.c.endpoint_id == endpoint_id,
        others.c.next_attempt_at.is_not(None),
        others.c.leased_until > func.now(),
    )


def _choosing() -> Query[_EndpointRow]:
    """The endpoint with the fewest deliveries in flight, of those that may have another one."""
    endpoint = WebhookEndpoint
    at_once = case((endpoint.failing_since.is_(None), IN_FLIGHT), else_=IN_FLIGHT_FAILING)
    due = (_ROW.organisation_id == ORGANISATION_ID, _ROW.endpoint_id == endpoint.id, _IS_DUE)
    # Lateral, so that it is counted once.
    in_flight = _in_flight(endpoint.id).lateral("of_endpoint")
    oldest = select(func.min(_ROW.next_attempt_at)).where(*due).correlate(endpoint).scalar_subquery()
    statement = (
        select(endpoint.id, endpoint.is_active, at_once.label("at_once"))
        .join(in_flight, true())
        .where(endpoint.organisation_id == ORGANISATION_ID, exists().where(*due), in_flight.c.in_flight < at_once)
        .order_by(in_flight.c.in_flight, oldest, endpoint.id)
        .limit(1)
    )
    return Query("webhooks.choose_endpoint", statement, _EndpointRow)


_CHOOSE = _choosing()
# In a statement before: those after it see what the transaction that held the lock has taken.
_LOCK = Query(
    "webhooks.lock_leases",
    select(
        func.pg_advisory_xact_lock(
            func.hashtextextended(literal("webhook deliveries ") + cast(ORGANISATION_ID, Text), 0)
        ).label("locked")
    ),
    _Locked,
)
_HOLD = Query(
    "webhooks.hold",
    update(WebhookDelivery)
    .where(
        _ROW.organisation_id == ORGANISATION_ID,
        _ROW.endpoint_id == _ENDPOINT_ID,
        _ROW.number.is_not(None),
        _IS_DUE,
    )
    .values(status=str(WebhookDeliveryStatus.HELD), next_attempt_at=null(), leased_until=null())
    .returning(_ROW.id),
    _Key,
)


class EndpointLeases(Leases):
    """Takes deliveries one after the other in an organisation: two workers would count the same otherwise.

    What is due to a deactivated endpoint is held, but for pings.
    """

    def __init__(self) -> None:
        table = WebhookDelivery.__table__
        super().__init__(table, _ROW.endpoint_id == _ENDPOINT_ID, _in_flight(_ENDPOINT_ID).scalar_subquery() < _AT_ONCE)

    async def take(
        self, executor: QueryExecutor, organisation_id: int, lease: timedelta, *, most: int, **_parameters: object
    ) -> Job | None:
        await executor.row(_LOCK, organisation_id=organisation_id)
        while (endpoint := await executor.row(_CHOOSE, organisation_id=organisation_id)) is not None:
            key = {"endpoint_id": endpoint.id}
            if not endpoint.is_active:
                await executor.rows(_HOLD, organisation_id=organisation_id, **key)
            job = await super().take(executor, organisation_id, lease, most=most, at_once=endpoint.at_once, **key)
            if job is not None or endpoint.is_active:
                return job
        return None


class EndpointQueue(Queue):
    """A queue of deliveries."""

    @cached_property
    def leases(self) -> Leases:
        return EndpointLeases()
