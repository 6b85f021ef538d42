"""What can be ordered of a request at most: all of its lines, each with the tolerance. In Python and in SQL.

Approval limits are compared with this amount in the base currency. From the submission on it is stored; for drafts it
is computed with the tolerance and the rate that submitting would give them. A test compares both forms. Several orders
may differ from it by rounding: less than a minor unit for each line and tax rate of each order.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Protocol

from sqlalchemy import ColumnElement, FromClause, and_, case, func, select, type_coerce

from po_api.core.money import PricedLine, TaxRounding, totals
from po_api.db.fences import fenced
from po_api.db.models import Amount, Percent
from po_api.db.money_sql import add_percent, in_base_currency, line_net, minor_units, tax_at_rate
from po_api.db.query import ORGANISATION_ID
from po_api.exchange_rates.projections import rate_now
from po_api.organisations.models import Organisation
from po_api.porfs.amounts import Priced
from po_api.porfs.domain import PorfStatus, Tolerated, largest_quantity
from po_api.porfs.models import PorfLine


class TolerantLine(Tolerated, Priced, Protocol):
    """The attributes of a line that determine the amount."""


def maximum_total(lines: Iterable[TolerantLine], *, currency: str, tax_rounding: str) -> Decimal:
    """The total of one order of all lines, each with its tolerance."""
    largest = (
        PricedLine(largest_quantity(line), line.unit_price, line.discount_percent, line.tax_rate) for line in lines
    )
    return totals(largest, currency=currency, tax_rounding=TaxRounding(tax_rounding)).total


def amounts_of(porf: FromClause, *needed: ColumnElement[bool]) -> FromClause:
    """One row with `maximum_total` and `base_ceiling` of the requests of `porf`, in a statement that joins their
    Organisation; none where they are not `needed`. To join LEFT on true."""
    largest = fenced(select(maximum_of(porf).label("maximum_total")).correlate_except(None), "largest")
    maximum = type_coerce(largest.c.maximum_total, Amount)
    found = select(maximum.label("maximum_total"), _ceiling(porf, maximum).label("base_ceiling"))
    return fenced(found.select_from(largest).where(*needed).correlate_except(largest), "amounts")


def maximum_of(porf: FromClause) -> ColumnElement[Decimal]:
    """`maximum_total` of the requests of `porf`, in a statement that joins their Organisation."""
    is_draft = porf.c.status == PorfStatus.DRAFT
    return type_coerce(
        case(
            (and_(is_draft, Organisation.over_order_percent == 0), porf.c.total),
            # Null in requests that the version before revision 028 submitted.
            (and_(~is_draft, porf.c.maximum_total.is_not(None)), porf.c.maximum_total),
            else_=_computed(porf),
        ),
        Amount,
    )


def tolerance_of(porf: FromClause) -> ColumnElement[Decimal]:
    """The tolerance of the requests of `porf`, in a statement that joins their Organisation."""
    of_lines = select(func.max(PorfLine.over_order_percent)).where(_of(porf)).correlate(porf).scalar_subquery()
    submitted = func.coalesce(porf.c.over_order_percent, of_lines, 0)
    tolerance = case((porf.c.status == PorfStatus.DRAFT, Organisation.over_order_percent), else_=submitted)
    return type_coerce(tolerance, Percent)


def ceiling_of(porf: FromClause) -> ColumnElement[Decimal | None]:
    """`maximum_total` in the base currency, at the present rate for drafts; NULL where no rate is or was known.

    For requests in the base currency it does not depend on what was stored at the submission.
    """
    return _ceiling(porf, maximum_of(porf))


def _ceiling(porf: FromClause, maximum: ColumnElement[Decimal]) -> ColumnElement[Decimal | None]:
    is_fixed = and_(porf.c.status != PorfStatus.DRAFT, porf.c.currency != Organisation.currency)
    present = in_base_currency(maximum, rate_now(porf), digits=minor_units(Organisation.currency))
    return type_coerce(case((is_fixed, porf.c.base_ceiling), else_=present), Amount)


def _computed(porf: FromClause) -> ColumnElement[Decimal]:
    line = PorfLine.__table__.c
    # The scale of an amount is that of its currency.
    digits = func.scale(porf.c.total)
    tolerance = case(
        (porf.c.status == PorfStatus.DRAFT, Organisation.over_order_percent), else_=line.over_order_percent
    )
    quantity = add_percent(line.quantity, tolerance)
    net = line_net(quantity, line.unit_price, line.discount_percent, digits=digits)
    tax = tax_at_rate(net, line.tax_rate, tax_rounding=porf.c.tax_rounding, digits=digits)
    by_rate = (
        select((func.sum(net) + tax).label("total"))
        .where(_of(porf))
        .group_by(line.tax_rate)
        .correlate(porf, Organisation)
        .subquery("by_rate")
    )
    return func.coalesce(select(func.sum(by_rate.c.total)).scalar_subquery(), porf.c.total)


def _of(porf: FromClause) -> ColumnElement[bool]:
    return and_(PorfLine.organisation_id == ORGANISATION_ID, PorfLine.porf_id == porf.c.id)
