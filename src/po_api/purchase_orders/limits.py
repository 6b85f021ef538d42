"""Whether a draft order stays within the limits of those who have approved its requests, in SQL.

A buyer may change prices and tax rates of a draft. Where steps of an approval enforce limits, the order may cost more
than the request by no larger factor than the lowest of these limits was above what could be ordered at most: so all
orders of a request together exceed no limit. The factor has no currency; the rate of the request cancels out.
"""

from sqlalchemy import ColumnElement, FromClause, Text, and_, func, literal_column, or_, select, type_coerce

from po_api.approvals.domain import Decision
from po_api.approvals.models import ApprovalDecision, ApprovalStep
from po_api.db.money_sql import Number, line_net, tax_at_rate
from po_api.db.query import ORGANISATION_ID, AnyColumn, AnySelect
from po_api.porfs.approval_projections import approved_run
from po_api.porfs.models import Porf, PorfLine
from po_api.purchase_orders.models import Allocation, PurchaseOrderLine

_LINES, _ALLOCATIONS, _REQUESTED = PurchaseOrderLine.__table__, Allocation.__table__, PorfLine.__table__


def request_over_limit(orders: FromClause) -> ColumnElement[str | None]:
    """The number of the first request of an order whose approvers' limits do not permit its part of the order; NULL if
    there is none."""
    request = Porf.__table__.alias("limited_request")
    run = approved_run(request)
    # The scale of an amount is that of its currency.
    digits = func.scale(orders.c.net)
    prices = (_REQUESTED.c.unit_price, _REQUESTED.c.discount_percent)
    approved_net = line_net(_ALLOCATIONS.c.quantity, *prices, digits=digits)
    ordered = _gross(orders, request, _LINES.c.net, _LINES.c.tax_rate)
    approved = _gross(orders, request, approved_net, _REQUESTED.c.tax_rate)
    part = select(request.c.number, ordered.label("ordered"), approved.label("approved"))
    found = (
        part.add_columns(
            _lowest_limit(run).label("approval_limit"),
            func.coalesce(run.c.base_ceiling, request.c.base_ceiling).label("ceiling"),
        )
        .select_from(request.join(run, literal_column("true")))
        .where(request.c.organisation_id == ORGANISATION_ID, request.c.id.in_(_requests_of(orders)))
        .correlate(orders)
        .subquery("limited")
    )
    c = found.c
    # Approvals that were carried have the limit of the time when they were given.
    permitted = c.approved * func.greatest(c.approval_limit, c.ceiling)
    exceeds = and_(
        c.approval_limit.is_not(None), c.ordered > c.approved, or_(c.approved == 0, c.ordered * c.ceiling > permitted)
    )
    return type_coerce(select(func.min(c.number)).where(exceeds).scalar_subquery(), Text)


def _lines_of(orders: FromClause, column: AnyColumn) -> AnySelect:
    """A column of the order's lines, with what they are allocated from."""
    of_line = and_(
        _ALLOCATIONS.c.organisation_id == ORGANISATION_ID, _ALLOCATIONS.c.purchase_order_line_id == _LINES.c.id
    )
    of_request = and_(_REQUESTED.c.organisation_id == ORGANISATION_ID, _REQUESTED.c.id == _ALLOCATIONS.c.porf_line_id)
    return (
        select(column)
        .select_from(_LINES.join(_ALLOCATIONS, of_line).join(_REQUESTED, of_request))
        .where(_LINES.c.organisation_id == ORGANISATION_ID, _LINES.c.purchase_order_id == orders.c.id)
    )


def _requests_of(orders: FromClause) -> AnySelect:
    return _lines_of(orders, _REQUESTED.c.porf_id).correlate(orders)


def _gross(orders: FromClause, request: FromClause, net: Number, rate: AnyColumn) -> AnyColumn:
    """Net and tax of the request's part of the order."""
    tax = tax_at_rate(net, rate, tax_rounding=orders.c.tax_rounding, digits=func.scale(orders.c.net))
    by_rate = (
        _lines_of(orders, (func.sum(net) + tax).label("gross"))
        .where(_REQUESTED.c.porf_id == request.c.id)
        .group_by(rate)
        .correlate(orders, request)
        .subquery("by_rate")
    )
    return select(func.sum(by_rate.c.gross)).scalar_subquery()


def _lowest_limit(run: FromClause) -> AnyColumn:
    """The lowest limit that those who have approved the run had, in steps that depend on it; NULL without one."""
    c, step = ApprovalDecision.__table__.c, ApprovalStep.__table__
    of_step = and_(step.c.organisation_id == ORGANISATION_ID, step.c.id == c.step_id, step.c.enforce_limit)
    given = (c.organisation_id == ORGANISATION_ID, c.run_id == run.c.id, c.decision == Decision.APPROVED)
    lowest = select(func.min(c.approver_limit)).join_from(ApprovalDecision, ApprovalStep, of_step).where(*given)
    return lowest.correlate(run).scalar_subquery()
