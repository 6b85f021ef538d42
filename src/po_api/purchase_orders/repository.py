"""Locks and changes rows of orders, restricted to those that are visible to the member."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import NamedTuple

from sqlalchemy import (
    FromClause,
    Insert,
    Integer,
    Text,
    Update,
    and_,
    bindparam,
    case,
    false,
    func,
    select,
)
from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.offload import offload
from po_api.core.records import field_names
from po_api.db.bulk_write import Rows, as_json, combine, insert_from, json_rows, update_from
from po_api.db.plans import DISCARD_PLANS, FEW_LINES
from po_api.db.query import ORGANISATION_ID, AnyColumn, NoRow, Query, TransactionExecutor
from po_api.db.separate_writes import SeparateWrites
from po_api.db.wakeups import notify_after_commit
from po_api.exchange_rates.domain import BaseAmounts
from po_api.exchange_rates.projections import document_rate, lacks_rate
from po_api.files.freezing import freeze_supplier_files
from po_api.organisations.models import Organisation
from po_api.organisations.numbering import Numbering, next_number, taken_number
from po_api.porfs.content import LINE_FIELDS
from po_api.purchase_orders.domain import FileKind, PurchaseOrderStatus
from po_api.purchase_orders.models import (
    Allocation,
    DocumentRendering,
    PurchaseOrder,
    PurchaseOrderLine,
    PurchaseOrderSheet,
)
from po_api.purchase_orders.order_changes import cancel_deliveries, end_links, queue, reallocate, release
from po_api.purchase_orders.order_defaults import DEFAULTS, completed, completed_columns
from po_api.purchase_orders.projections import (
    TRADE_TERMS,
    approved_net,
    exceeds_approved,
    over_limit,
    supplier_has_changed,
)
from po_api.purchase_orders.queries import (
    CHANGEABLE,
    ORDER_ID,
    TAX_CATEGORY,
    OrderHeaderRow,
    header_columns,
    sees_all,
    visible,
)
from po_api.suppliers.projections import supplier_is_active

_ORDERS, _LINES, _ALLOCATIONS = PurchaseOrder.__table__, PurchaseOrderLine.__table__, Allocation.__table__
_OWN = Organisation.__table__.alias("own")
_SHEETS = PurchaseOrderSheet.__table__
_RENDERINGS = DocumentRendering.__table__

_SUPPLIER = ("supplier_id", "supplier_name", "supplier_email", "supplier_tax_id", "supplier_address", "supplier_hash")
_TOTALS = ("currency", "tax_rounding", "net", "tax", "total")
_TERMS = ("terms", "delivery_address", *TRADE_TERMS)
_OF_REQUESTS = ("delivery_date", "cost_centres")
_ROWS_OF_ORDER = json_rows("orders", *_ORDERS.c[("created_by_id", *_SUPPLIER, *_TOTALS, *_TERMS, *_OF_REQUESTS)])
_ROWS_OF_LINES = json_rows(
    "lines", *_LINES.c[("position", *LINE_FIELDS, "cost_centre", "net")], _ALLOCATIONS.c.porf_line_id
)

# The columns of an order that are written after its creation.
_STATE = ("status", "number", "issued_at", "supplier_email", "supplier_address", "parties", *_TERMS)
_ROWS_OF_STATE = json_rows("orders", _ORDERS.c.id, *_ORDERS.c[_STATE])
_ISSUED = (*(name for name in _STATE if name != "number"), *field_names(BaseAmounts))
_ROWS_OF_ISSUED = json_rows("orders", _ORDERS.c.id, *_ORDERS.c[_ISSUED])
_ROWS_OF_PRICED = json_rows("orders", _ORDERS.c.id, *_ORDERS.c[(*_STATE, "net", "tax", "total", "delivery_date")])
_ROWS_OF_LINE = json_rows("lines", _LINES.c.id, *_LINES.c[(*TAX_CATEGORY, *CHANGEABLE, "net")])
_ROWS_OF_DOCUMENT = json_rows("documents", *_RENDERINGS.c["purchase_order_id", "revision"])
_SHEET = ("purchase_order_id", "revision", "template", "timezone", "language", "logo_digest")
_ROWS_OF_SHEET = json_rows("sheets", *_SHEETS.c[_SHEET])


_IS_THE_ORDER = and_(PurchaseOrder.organisation_id == ORGANISATION_ID, PurchaseOrder.id == ORDER_ID)


class CreatedOrder(NamedTuple):
    """The key of a new order."""

    id: int


class _Total(NamedTuple):
    total: int


@dataclass(frozen=True)
class LockedOrder(OrderHeaderRow):
    """An order that is locked until the transaction ends, with its supplier snapshot. The contact data of a draft are
    those of its supplier, which the next change of the order copies into the snapshot.

    The base currency and the rate are those that the issue would take.
    `supplier_is_active` and `supplier_has_changed` are about the supplier, which is not locked: one that is deactivated
    or renamed at the same time counts as deactivated or renamed afterwards.
    """

    supplier_hash: str | None
    version: int
    supplier_is_active: bool
    supplier_has_changed: bool
    lacks_rate: bool
    net: Decimal
    tax: Decimal
    total: Decimal
    base_currency: str
    base_rate: Decimal | None
    base_rate_date: date | None
    base_rate_id: int | None


class ApprovedRow(NamedTuple):
    """How a draft compares with what was approved: `exceeds_net` is about the net, `over_limit` the number of a request
    whose approvers' limits do not permit its part."""

    exceeds_net: bool
    approved_net: Decimal
    over_limit: str | None

    @property
    def is_exceeded(self) -> bool:
        return self.exceeds_net or self.over_limit is not None


def _creation() -> Query[CreatedOrder]:
    """Insert an order with its lines, their allocations and its event."""
    orders = insert_from(_ORDERS, _ROWS_OF_ORDER, **completed_columns(_ROWS_OF_ORDER))
    order = orders.returning(PurchaseOrder.id).cte("added_order")
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


def _written(rows: FromClause, **others: AnyColumn) -> Update:
    """Write the state of the order, which is found by its key: of rows whose number is not known, PostgreSQL expects a
    hundred, for which it may read all orders of the organisation."""
    return update_from(_ORDERS, rows, version=PurchaseOrder.version + 1, **others).where(_IS_THE_ORDER)


def _issue() -> Query[NoRow]:
    """Take the number, write the state with it, and add what the documents are rendered from."""
    number = select(taken_number().c.number).scalar_subquery()
    return combine(
        "purchase_orders.issue",
        _written(_ROWS_OF_ISSUED, number=number),
        audit.insert_events(after={"number": number}),
        insert_from(_SHEETS, _ROWS_OF_SHEET, sheet=bindparam("sheet", type_=Text)),
        queue(FileKind.ISSUED, _ROWS_OF_SHEET),
        freeze_supplier_files(_ROWS_OF_SHEET.c.purchase_order_id, _ROWS_OF_SHEET.c.revision),
    )


def _change(name: str, *more: Insert | Update, rows: FromClause = _ROWS_OF_STATE) -> Query[NoRow]:
    return combine(name, _written(rows), audit.insert_events(), *more)


_CREATE = _creation()
_CHANGE = _change("purchase_orders.change")
_CHANGE_LINE = _change(
    "purchase_orders.change_line", update_from(_LINES, _ROWS_OF_LINE), reallocate(_ROWS_OF_LINE), rows=_ROWS_OF_PRICED
)
_REALLOCATE_ONE = Query("purchase_orders.reallocate", reallocate(_ROWS_OF_LINE), NoRow)
_RELEASE = Query("purchase_orders.release", release(), NoRow)
_CANCEL_DELIVERIES = Query("purchase_orders.cancel_deliveries", cancel_deliveries(), NoRow)
_END_LINKS = Query("purchase_orders.end_links", end_links(), NoRow)
_CANCEL = _change(
    "purchase_orders.cancel",
    release(),
    queue(FileKind.CANCELLED, _ROWS_OF_DOCUMENT),
    cancel_deliveries(),
    end_links(),
)
_CLOSE = _change("purchase_orders.close", end_links())
_ISSUE = _issue()
_FREEZE_FILES = Query(
    "purchase_orders.freeze_files", freeze_supplier_files(ORDER_ID, bindparam("revision", type_=Integer)), NoRow
)
_COUNT = Query(
    "purchase_orders.count",
    select(func.count().label("total")).select_from(_ORDERS).where(PurchaseOrder.organisation_id == ORGANISATION_ID),
    _Total,
)


@cache
def _lock(*, sees_all: bool) -> Query[LockedOrder]:
    is_draft = PurchaseOrder.status == PurchaseOrderStatus.DRAFT
    looked_up = (
        supplier_is_active(_ORDERS.c.supplier_id).label("supplier_is_active"),
        supplier_has_changed(_ORDERS).label("supplier_has_changed"),
        case((is_draft, lacks_rate(_ORDERS, _OWN)), else_=false()).label("lacks_rate"),
    )
    rate = (column.label(name) for name, column in document_rate(_ORDERS, _OWN).items())
    columns = _ORDERS.c["supplier_hash", "version"], looked_up, _ORDERS.c["net", "tax", "total"], rate
    statement = (
        select(*header_columns(_ORDERS), *(column for group in columns for column in group))
        .select_from(_ORDERS.join(_OWN, _OWN.c.id == ORGANISATION_ID))
        .where(visible(sees_all=sees_all), PurchaseOrder.id == ORDER_ID)
        .with_for_update(of=_ORDERS, key_share=True)
    )
    return Query("purchase_orders.lock", statement, LockedOrder)


_APPROVED = Query(
    "purchase_orders.approved",
    select(
        exceeds_approved(_ORDERS).label("exceeds_net"),
        approved_net(_ORDERS).label("approved_net"),
        over_limit(_ORDERS).label("over_limit"),
    ).where(_IS_THE_ORDER),
    ApprovedRow,
)


class PurchaseOrderRepository:
    """The rows of orders of the actor's organisation that are visible to the member."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._executor = TransactionExecutor(session)
        self._actor = actor

    async def lock(self, order_id: int) -> LockedOrder | None:
        """The order, locked; None if it is not visible to the member."""
        who = {"organisation_id": self._actor.organisation_id, "user_id": self._actor.user_id, "now": utc_now()}
        return await self._executor.row(_lock(sees_all=sees_all(self._actor)), **who, order_id=order_id)

    async def approved(self, order_id: int) -> ApprovedRow:
        """How a locked draft compares with what was approved.

        In a statement after the lock: one that waited for it would see the lines as they were before it waited.
        """
        who = {"organisation_id": self._actor.organisation_id, "user_id": self._actor.user_id}
        row = await self._executor.row(_APPROVED, **who, order_id=order_id)
        assert row is not None
        return row

    async def count(self) -> int:
        """The number of all orders of the organisation."""
        counted = await self._executor.row(_COUNT, organisation_id=self._actor.organisation_id)
        assert counted is not None
        return counted.total

    async def create(
        self,
        order: Mapping[str, object],
        lines: Collection[Mapping[str, object]],
        change: audit.Change,
        *,
        now: datetime,
    ) -> int:
        """Insert an order with its lines, each with the `porf_line_id` that it is allocated from; returns its id."""
        if self._executor.is_distributed:
            return await self._create_separately(order, lines, change, now)
        parameters = await offload(len(lines), self._parameters, change, now, orders=[order], lines=lines)
        if len(lines) > FEW_LINES:
            await self._executor.execute(DISCARD_PLANS)
        created = await self._executor.row(_CREATE, **parameters)
        assert created is not None
        notify_after_commit(self._session, audit.RELAY)
        return created.id

    async def _create_separately(
        self, order: Mapping[str, object], lines: Collection[Mapping[str, object]], change: audit.Change, now: datetime
    ) -> int:
        writes = self._separate_writes(now)
        defaults = await self._executor.row(DEFAULTS, organisation_id=self._actor.organisation_id)
        assert defaults is not None
        ((order_id,),) = await writes.insert(_ORDERS, [completed(order, defaults)], "id")
        of_porf_lines = {line["position"]: (line["porf_line_id"], line["quantity"]) for line in lines}
        allocations = []
        for line_id, position in await writes.insert(_LINES, lines, "id", "position", purchase_order_id=order_id):
            porf_line_id, quantity = of_porf_lines[position]
            allocations.append({"purchase_order_line_id": line_id, "porf_line_id": porf_line_id, "quantity": quantity})
        await writes.insert(_ALLOCATIONS, allocations)
        await audit.insert_separately(writes, self._actor, [change], entity_id=order_id)
        return int(order_id)

    async def _change_separately(
        self, state: Mapping[str, object], change: audit.Change, now: datetime
    ) -> SeparateWrites:
        writes = self._separate_writes(now)
        await writes.update(_ORDERS, [state], version=PurchaseOrder.version + 1)
        await audit.insert_separately(writes, self._actor, [change])
        return writes

    async def change(self, state: Mapping[str, object], change: audit.Change, *, now: datetime) -> None:
        """Write the `state_of` a locked order, incrementing its version."""
        if self._executor.is_distributed:
            await self._change_separately(state, change, now)
            return
        await self._executor.execute(_CHANGE, **self._parameters(change, now, orders=[state]))
        notify_after_commit(self._session, audit.RELAY)

    async def change_line(
        self, state: Mapping[str, object], line: Mapping[str, object], change: audit.Change, *, now: datetime
    ) -> None:
        """Write the state as `change` does with the totals, and a line with the quantity that is allocated to it."""
        if self._executor.is_distributed:
            writes = await self._change_separately(state, change, now)
            await writes.update(_LINES, [line])
            mine = {"organisation_id": self._actor.organisation_id}
            await self._executor.execute(_REALLOCATE_ONE, **mine, lines=as_json([line]))
            return
        await self._executor.execute(_CHANGE_LINE, **self._parameters(change, now, orders=[state], lines=[line]))
        notify_after_commit(self._session, audit.RELAY)

    async def cancel(self, state: Mapping[str, object], revision: int, change: audit.Change, *, now: datetime) -> None:
        """Write the state as `change` does, and release all allocations of the order. A draft has no document."""
        documents = [{"purchase_order_id": state["id"], "revision": revision}] if state["number"] else []
        if self._executor.is_distributed:
            writes = await self._change_separately(state, change, now)
            mine = {"organisation_id": self._actor.organisation_id, "order_id": state["id"]}
            await self._executor.execute(_RELEASE, **mine)
            await writes.insert(_RENDERINGS, documents, kind=FileKind.CANCELLED, next_attempt_at=now)
            await self._executor.execute(_CANCEL_DELIVERIES, **mine)
            await self._executor.execute(_END_LINKS, **mine)
            return
        parameters = self._parameters(change, now, orders=[state], documents=documents)
        await self._executor.execute(_CANCEL, **parameters)
        notify_after_commit(self._session, audit.RELAY)

    async def close(self, state: Mapping[str, object], change: audit.Change, *, now: datetime) -> None:
        """Write the state as `change` does, and let the links of the order end."""
        if self._executor.is_distributed:
            await self._change_separately(state, change, now)
            mine = {"organisation_id": self._actor.organisation_id, "order_id": state["id"]}
            await self._executor.execute(_END_LINKS, **mine)
            return
        parameters = self._parameters(change, now, orders=[state])
        await self._executor.execute(_CLOSE, **parameters)
        notify_after_commit(self._session, audit.RELAY)

    async def issue(
        self,
        state: Mapping[str, object],
        frozen: Mapping[str, object],
        sheet: str,
        change: audit.Change,
        *,
        numbering: Numbering,
        now: datetime,
    ) -> None:
        """Write the state as `change` does, with the next number, and what the documents are rendered from; the files
        for the supplier are fixed."""
        if self._executor.is_distributed:
            number = {"number": await next_number(self._executor, self._actor.organisation_id, numbering)}
            numbered = replace(change, after={**(change.after or {}), **number})
            writes = await self._change_separately({**state, **number}, numbered, now)
            await writes.insert(_SHEETS, [frozen], sheet=sheet)
            await writes.insert(_RENDERINGS, [frozen], kind=FileKind.ISSUED, next_attempt_at=now)
            mine = {"organisation_id": self._actor.organisation_id, "order_id": state["id"]}
            await self._executor.execute(_FREEZE_FILES, **mine, revision=frozen["revision"])
            return
        parameters = self._parameters(change, now, orders=[state], sheets=[frozen])
        await self._executor.execute(_ISSUE, **parameters, **vars(numbering), sheet=sheet)
        notify_after_commit(self._session, audit.RELAY)

    def _separate_writes(self, now: datetime) -> SeparateWrites:
        return SeparateWrites(self._session, self._actor.organisation_id, now)

    def _parameters(self, change: audit.Change, now: datetime, **rows: Rows) -> dict[str, object]:
        """The parameters of a statement; a change of an order, not its creation, also has its id."""
        return audit.parameters(self._actor, [change], now=now, rows=rows) | {"order_id": change.entity_id}


def state_of(order: LockedOrder, **changed: object) -> dict[str, object]:
    """The row of an order for `PurchaseOrderRepository.change`, with the columns that changed."""
    return {"id": order.id, **{name: getattr(order, name) for name in _STATE}, **changed}
