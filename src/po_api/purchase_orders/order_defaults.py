"""Terms and addresses that neither an order nor its requests and supplier have: those of the organisation."""

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import FromClause, case, func, select

from po_api.addresses.domain import AddressKind
from po_api.addresses.projections import default_address_id
from po_api.core.records import field_names
from po_api.db.query import ORGANISATION_ID, AnyColumn, Query
from po_api.organisations.models import Organisation

_ORGANISATIONS = Organisation.__table__
# Columns of which an order has either its own or all of the organisation's.
_TOGETHER = (("terms",), ("buyer_reference",), ("payment_days", "payment_terms"), ("incoterms", "incoterms_place"))
_DELIVERY = ("delivery_address_id", "delivery_address")


class OrderDefaults(NamedTuple):
    """The organisation's values for the columns of an order."""

    terms: str | None
    buyer_reference: str | None
    payment_days: int | None
    payment_terms: str | None
    incoterms: str | None
    incoterms_place: str | None
    delivery_address_id: int | None


def _own(name: str) -> AnyColumn:
    if name == "delivery_address_id":
        return default_address_id(AddressKind.DELIVERY)
    return _ORGANISATIONS.c["default_terms" if name == "terms" else name]


# For a distributed database, where the statement that inserts an order cannot read other tables.
DEFAULTS = Query(
    "purchase_orders.defaults",
    select(*(_own(name).label(name) for name in field_names(OrderDefaults))).where(
        _ORGANISATIONS.c.id == ORGANISATION_ID
    ),
    OrderDefaults,
)


def completed(order: Mapping[str, object], defaults: OrderDefaults) -> dict[str, object]:
    """The row of a new order with what it lacks."""
    own = defaults._asdict()
    missing = [names for names in _TOGETHER if all(order[name] is None for name in names)]
    if all(order[name] is None for name in _DELIVERY):
        missing.append(("delivery_address_id",))
    return {**order, **{name: own[name] for names in missing for name in names}}


def completed_columns(rows: FromClause) -> dict[str, AnyColumn]:
    """The same for the rows that a statement inserts."""

    def own(name: str) -> AnyColumn:
        if name == "delivery_address_id":
            return _own(name)
        return select(_own(name)).where(_ORGANISATIONS.c.id == ORGANISATION_ID).scalar_subquery()

    def unless_given(given: tuple[str, ...], names: tuple[str, ...]) -> dict[str, AnyColumn]:
        is_missing = func.num_nonnulls(*(rows.c[name] for name in given)) == 0
        return {name: case((is_missing, own(name)), else_=rows.c[name]) for name in names}

    found = unless_given(_DELIVERY, ("delivery_address_id",))
    for names in _TOGETHER:
        found |= unless_given(names, names)
    return found
