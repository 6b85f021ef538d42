"""The purchase orders' rows that are changed, as one member of one organisation may see them."""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Insert, LargeBinary, Update, and_, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.core.actor import Actor
from po_api.db.bulk_write import Rows, combine, insert_from, json_rows, update_from
from po_api.db.query import ORGANISATION_ID, Query, TransactionExecutor
from po_api.purchase_orders.models import Allocation, PurchaseOrder, PurchaseOrderFile, PurchaseOrderLine
from po_api.purchase_orders.queries import sees_all, visible
from po_api.users.service import user_name

_ORDERS, _LINES, _ALLOCATIONS = PurchaseOrder.__table__, PurchaseOrderLine.__table__, Allocation.__table__
_FILES = PurchaseOrderFile.__table__

_SUPPLIER = ("supplier_id", "supplier_name", "supplier_email", "supplier_tax_id", "supplier_address")
_TOTALS = ("currency", "tax_rounding", "net", "tax", "total")
_TERMS = ("terms", "delivery_address")
_ROWS_OF_ORDER = json_rows("orders", *_ORDERS.c[("created_by_id", *_SUPPLIER, *_TOTALS, *_TERMS)])
_PRICES = ("quantity", "unit", "unit_price", "discount_percent", "tax_rate", "net")
_OF_LINE = ("position", "description", "sku", "needed_by", *_PRICES)
_ROWS_OF_LINES = json_rows("lines", *_LINES.c[_OF_LINE], _ALLOCATIONS.c.porf_line_id)

# What becomes of an order's own columns.
_STATE = ("status", "number", "issued_at", *_TERMS)
_ROWS_OF_STATE = json_rows("orders", _ORDERS.c.id, *_ORDERS.c[_STATE])
_ROWS_OF_FILE = json_rows("files", *_FILES.c["purchase_order_id", "revision", "digest"])
_ORDER_ID = bindparam("order_id", type_=BigInteger)


def _creation() -> Query:
    """An order with its lines, what they take of the requests' lines, and its event; the answer is its id."""
    order = insert_from(_ORDERS, _ROWS_OF_ORDER).returning(PurchaseOrder.id).cte("added_order")
    wanted = select(_ROWS_OF_LINES).cte("wanted")
    lines = (
        insert_from(_LINES, wanted, purchase_order_id=order.c.id)
        .returning(PurchaseOrderLine.id, PurchaseOrderLine.position)
        .cte("added_lines")
    )
    taken = (
        select(lines.c.id.label("purchase_order_line_id"), wanted.c.porf_line_id, wanted.c.quantity)
        .join_from(lines, wanted, wanted.c.position == lines.c.position)
        .subquery("taken")
    )
    allocations = insert_from(_ALLOCATIONS, taken).cte("added_allocations")
    event = audit.events(entity_id=order.c.id).cte("added_event")
    return Query("purchase_orders.create", select(order.c.id).add_cte(allocations, event))


def _change(name: str, *more: Insert | Update) -> Query:
    return combine(name, update_from(_ORDERS, _ROWS_OF_STATE, version=PurchaseOrder.version + 1), audit.events(), *more)


def _release() -> Update:
    """Give back what the order holds of its requests."""
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


_CREATED, _CHANGED, _CANCELLED = (
    _creation(),
    _change("purchase_orders.change"),
    _change("purchase_orders.cancel", _release()),
)
_ISSUED = _change(
    "purchase_orders.issue", insert_from(_FILES, _ROWS_OF_FILE, content=bindparam("content", type_=LargeBinary))
)


@cache
def _locked(*, sees_all: bool) -> Query:
    """The order, locked, and who made it."""
    statement = select(_ORDERS, user_name(PurchaseOrder.created_by_id).label("created_by_name"))
    chosen = statement.where(visible(sees_all=sees_all), PurchaseOrder.id == _ORDER_ID)
    return Query("purchase_orders.lock", chosen.with_for_update(of=_ORDERS, key_share=True))


class PurchaseOrderRepository:
    """Named questions about one organisation's orders; each starts from what the member may see."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._executor = TransactionExecutor(session)
        self._actor = actor

    async def locked(self, order_id: int) -> Any:
        """The order's columns and `created_by_name`, locked; None if there is none to be seen."""
        question = _locked(sees_all=sees_all(self._actor))
        who = {"organisation_id": self._actor.organisation_id, "user_id": self._actor.user_id}
        return await self._executor.row(question, **who, order_id=order_id)

    async def create(self, order: Mapping[str, Any], lines: Rows, change: audit.Change, *, now: datetime) -> int:
        """Add an order with its lines, each with the `porf_line_id` that it takes from; returns the order's id."""
        rows = {"orders": [order], "lines": lines}
        row = await audit.write(self._executor, self._actor, _CREATED, [change], now=now, rows=rows)
        return int(row.id)

    async def change(self, state: Mapping[str, Any], change: audit.Change, *, now: datetime) -> None:
        """Write the `state_of` a locked order, which makes a version."""
        rows = {"orders": [state]}
        await audit.write(self._executor, self._actor, _CHANGED, [change], now=now, rows=rows)

    async def cancel(self, state: Mapping[str, Any], change: audit.Change, *, now: datetime) -> None:
        """The same of an order that gives back what it holds."""
        rows, order_id = {"orders": [state]}, state["id"]
        await audit.write(self._executor, self._actor, _CANCELLED, [change], now=now, rows=rows, order_id=order_id)

    async def issue(
        self, state: Mapping[str, Any], file: Mapping[str, Any], content: bytes, change: audit.Change, *, now: datetime
    ) -> None:
        """The same of an order that gets its document."""
        rows = {"orders": [state], "files": [file]}
        await audit.write(self._executor, self._actor, _ISSUED, [change], now=now, rows=rows, content=content)


def state_of(order: Any, **changed: Any) -> dict[str, Any]:
    """What is written of an order that changes: its own columns, some of them changed."""
    return {"id": order.id, **{name: getattr(order, name) for name in _STATE}, **changed}
