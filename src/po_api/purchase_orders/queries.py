"""Reading orders, restricted to those that are visible to the member."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache, partial
from json import loads
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    SQLColumnExpression,
    and_,
    bindparam,
    func,
    select,
    true,
)

from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.permissions import Permission
from po_api.core.records import field_names
from po_api.db.filters import Filters, attribute_of, compare, condition
from po_api.db.json_sql import columns_of, in_order, json_object
from po_api.db.pagination import Counts, Listing, PageOf, PageRequest
from po_api.db.query import ORGANISATION_ID, AnyColumn, AnySelect, PlanCacheMode, Query, QueryExecutor, R
from po_api.db.search import Search, spaced
from po_api.external_references.domain import ReferencedEntity
from po_api.external_references.projections import EXTERNAL_FILTERS, has_external_reference
from po_api.members.projections import member_name
from po_api.porfs.content import LINE_FIELDS, LineContent
from po_api.porfs.models import Porf
from po_api.porfs.queries import DocumentRow
from po_api.purchase_orders.domain import PurchaseOrderFacts
from po_api.purchase_orders.models import (
    Allocation,
    PurchaseOrder,
    PurchaseOrderLine,
    PurchaseOrderSheet,
)
from po_api.purchase_orders.projections import (
    IS_OWN,
    LINES,
    ORDERS,
    about_document,
    delivery_status,
    details,
    facts_of,
    filing_of,
    has_line,
    lines_with_requests,
    of_order,
    parties,
    rendering_of,
    seen_orders,
    summary,
    supplier_contact,
)

SORTS = ("created_at", "updated_at", "total")

_SHEETS = PurchaseOrderSheet.__table__
# Filters by what an order has a line of: the columns that they look at.
_OF_LINES: Mapping[str, AnyColumn] = {
    "porf_id": Porf.__table__.c.id,
    "requester_id": Porf.__table__.c.requester_id,
    "cost_centre": LINES.c.cost_centre,
    "cost_centre_id": LINES.c.cost_centre_id,
    "category_id": LINES.c.category_id,
    "needed_by": LINES.c.needed_by,
}
_DELIVERY_STATUS = "delivery_status"
_NOT_COLUMNS = frozenset({*_OF_LINES, _DELIVERY_STATUS})
# What a buyer states about the tax of a line.
TAX_CATEGORY = ("tax_category", "tax_exemption_reason")
# The rest of a line that a buyer may change in a draft.
CHANGEABLE = ("description", "quantity", "unit_price", "discount_percent", "tax_rate", "needed_by")
ORDER_ID = bindparam("order_id", type_=BigInteger)


class OrderSummaryRow(NamedTuple):
    """The facts for the guards, and the summary without the allowed actions, as JSON."""

    status: str
    supplier_is_active: bool
    supplier_has_changed: bool
    currency: str
    lacks_rate: bool
    exceeds_approved: bool
    item: str


@dataclass(frozen=True)
class OrderDocumentRow(DocumentRow):
    """An order as a whole; the facts and `item` as in `OrderSummaryRow`, the supplier's particulars for warnings."""

    supplier_tax_id: str | None
    supplier_address: str | None
    parties: str | None
    status: str
    supplier_is_active: bool
    supplier_has_changed: bool
    lacks_rate: bool
    exceeds_approved: bool
    item: str


@dataclass(frozen=True)
class OrderLineRow(LineContent):
    """A line with the request's line that it is allocated from, and the requester."""

    position: int
    net: Decimal
    cost_centre: str | None
    id: int
    tax_category: str | None
    tax_exemption_reason: str | None
    porf_line_id: int
    released_quantity: Decimal
    porf_id: int
    porf_number: str
    requester_id: int


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
    delivery_address_id: int | None
    payment_days: int | None
    payment_terms: str | None
    incoterms: str | None
    incoterms_place: str | None
    buyer_reference: str | None
    parties: str | None
    delivery_date: date | None
    cost_centres: Sequence[str]
    issued_at: datetime | None
    created_by_name: str

    @property
    def has_endpoints(self) -> bool:
        """Whether buyer and supplier have addresses for electronic orders."""
        parties = {} if self.parties is None else loads(self.parties)
        return all(parties.get(party, {}).get("endpoint_id") for party in ("buyer", "supplier"))


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
        own = sorted(name for name in self.narrowed_by - EXTERNAL_FILTERS if attribute_of(name) not in _NOT_COLUMNS)
        conditions = [condition(orders, name) for name in own]
        of_delivery = sorted(name for name in self.narrowed_by if attribute_of(name) == _DELIVERY_STATUS)
        conditions += [compare(delivery_status(orders), name) for name in of_delivery]
        if external := self.narrowed_by & EXTERNAL_FILTERS:
            conditions.append(has_external_reference(orders, ReferencedEntity.PURCHASE_ORDER, external))
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


def visible_order(*, sees_all: bool) -> FromClause:
    return select(ORDERS).where(visible(sees_all=sees_all), PurchaseOrder.id == ORDER_ID).subquery("orders")


@cache
def _whole(*, sees_all: bool) -> Query[OrderDocumentRow]:
    order = visible_order(sees_all=sees_all)
    fields = {
        **columns_of(LINES, ("id", "position", *LINE_FIELDS, "cost_centre", *TAX_CATEGORY, "net")),
        "porf_id": Porf.id,
        "porf_number": Porf.number,
        "porf_title": Porf.title,
        "porf_line_id": Allocation.porf_line_id,
        "released_quantity": Allocation.released_quantity,
    }
    line, text = json_object("line", fields)
    content = (
        select(
            in_order(text, PurchaseOrderLine.position).label("lines"),
            in_order(PurchaseOrderLine.tax_rate, PurchaseOrderLine.position).label("rates"),
            in_order(PurchaseOrderLine.net, PurchaseOrderLine.position).label("nets"),
        )
        .select_from(lines_with_requests())
        .join(line, true())
        .where(of_order(order), *(() if sees_all else (IS_OWN,)))
        .lateral("content")
    )
    rendering, filing = rendering_of(order), filing_of(order)
    more = details(order, sees_all=sees_all) | about_document(order, rendering, filing)
    item, details_text = json_object("details", more)
    shown = summary(order, sees_all=sees_all)
    own = order.c["id", "version", "currency", "tax_rounding"]
    tax_id, address = more["supplier_tax_id"], more["supplier_address"]
    particulars: list[AnyColumn] = [
        tax_id.label("supplier_tax_id"),
        address.label("supplier_address"),
        parties(order).label("parties"),
    ]
    others = [column for column in shown.selected_columns if column.name not in own]
    base: list[AnyColumn] = [more[name].label(name) for name in ("base_currency", "base_rate", "base_net")]
    columns = (*content.c, details_text.label("details"), *own, *base, *particulars, *others)
    states = shown.with_only_columns(*columns).outerjoin(rendering, true()).outerjoin(filing, true())
    statement = states.join(content, true()).join(item, true())
    return Query("purchase_orders.whole", statement, OrderDocumentRow, one_plan=True)


@cache
def _facts(*, sees_all: bool) -> Query[PurchaseOrderFacts]:
    statement = select(*facts_of(visible_order(sees_all=sees_all)))
    return Query("purchase_orders.facts", statement, PurchaseOrderFacts)


def _content() -> Query[OrderLineRow]:
    columns: dict[str, SQLColumnExpression[object]] = {
        **columns_of(LINES, (*LINE_FIELDS, "position", "net", "cost_centre", "id", *TAX_CATEGORY)),
        "porf_line_id": Allocation.porf_line_id,
        "released_quantity": Allocation.released_quantity,
        "porf_id": Porf.id,
        "porf_number": Porf.number,
        "requester_id": Porf.requester_id,
    }
    statement: AnySelect = (
        select(*[column.label(name) for name, column in columns.items()])
        .select_from(lines_with_requests())
        .where(PurchaseOrderLine.organisation_id == ORGANISATION_ID, PurchaseOrderLine.purchase_order_id == ORDER_ID)
        .order_by(PurchaseOrderLine.position)
    )
    return Query("purchase_orders.content", statement, OrderLineRow)


_CONTENT = _content()


def header_columns(orders: FromClause) -> list[AnyColumn]:
    """The columns of `OrderHeaderRow`."""
    *own, creator = field_names(OrderHeaderRow)
    contact = {**supplier_contact(orders), "parties": parties(orders)}
    columns: list[AnyColumn] = [contact.get(name, orders.c[name]).label(name) for name in own]
    return [*columns, member_name(orders.c.created_by_id).label(creator)]


@cache
def _header(*, sees_all: bool) -> Query[OrderHeaderRow]:
    statement = select(*header_columns(visible_order(sees_all=sees_all)))
    return Query("purchase_orders.header", statement, OrderHeaderRow)


class PurchaseOrderQueries:
    """Reads the orders of the actor's organisation that are visible to the member."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._executor = executor
        self._actor = actor
        self._sees_all = sees_all(actor)

    @property
    def _who(self) -> dict[str, object]:
        """The parameters of all statements."""
        return {
            "organisation_id": self._actor.organisation_id,
            "user_id": self._actor.user_id,
            "now": utc_now(),
        }

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
        # Its rows are found by keys, whatever their values; planning takes longer than executing it.
        await self._executor.enter_tenant(self._actor.organisation_id, plan_cache_mode=PlanCacheMode.GENERIC)
        return await self._row(_whole(sees_all=self._sees_all), order_id)

    async def facts(self, order_id: int) -> PurchaseOrderFacts | None:
        """The facts for the guards; None if the order is not visible to the member."""
        return await self._row(_facts(sees_all=self._sees_all), order_id)

    async def header(self, order_id: int) -> OrderHeaderRow | None:
        """The printed fields of the header; None if the order is not visible to the member."""
        return await self._row(_header(sees_all=self._sees_all), order_id)

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

    async def _row(self, query: Query[R], order_id: int) -> R | None:
        await self._executor.enter_tenant(self._actor.organisation_id)
        return await self._executor.row(query, **self._who, order_id=order_id)
