"""Projections of orders: their representations, and the part of an order that a requester sees.

A requester sees the lines of their own requests, with totals, dates and cost centres of those. `seen_orders` has the
columns of `purchase_orders` with these values, so that lists sort, filter and page by them, too.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cache

from sqlalchemy import (
    ColumnElement,
    FromClause,
    SQLColumnExpression,
    Text,
    and_,
    case,
    false,
    func,
    literal_column,
    not_,
    null,
    or_,
    select,
    true,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by, array

from po_api.addresses.domain import AddressKind
from po_api.addresses.projections import address_json, default_address_json
from po_api.core.parties import PARTY_FIELDS
from po_api.db.json_sql import columns_of, json_object, nested
from po_api.db.leases import WorkStatus
from po_api.db.models import Amount
from po_api.db.money_sql import in_base_currency, line_net, tax_at_rate
from po_api.db.query import ORGANISATION_ID, USER_ID, AnyColumn, AnySelect
from po_api.exchange_rates.projections import draft_lacks_rate
from po_api.members.projections import member_name
from po_api.organisations.models import Organisation
from po_api.porfs.models import Porf, PorfLine
from po_api.purchase_orders.delivery_models import Delivery, DeliveryLink
from po_api.purchase_orders.domain import DocumentStatus, FileKind, OrderDeliveryStatus, PurchaseOrderStatus
from po_api.purchase_orders.limits import request_over_limit
from po_api.purchase_orders.models import (
    Allocation,
    DocumentFiling,
    DocumentRendering,
    PurchaseOrder,
    PurchaseOrderFile,
    PurchaseOrderLine,
)
from po_api.suppliers.identity import FIRST_FIELDS
from po_api.suppliers.models import Supplier
from po_api.suppliers.projections import digest_sql, keeps_identity, supplier_is_active, supplier_value

ORDERS, LINES = PurchaseOrder.__table__, PurchaseOrderLine.__table__
# The lines that a requester sees, in a statement from `lines_with_requests`.
IS_OWN = Porf.requester_id == USER_ID

# The columns that a requester sees the totals of their own lines in.
_AMOUNTS = ("net", "tax", "total")
# What an order says about delivery and payment besides its text fields.
TRADE_TERMS = (
    *("delivery_address_id", "payment_days", "payment_terms", "incoterms", "incoterms_place"),
    "buyer_reference",
)
_OF_BUYER = (*PARTY_FIELDS, "name", "tax_id", "address")
_OF_SUPPLIER = (*_OF_BUYER, "email", "currency")
# The parts of the supplier snapshot that a draft takes from its supplier.
_CONTACT = ("email", "address")


def lines_with_requests() -> FromClause:
    """The lines of orders joined with the requests' lines that they are allocated from.

    A statement also has to compare the organisation of the lines.
    """
    of_line = and_(
        Allocation.organisation_id == ORGANISATION_ID, Allocation.purchase_order_line_id == PurchaseOrderLine.id
    )
    of_porf_line = and_(PorfLine.organisation_id == ORGANISATION_ID, PorfLine.id == Allocation.porf_line_id)
    of_porf = and_(Porf.organisation_id == ORGANISATION_ID, Porf.id == PorfLine.porf_id)
    return LINES.join(Allocation, of_line).join(PorfLine, of_porf_line).join(Porf, of_porf)


def of_order(orders: FromClause) -> ColumnElement[bool]:
    """The lines of the order of the outer query."""
    return and_(
        PurchaseOrderLine.organisation_id == ORGANISATION_ID,
        PurchaseOrderLine.purchase_order_id == orders.c.id,
    )


def has_line(orders: FromClause, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether the order of the outer query has a line for which the conditions are true."""
    lines = select(true()).select_from(lines_with_requests())
    return lines.where(of_order(orders), *conditions).correlate(orders).exists()


def hides_lines(orders: FromClause) -> ColumnElement[bool]:
    """Whether the order of the outer query has lines that a requester does not see."""
    return has_line(orders, Porf.requester_id.is_distinct_from(USER_ID))


@cache
def seen_orders(*, sees_all: bool) -> FromClause:
    """The orders of an organisation to list: all, or a requester's with the amounts that they see."""
    if sees_all:
        return ORDERS
    columns = [
        _seen_amount(column.name, ORDERS).label(column.name) if column.name in _AMOUNTS else column
        for column in ORDERS.c
    ]
    seen = select(*columns).where(PurchaseOrder.organisation_id == ORGANISATION_ID, has_line(ORDERS, IS_OWN))
    return seen.subquery("orders_of_requester")


def _seen_amount(name: str, orders: FromClause) -> AnyColumn:
    amounts = _seen_amounts(orders)
    return type_coerce(amounts.with_only_columns(amounts.selected_columns[name]).scalar_subquery(), Amount)


def _seen_amounts(orders: FromClause) -> AnySelect:
    """The totals of the lines that a requester sees; `net` of `orders` has the decimals of the currency."""
    net, rate = PurchaseOrderLine.net, PurchaseOrderLine.tax_rate
    tax = tax_at_rate(net, rate, tax_rounding=orders.c.tax_rounding, digits=func.scale(orders.c.net))
    by_rate = (
        select(func.sum(net).label("net"), tax.label("tax"))
        .select_from(lines_with_requests())
        .where(of_order(orders), IS_OWN)
        .group_by(rate)
        .correlate(orders)
        .lateral("by_rate")
    )
    nets, taxes = func.sum(by_rate.c.net), func.sum(by_rate.c.tax)
    amounts = {"net": nets, "tax": taxes, "total": nets + taxes}
    return select(*(type_coerce(amount, Amount).label(name) for name, amount in amounts.items())).correlate(orders)


def seen_base_amount(name: str, orders: FromClause, *, sees_all: bool) -> AnyColumn:
    """`net` or `total` in the base currency, at the rate of the order; NULL without one."""
    whole = orders.c[f"base_{name}"]
    if sees_all:
        return whole
    seen = in_base_currency(_seen_amount(name, orders), orders.c.base_rate, digits=func.scale(whole))
    return type_coerce(seen, Amount)


def _seen_facts(orders: FromClause) -> AnySelect:
    """What an order says about its lines, of those that a requester sees."""
    cost_centre = PurchaseOrderLine.cost_centre.collate("C")
    cost_centres = func.array_agg(aggregate_order_by(cost_centre.distinct(), cost_centre))
    found = cost_centres.filter(PurchaseOrderLine.cost_centre.is_not(None))
    return (
        select(
            func.count().label("line_count"),
            func.min(PurchaseOrderLine.needed_by).label("delivery_date"),
            func.coalesce(found, array([], type_=Text)).label("cost_centres"),
        )
        .select_from(lines_with_requests())
        .where(of_order(orders), IS_OWN)
        .correlate(orders)
    )


def _about_lines(orders: FromClause, *, sees_all: bool) -> tuple[FromClause, Mapping[str, SQLColumnExpression[object]]]:
    """The orders with what they say about their lines, and that by name."""
    if sees_all:
        count = select(func.count()).select_from(LINES).where(of_order(orders)).correlate(orders).scalar_subquery()
        names = (*_AMOUNTS, "cost_centres", "delivery_date")
        return orders, {**columns_of(orders, names), "line_count": count, "is_partial": false()}
    amounts = _seen_amounts(orders).lateral("amounts")
    facts = _seen_facts(orders).lateral("facts")
    source = orders.join(amounts, true()).join(facts, true())
    return source, {**dict(amounts.c), **dict(facts.c), "is_partial": hides_lines(orders)}


def supplier_contact(orders: FromClause) -> dict[str, SQLColumnExpression[object]]:
    """The supplier's contact data by column: of a draft those of its supplier, of any other order its snapshot."""
    is_draft = orders.c.status == PurchaseOrderStatus.DRAFT
    columns = {f"supplier_{name}": supplier_value(orders.c.supplier_id, name) for name in _CONTACT}
    return {column: case((is_draft, current), else_=orders.c[column]) for column, current in columns.items()}


def parties(orders: FromClause) -> ColumnElement[str | None]:
    """Buyer, supplier, delivery and billing address as JSON: of a draft as they are now, of any other order as frozen.

    NULL for an order that was frozen before revision 036.
    """
    now = {
        "buyer": _party_json(Organisation.__table__, _OF_BUYER, Organisation.id == ORGANISATION_ID),
        "supplier": _supplier_json(orders),
        "delivery": address_json(orders.c.delivery_address_id),
        "billing": default_address_json(AddressKind.BILLING),
    }
    item, text = json_object("parties_now", {name: nested(part) for name, part in now.items()})
    current = select(text).select_from(item).correlate(orders).scalar_subquery()
    is_draft = orders.c.status == PurchaseOrderStatus.DRAFT
    return case((is_draft, current), else_=orders.c.parties)


def _party_json(table: FromClause, names: Sequence[str], *conditions: ColumnElement[bool]) -> ColumnElement[str]:
    item, text = json_object("party", columns_of(table, names))
    return select(text).select_from(table.join(item, true())).where(*conditions).scalar_subquery()


def _supplier_json(orders: FromClause) -> ColumnElement[str]:
    item, text = json_object("party", columns_of(Supplier.__table__, _OF_SUPPLIER))
    found = select(text).select_from(Supplier.__table__.join(item, true()))
    found = found.where(Supplier.organisation_id == ORGANISATION_ID, Supplier.id == orders.c.supplier_id)
    return found.correlate(orders).scalar_subquery()


def details(orders: FromClause, *, sees_all: bool) -> dict[str, SQLColumnExpression[object]]:
    """The fields of an order that are not in its summary, but for its lines, taxes, parties and warnings."""
    contact = supplier_contact(orders)
    return {
        "supplier_email": contact["supplier_email"],
        "supplier_tax_id": orders.c.supplier_tax_id,
        "supplier_address": contact["supplier_address"],
        "supplier_is_frozen": orders.c.status != PurchaseOrderStatus.DRAFT,
        "tax_rounding": orders.c.tax_rounding,
        **columns_of(orders, ("base_currency", "base_rate", "base_rate_date")),
        "base_net": seen_base_amount("net", orders, sees_all=sees_all),
        **columns_of(orders, ("terms", "delivery_address", *TRADE_TERMS)),
    }


def rendering_of(orders: FromClause) -> FromClause:
    """The rendering of the document of the order of the outer query; an order may have none."""
    return (
        select(DocumentRendering.status, DocumentRendering.attempts, DocumentRendering.error_code)
        .where(
            DocumentRendering.organisation_id == ORGANISATION_ID,
            DocumentRendering.purchase_order_id == orders.c.id,
            DocumentRendering.revision == orders.c.revision,
            DocumentRendering.kind == file_kind(orders.c.status == PurchaseOrderStatus.CANCELLED),
        )
        .correlate(orders)
        .lateral("rendering")
    )


def filing_of(orders: FromClause) -> FromClause:
    """Where the document of the order of the outer query is filed; an order may have no row."""
    return (
        select(DocumentFiling.finished_at.label("filed_at"), DocumentFiling.url.label("filed_url"))
        .join_from(
            PurchaseOrderFile,
            DocumentFiling,
            and_(DocumentFiling.organisation_id == ORGANISATION_ID, DocumentFiling.file_id == PurchaseOrderFile.id),
        )
        .where(
            PurchaseOrderFile.organisation_id == ORGANISATION_ID,
            PurchaseOrderFile.purchase_order_id == orders.c.id,
            PurchaseOrderFile.revision == orders.c.revision,
            PurchaseOrderFile.kind == file_kind(orders.c.status == PurchaseOrderStatus.CANCELLED),
            DocumentFiling.status == str(WorkStatus.DONE),
        )
        .correlate(orders)
        .lateral("filing")
    )


def _was_viewed(orders: FromClause) -> ColumnElement[bool]:
    """Whether a link of the revision in force, of any of its deliveries, was confirmed."""
    theirs = Delivery.__table__.alias("linked_deliveries")
    found = select(true()).where(
        DeliveryLink.organisation_id == ORGANISATION_ID,
        DeliveryLink.viewed_at.is_not(None),
        theirs.c.organisation_id == ORGANISATION_ID,
        theirs.c.id == DeliveryLink.delivery_id,
        theirs.c.purchase_order_id == orders.c.id,
        theirs.c.revision == orders.c.revision,
    )
    return found.correlate(orders).exists()


def delivery_status(orders: FromClause) -> ColumnElement[str]:
    """The `OrderDeliveryStatus` of the order of the outer query."""
    waits = Delivery.status.in_((str(WorkStatus.QUEUED), str(WorkStatus.HELD)))
    shown = case(
        (waits, str(OrderDeliveryStatus.QUEUED)),
        (and_(Delivery.status == "sent", _was_viewed(orders)), str(OrderDeliveryStatus.VIEWED)),
        (Delivery.status == "sent", str(OrderDeliveryStatus.SENT)),
        else_=str(OrderDeliveryStatus.FAILED),
    )
    last = (
        select(shown)
        .where(
            Delivery.organisation_id == ORGANISATION_ID,
            Delivery.purchase_order_id == orders.c.id,
            Delivery.revision == orders.c.revision,
            Delivery.status != str(WorkStatus.CANCELLED),
        )
        .order_by(Delivery.id.desc())
        .limit(1)
        .correlate(orders)
        .scalar_subquery()
    )
    return type_coerce(func.coalesce(last, str(OrderDeliveryStatus.NOT_SENT)), Text)


def file_kind(is_cancelled: ColumnElement[bool]) -> ColumnElement[str]:
    """The kind of the document of an order."""
    cancelled, issued = (literal_column(f"'{kind}'", Text) for kind in (FileKind.CANCELLED, FileKind.ISSUED))
    return case((is_cancelled, cancelled), else_=issued)


def about_document(
    orders: FromClause, rendering: FromClause, filing: FromClause
) -> dict[str, SQLColumnExpression[object]]:
    """The state of an order's document."""
    unless_stored = {WorkStatus.QUEUED: DocumentStatus.DUE, WorkStatus.FAILED: DocumentStatus.FAILED}
    status = case(
        (orders.c.number.is_(None), null()),
        *((rendering.c.status == str(found), str(shown)) for found, shown in unless_stored.items()),
        else_=str(DocumentStatus.STORED),
    )
    return {
        "document_status": type_coerce(status, Text),
        "document_attempts": func.coalesce(rendering.c.attempts, 0),
        "document_error": rendering.c.error_code,
        **dict(filing.c),
    }


def facts_of(orders: FromClause) -> list[AnyColumn]:
    """The columns of `PurchaseOrderFacts`."""
    return [
        orders.c.status,
        supplier_is_active(orders.c.supplier_id).label("supplier_is_active"),
        supplier_has_changed(orders).label("supplier_has_changed"),
        orders.c.currency,
        draft_lacks_rate(orders).label("lacks_rate"),
        # New orders have what was approved. Reading all lines of large drafts would slow down lists.
        or_(
            case((orders.c.version > 1, exceeds_approved(orders)), else_=false()),
            over_limit(orders).is_not(None),
        ).label("exceeds_approved"),
    ]


def approved_net(orders: FromClause) -> ColumnElement[Decimal]:
    """The net that the quantities of an order have at the prices and discounts of their requests."""
    # The scale of an amount is that of its currency.
    digits = func.scale(orders.c.net)
    net = line_net(Allocation.quantity, PorfLine.unit_price, PorfLine.discount_percent, digits=digits)
    approved = select(func.coalesce(func.sum(net), 0)).select_from(lines_with_requests()).where(of_order(orders))
    return type_coerce(approved.correlate(orders).scalar_subquery(), Amount)


def exceeds_approved(orders: FromClause) -> ColumnElement[bool]:
    """Whether the net of a draft is further above the approved one than the organisation permits; false for others."""
    percent = select(Organisation.order_price_percent).where(Organisation.id == ORGANISATION_ID).scalar_subquery()
    exceeds = orders.c.net * 100 > approved_net(orders) * (100 + percent)
    return case((orders.c.status == PurchaseOrderStatus.DRAFT, exceeds), else_=false())


def over_limit(orders: FromClause) -> ColumnElement[str | None]:
    """`request_over_limit` of a draft that was changed; NULL for others."""
    is_changed = and_(orders.c.status == PurchaseOrderStatus.DRAFT, orders.c.version > 1)
    return case((is_changed, request_over_limit(orders)), else_=null())


def supplier_has_changed(orders: FromClause) -> ColumnElement[bool]:
    """Whether a draft's supplier has another identity than at its creation; false for other orders."""
    first = digest_sql(*(orders.c[f"supplier_{name}"] for name in FIRST_FIELDS))
    keeps = keeps_identity(orders.c.supplier_id, func.coalesce(orders.c.supplier_hash, first))
    is_draft = orders.c.status == PurchaseOrderStatus.DRAFT
    return case((is_draft, not_(func.coalesce(keeps, false()))), else_=false())


def summary(orders: FromClause, *, sees_all: bool) -> AnySelect:
    """The facts for the guards, then `item`: the summary without the allowed actions."""
    source, about_lines = _about_lines(orders, sees_all=sees_all)
    fields = {
        **columns_of(orders, ("id", "number", "status", "revision", "supplier_id", "supplier_name", "currency")),
        **{name: about_lines[name] for name in _AMOUNTS},
        "base_total": seen_base_amount("total", orders, sees_all=sees_all),
        **{name: about_lines[name] for name in ("line_count", "is_partial", "cost_centres", "delivery_date")},
        "delivery_status": delivery_status(orders),
        "created_by_id": orders.c.created_by_id,
        "created_by_name": member_name(orders.c.created_by_id),
        **columns_of(orders, ("version", "issued_at", "created_at", "updated_at")),
    }
    item, text = json_object("item", fields)
    return select(*facts_of(orders), text.label("item")).select_from(source).join(item, true())
