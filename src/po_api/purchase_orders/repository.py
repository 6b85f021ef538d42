"""Locks and changes rows of orders, restricted to those that are visible to the member."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Insert, LargeBinary, Update, and_, bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.core.actor import Actor
from po_api.core.records import field_names
from po_api.db.bulk_write import Rows, combine, insert_from, json_rows, update_from
from po_api.db.query import ORGANISATION_ID, NoRow, Query, TransactionExecutor
from po_api.members.projections import member_name
from po_api.porfs.content import LINE_FIELDS
from po_api.purchase_orders.models import Allocation, PurchaseOrder, PurchaseOrderFile, PurchaseOrderLine
from po_api.purchase_orders.projections import supplier_contact, supplier_has_changed
from po_api.purchase_orders.queries import sees_all, visible
from po_api.suppliers.projections import supplier_is_active

_ORDERS, _LINES, _ALLOCATIONS = PurchaseOrder.__table__, PurchaseOrderLine.__table__, Allocation.__table__
_FILES = PurchaseOrderFile.__table__

_SUPPLIER = ("supplier_id", "supplier_name", "supplier_email", "supplier_tax_id", "supplier_address")
_TOTALS = ("currency", "tax_rounding", "net", "tax", "total")
_TERMS = ("terms", "delivery_address")
_OF_REQUESTS = ("delivery_date", "cost_centres")
_ROWS_OF_ORDER = json_rows("orders", *_ORDERS.c[("created_by_id", *_SUPPLIER, *_TOTALS, *_TERMS, *_OF_REQUESTS)])
_ROWS_OF_LINES = json_rows(
    "lines", *_LINES.c[("position", *LINE_FIELDS, "cost_centre", "net")], _ALLOCATIONS.c.porf_line_id
)

# The columns of an order that are written after its creation.
_STATE = ("status", "number", "issued_at", "supplier_email", "supplier_address", *_TERMS)
_ROWS_OF_STATE = json_rows("orders", _ORDERS.c.id, *_ORDERS.c[_STATE])
_ROWS_OF_FILE = json_rows("files", *_FILES.c["purchase_order_id", "revision", "digest"])
_ORDER_ID = bindparam("order_id", type_=BigInteger)


class CreatedOrder(NamedTuple):
    """The key of a new order."""

    id: int


class _Total(NamedTuple):
    total: int


class LockedOrder(NamedTuple):
    """An order that is locked until the transaction ends, with its supplier snapshot. The contact data of a draft are
    those of its supplier, which the next change of the order copies into the snapshot.

    `supplier_is_active` and `supplier_has_changed` are about the supplier, which is not locked: one that is deactivated
    or renamed at the same time counts as deactivated or renamed afterwards.
    """

    id: int
    number: str | None
    status: str
    revision: int
    supplier_id: int
    supplier_name: str
    supplier_email: str | None
    supplier_tax_id: str | None
    supplier_address: str | None
    currency: str
    tax_rounding: str
    terms: str | None
    delivery_address: str | None
    delivery_date: date | None
    cost_centres: Sequence[str]
    issued_at: datetime | None
    version: int
    created_by_name: str
    supplier_is_active: bool
    supplier_has_changed: bool


def _creation() -> Query[CreatedOrder]:
    """Insert an order with its lines, their allocations and its event."""
    order = insert_from(_ORDERS, _ROWS_OF_ORDER).returning(PurchaseOrder.id).cte("added_order")
    requested = select(_ROWS_OF_LINES).cte("requested")
    lines = (
        insert_from(_LINES, requested, purchase_order_id=order.c.id)
        .returning(PurchaseOrderLine.id, PurchaseOrderLine.position)
        .cte("added_lines")
    )
    allocated = (
        select(lines.c.id.label("purchase_order_line_id"), requested.c.porf_line_id, requested.c.quantity)
        .join_from(lines, requested, requested.c.position == lines.c.position)
        .subquery("allocated")
    )
    allocations = insert_from(_ALLOCATIONS, allocated).cte("added_allocations")
    event = audit.insert_events(entity_id=order.c.id).cte("added_event")
    return Query("purchase_orders.create", select(order.c.id).add_cte(allocations, event), CreatedOrder)


def _change(name: str, *more: Insert | Update) -> Query[NoRow]:
    state = update_from(_ORDERS, _ROWS_OF_STATE, version=PurchaseOrder.version + 1)
    return combine(name, state, audit.insert_events(), *more)


def _release() -> Update:
    """Release all allocations of the order."""
    of_order = and_(
        PurchaseOrderLine.organisation_id == Allocation.organisation_id,
        PurchaseOrderLine.id == Allocation.purchase_order_line_id,
        PurchaseOrderLine.purchase_order_id == _ORDER_ID,
    )
    return (
        update(Allocation)
        .values(released_quantity=Allocation.quantity)
        .where(Allocation.organisation_id == ORGANISATION_ID, of_order)
    )


_CREATE = _creation()
_CHANGE = _change("purchase_orders.change")
_CANCEL = _change("purchase_orders.cancel", _release())
_ISSUE = _change(
    "purchase_orders.issue", insert_from(_FILES, _ROWS_OF_FILE, content=bindparam("content", type_=LargeBinary))
)


_COUNT = Query(
    "purchase_orders.count",
    select(func.count().label("total")).select_from(_ORDERS).where(PurchaseOrder.organisation_id == ORGANISATION_ID),
    _Total,
)


@cache
def _lock(*, sees_all: bool) -> Query[LockedOrder]:
    *own, creator, is_active, has_changed = field_names(LockedOrder)
    contact = supplier_contact(_ORDERS)
    looked_up = (
        member_name(PurchaseOrder.created_by_id).label(creator),
        supplier_is_active(_ORDERS.c.supplier_id).label(is_active),
        supplier_has_changed(_ORDERS).label(has_changed),
    )
    columns: list[ColumnElement[Any]] = [contact.get(name, _ORDERS.c[name]).label(name) for name in own]
    statement = (
        select(*columns, *looked_up)
        .where(visible(sees_all=sees_all), PurchaseOrder.id == _ORDER_ID)
        .with_for_update(of=_ORDERS, key_share=True)
    )
    return Query("purchase_orders.lock", statement, LockedOrder)


class PurchaseOrderRepository:
    """The rows of orders of the actor's organisation that are visible to the member."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._executor = TransactionExecutor(session)
        self._actor = actor

    async def lock(self, order_id: int) -> LockedOrder | None:
        """The order, locked; None if it is not visible to the member."""
        who = {"organisation_id": self._actor.organisation_id, "user_id": self._actor.user_id}
        return await self._executor.row(_lock(sees_all=sees_all(self._actor)), **who, order_id=order_id)

    async def count(self) -> int:
        """The number of all orders of the organisation."""
        counted = await self._executor.row(_COUNT, organisation_id=self._actor.organisation_id)
        assert counted is not None
        return counted.total

    async def create(self, order: Mapping[str, object], lines: Rows, change: audit.Change, *, now: datetime) -> int:
        """Insert an order with its lines, each with the `porf_line_id` that it is allocated from; returns its id."""
        parameters = self._parameters(change, now, orders=[order], lines=lines)
        created = await self._executor.row(_CREATE, **parameters)
        assert created is not None
        return created.id

    async def change(self, state: Mapping[str, object], change: audit.Change, *, now: datetime) -> None:
        """Write the `state_of` a locked order, incrementing its version."""
        await self._executor.execute(_CHANGE, **self._parameters(change, now, orders=[state]))

    async def cancel(self, state: Mapping[str, object], change: audit.Change, *, now: datetime) -> None:
        """Write the state as `change` does, and release all allocations of the order."""
        parameters = self._parameters(change, now, orders=[state])
        await self._executor.execute(_CANCEL, **parameters, order_id=state["id"])

    async def issue(
        self,
        state: Mapping[str, object],
        file: Mapping[str, object],
        content: bytes,
        change: audit.Change,
        *,
        now: datetime,
    ) -> None:
        """Write the state as `change` does, and store the document."""
        parameters = self._parameters(change, now, orders=[state], files=[file])
        await self._executor.execute(_ISSUE, **parameters, content=content)

    def _parameters(self, change: audit.Change, now: datetime, **rows: Rows) -> dict[str, object]:
        return audit.parameters(self._actor, [change], now=now, rows=rows)


def state_of(order: LockedOrder, **changed: object) -> dict[str, object]:
    """The row of an order for `PurchaseOrderRepository.change`, with the columns that changed."""
    return {"id": order.id, **{name: getattr(order, name) for name in _STATE}, **changed}
