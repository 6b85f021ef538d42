"""Reading orders, restricted to those that are visible to the member."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache, partial
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    FromClause,
    Integer,
    SQLColumnExpression,
    and_,
    bindparam,
    case,
    false,
    func,
    literal_column,
    not_,
    select,
    true,
)

from po_api.audit import AuditEvent
from po_api.core.actor import Actor
from po_api.core.permissions import Permission
from po_api.core.records import field_names
from po_api.db.filters import Filters, attribute_of, compare, condition
from po_api.db.json_sql import columns_of, json_array, json_object
from po_api.db.pagination import Counts, Listing, PageOf, PageRequest
from po_api.db.query import ORGANISATION_ID, AnySelect, PlanCacheMode, Query, QueryExecutor, R
from po_api.db.search import Search, spaced
from po_api.members.projections import member_name
from po_api.porfs.content import LINE_FIELDS, LineContent
from po_api.porfs.models import Porf
from po_api.porfs.queries import DocumentRow
from po_api.purchase_orders.domain import FileKind, PurchaseOrderFacts, PurchaseOrderStatus
from po_api.purchase_orders.models import (
    Allocation,
    PurchaseOrder,
    PurchaseOrderFile,
    PurchaseOrderLine,
    PurchaseOrderSheet,
)
from po_api.purchase_orders.projections import (
    IS_OWN,
    LINES,
    ORDERS,
    details,
    facts_of,
    has_line,
    hides_lines,
    lines_with_requests,
    of_order,
    seen_orders,
    summary,
    supplier_contact,
)

SORTS = ("created_at", "updated_at", "total")

_SHEETS = PurchaseOrderSheet.__table__
# Filters by what an order has a line of: the columns that they look at.
_OF_LINES: Mapping[str, ColumnElement[Any]] = {
    "porf_id": Porf.__table__.c.id,
    "requester_id": Porf.__table__.c.requester_id,
    "cost_centre": LINES.c.cost_centre,
    "needed_by": LINES.c.needed_by,
}
_ORDER_ID = bindparam("order_id", type_=BigInteger)


class OrderSummaryRow(NamedTuple):
    """The facts for the guards, and the summary without the allowed actions, as JSON."""

    status: str
    supplier_is_active: bool
    supplier_has_changed: bool
    currency: str
    item: str


@dataclass(frozen=True)
class OrderDocumentRow(DocumentRow):
    """An order as a whole; the facts and `item` as in `OrderSummaryRow`, the supplier's particulars for warnings."""

    supplier_tax_id: str | None
    supplier_address: str | None
    status: str
    supplier_is_active: bool
    supplier_has_changed: bool
    item: str


@dataclass(frozen=True)
class OrderLineRow(LineContent):
    """A line with the request's line that it is allocated from."""

    position: int
    net: Decimal
    cost_centre: str | None
    porf_line_id: int
    released_quantity: Decimal
    porf_id: int
    porf_number: str


@dataclass(frozen=True)
class OrderHeaderRow:
    """The printed fields of an order's header. The contact data of a draft are those of its supplier."""

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
    created_by_name: str


class OrderFileRow(NamedTuple):
    """A document of an order; `content` is None until it is rendered, `number` until the order is issued.

    `hides_lines`: the order has lines that the member does not see.
    """

    hides_lines: bool
    number: str | None
    revision: int
    kind: str
    status: str
    line_count: int
    content: bytes | None


class OrderSheetRow(NamedTuple):
    """What the documents of an order are rendered from.

    The first three are None if a version before revision 027 has issued the order.
    """

    sheet: str | None
    template: int | None
    timezone: str | None
    cancelled_at: datetime | None


def sees_all(actor: Actor) -> bool:
    """Whether the actor sees all orders; requesters only see those with allocations of their requests."""
    return actor.may(Permission.PURCHASE_ORDERS_READ_ALL)


def visible(*, sees_all: bool) -> ColumnElement[bool]:
    """The orders that a member may see: the base of each statement. Parameters: `organisation_id`, `user_id`."""
    mine = PurchaseOrder.organisation_id == ORGANISATION_ID
    if sees_all:
        return mine
    return and_(mine, has_line(ORDERS, IS_OWN))


@dataclass(frozen=True)
class _Chosen:
    """The conditions of a list of orders, without the search; their values are parameters."""

    sees_all: bool
    narrowed_by: frozenset[str]

    def __call__(self) -> AnySelect:
        orders = seen_orders(sees_all=self.sees_all)
        own = sorted(name for name in self.narrowed_by if attribute_of(name) not in _OF_LINES)
        conditions = [condition(orders, name) for name in own]
        # Nobody finds an order by a line that they do not see.
        seen = () if self.sees_all else (IS_OWN,)
        for attribute, value in _OF_LINES.items():
            names = sorted(name for name in self.narrowed_by if attribute_of(name) == attribute)
            if names:
                # Both bounds of a range hold for one line.
                conditions.append(has_line(orders, *(compare(value, name) for name in names), *seen))
        return select(orders).where(orders.c.organisation_id == ORGANISATION_ID, *conditions)


def _words(orders: FromClause) -> ColumnElement[str]:
    return spaced(func.coalesce(orders.c.number, ""), orders.c.supplier_name)


def _texts_of_lines(orders: FromClause, *, sees_all: bool) -> AnySelect:
    """Nobody finds an order by a line that they do not see."""
    texts: AnySelect = select(spaced(PurchaseOrderLine.description, func.coalesce(PurchaseOrderLine.sku, "")))
    conditions = (PurchaseOrderLine.organisation_id == ORGANISATION_ID, of_order(orders))
    if sees_all:
        return texts.where(*conditions)
    return texts.select_from(lines_with_requests()).where(*conditions, IS_OWN)


@cache
def _list(*, sees_all: bool) -> Listing[OrderSummaryRow]:
    lines = partial(_texts_of_lines, sees_all=sees_all)
    return Listing(
        "purchase_orders.list",
        seen_orders(sees_all=sees_all),
        OrderSummaryRow,
        sorts=SORTS,
        default="-created_at",
        show=partial(summary, sees_all=sees_all),
        search=Search(ORDERS, words=_words, lines=lines, sees_all_lines=sees_all),
    )


def _visible_order(*, sees_all: bool) -> FromClause:
    return select(ORDERS).where(visible(sees_all=sees_all), PurchaseOrder.id == _ORDER_ID).subquery("orders")


@cache
def _whole(*, sees_all: bool) -> Query[OrderDocumentRow]:
    order = _visible_order(sees_all=sees_all)
    fields = {
        **columns_of(LINES, ("id", "position", *LINE_FIELDS, "cost_centre", "net")),
        "porf_id": Porf.id,
        "porf_number": Porf.number,
        "porf_title": Porf.title,
        "porf_line_id": Allocation.porf_line_id,
        "released_quantity": Allocation.released_quantity,
    }
    line, text = json_object("line", fields)
    content = (
        select(
            json_array(text, PurchaseOrderLine.position).label("lines"),
            func.array_agg(PurchaseOrderLine.tax_rate).label("rates"),
            func.array_agg(PurchaseOrderLine.net).label("nets"),
        )
        .select_from(lines_with_requests())
        .join(line, true())
        .where(of_order(order), *(() if sees_all else (IS_OWN,)))
        .lateral("content")
    )
    more = details(order)
    item, details_text = json_object("details", more)
    shown = summary(order, sees_all=sees_all)
    own = order.c["id", "version", "currency", "tax_rounding"]
    tax_id, address = more["supplier_tax_id"], more["supplier_address"]
    particulars: list[ColumnElement[Any]] = [tax_id.label("supplier_tax_id"), address.label("supplier_address")]
    others = [column for column in shown.selected_columns if column.name not in own]
    columns = (*content.c, details_text.label("details"), *own, *particulars, *others)
    statement = shown.with_only_columns(*columns).join(content, true()).join(item, true())
    return Query("purchase_orders.whole", statement, OrderDocumentRow)


@cache
def _facts(*, sees_all: bool) -> Query[PurchaseOrderFacts]:
    statement = select(*facts_of(_visible_order(sees_all=sees_all)))
    return Query("purchase_orders.facts", statement, PurchaseOrderFacts)


def _content() -> Query[OrderLineRow]:
    columns: dict[str, SQLColumnExpression[object]] = {
        **columns_of(LINES, (*LINE_FIELDS, "position", "net", "cost_centre")),
        "porf_line_id": Allocation.porf_line_id,
        "released_quantity": Allocation.released_quantity,
        "porf_id": Porf.id,
        "porf_number": Porf.number,
    }
    statement: AnySelect = (
        select(*[column.label(name) for name, column in columns.items()])
        .select_from(lines_with_requests())
        .where(PurchaseOrderLine.organisation_id == ORGANISATION_ID, PurchaseOrderLine.purchase_order_id == _ORDER_ID)
        .order_by(PurchaseOrderLine.position)
    )
    return Query("purchase_orders.content", statement, OrderLineRow)


_CONTENT = _content()


def header_columns(orders: FromClause) -> list[ColumnElement[Any]]:
    """The columns of `OrderHeaderRow`."""
    *own, creator = field_names(OrderHeaderRow)
    contact = supplier_contact(orders)
    columns: list[ColumnElement[Any]] = [contact.get(name, orders.c[name]).label(name) for name in own]
    return [*columns, member_name(orders.c.created_by_id).label(creator)]


@cache
def _header(*, sees_all: bool) -> Query[OrderHeaderRow]:
    statement = select(*header_columns(_visible_order(sees_all=sees_all)))
    return Query("purchase_orders.header", statement, OrderHeaderRow)


@cache
def _document(*, sees_all: bool) -> Query[OrderFileRow]:
    order = _visible_order(sees_all=sees_all)
    is_cancelled = and_(order.c.status == PurchaseOrderStatus.CANCELLED, not_(bindparam("as_issued", type_=Boolean)))
    kind = case((is_cancelled, literal_column(f"'{FileKind.CANCELLED}'")), else_=literal_column(f"'{FileKind.ISSUED}'"))
    content = (
        select(PurchaseOrderFile.content)
        .where(
            PurchaseOrderFile.organisation_id == ORGANISATION_ID,
            PurchaseOrderFile.purchase_order_id == order.c.id,
            PurchaseOrderFile.revision == order.c.revision,
            PurchaseOrderFile.kind == kind,
        )
        .scalar_subquery()
    )
    count = select(func.count()).where(
        PurchaseOrderLine.organisation_id == ORGANISATION_ID, PurchaseOrderLine.purchase_order_id == order.c.id
    )
    hides = false() if sees_all else hides_lines(order)
    columns = (
        hides.label("hides_lines"),
        order.c.number,
        order.c.revision,
        kind.label("kind"),
        order.c.status,
        count.scalar_subquery().label("line_count"),
        content.label("content"),
    )
    return Query("purchase_orders.document", select(*columns), OrderFileRow)


def _sheet() -> Query[OrderSheetRow]:
    """What the documents of one revision of a visible order are rendered from."""
    own = (PurchaseOrderSheet.organisation_id == ORGANISATION_ID, PurchaseOrderSheet.purchase_order_id == _ORDER_ID)
    of_revision = PurchaseOrderSheet.revision == bindparam("revision", type_=Integer)
    sheet = select(*_SHEETS.c["sheet", "template", "timezone"]).where(*own, of_revision).subquery("sheet")
    cancelled_at = select(func.max(AuditEvent.created_at).label("cancelled_at")).where(
        AuditEvent.organisation_id == ORGANISATION_ID,
        AuditEvent.entity == "purchase_order",
        AuditEvent.entity_id == _ORDER_ID,
        AuditEvent.action == "purchase_order.cancel",
    )
    event = cancelled_at.subquery("event")
    statement = select(*sheet.c, *event.c).select_from(event.outerjoin(sheet, true()))
    return Query("purchase_orders.sheet", statement, OrderSheetRow)


_SHEET = _sheet()


class PurchaseOrderQueries:
    """Reads the orders of the actor's organisation that are visible to the member."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._executor = executor
        self._actor = actor
        self._sees_all = sees_all(actor)
        self._who = {"organisation_id": actor.organisation_id, "user_id": actor.user_id}

    async def page(self, filters: Filters, request: PageRequest) -> PageOf[OrderSummaryRow]:
        chosen, parameters = await self._enter(filters)
        return await _list(sees_all=self._sees_all).page(self._executor, chosen, request, parameters)

    async def count(self, filters: Filters, *, limit: int) -> int:
        """The number of orders on the list, at most `limit`."""
        chosen, parameters = await self._enter(filters)
        return await _list(sees_all=self._sees_all).count(self._executor, chosen, parameters, limit=limit)

    async def counts(self, filters: Filters, group_by: str) -> Counts:
        """The numbers of visible orders for each value of a column."""
        chosen, parameters = await self._enter(filters)
        return await _list(sees_all=self._sees_all).counts(self._executor, chosen, group_by, parameters)

    async def whole(self, order_id: int) -> OrderDocumentRow | None:
        """An order as a whole; None if it is not visible to the member."""
        return await self._row(_whole(sees_all=self._sees_all), order_id)

    async def facts(self, order_id: int) -> PurchaseOrderFacts | None:
        """The facts for the guards; None if the order is not visible to the member."""
        return await self._row(_facts(sees_all=self._sees_all), order_id)

    async def header(self, order_id: int) -> OrderHeaderRow | None:
        """The printed fields of the header; None if the order is not visible to the member."""
        return await self._row(_header(sees_all=self._sees_all), order_id)

    async def document(self, order_id: int, *, as_issued: bool) -> OrderFileRow | None:
        """The document of the current revision; None if the order is not visible to the member.

        That of a cancelled order is of the kind `cancelled`, or with `as_issued` the one that it had before.
        """
        return await self._row(_document(sees_all=self._sees_all), order_id, as_issued=as_issued)

    async def sheet(self, order_id: int, revision: int) -> OrderSheetRow:
        """What the documents of a visible order are rendered from."""
        row = await self._row(_SHEET, order_id, revision=revision)
        assert row is not None
        return row

    async def content(self, order_id: int) -> Sequence[OrderLineRow]:
        """The lines of a visible order in the order of their positions."""
        await self._executor.enter_tenant(self._actor.organisation_id)
        return await self._executor.rows(_CONTENT, **self._who, order_id=order_id)

    async def _enter(self, filters: Filters) -> tuple[_Chosen, dict[str, object]]:
        """Enter the tenant for a list; returns its orders, and the parameters of its filters."""
        given = filters.parameters()
        plans = PlanCacheMode.CUSTOM if given else PlanCacheMode.GENERIC
        await self._executor.enter_tenant(self._actor.organisation_id, plan_cache_mode=plans)
        return _Chosen(self._sees_all, frozenset(given) - {"q"}), {**self._who, **given}

    async def _row(self, query: Query[R], order_id: int, **parameters: object) -> R | None:
        await self._executor.enter_tenant(self._actor.organisation_id)
        return await self._executor.row(query, **self._who, **parameters, order_id=order_id)
