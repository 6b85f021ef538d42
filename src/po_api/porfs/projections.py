"""How requests are shown: what of their columns makes a representation, and what the guards look at."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    SQLColumnExpression,
    and_,
    bindparam,
    case,
    false,
    func,
    or_,
    select,
    true,
    type_coerce,
)

from po_api.core.permissions import Role
from po_api.db.json_sql import columns_of, json_object
from po_api.db.models import Amount, Quantity
from po_api.db.query import ORGANISATION_ID, USER_ID
from po_api.organisations.models import Organisation
from po_api.porfs.domain import PorfFacts, PorfStatus
from po_api.porfs.models import PorfLine
from po_api.suppliers.models import Supplier
from po_api.users.models import User
from po_api.users.service import user_name

APPROVAL_LIMIT = bindparam("approval_limit", type_=Amount)


def _orderable() -> ColumnElement[Any]:
    """domain.orderable in SQL."""
    with_tolerance = PorfLine.quantity * (1 + PorfLine.over_order_percent / 100)
    return func.trunc(with_tolerance - PorfLine.ordered_quantity - PorfLine.closed_quantity, 4)


def _any(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """No EXISTS: PostgreSQL may answer that by hashing all lines of the organisation, for a page of fifty requests."""
    return func.coalesce(func.bool_or(condition), false())


def of_porf(porf: FromClause) -> ColumnElement[bool]:
    return and_(PorfLine.organisation_id == porf.c.organisation_id, PorfLine.porf_id == porf.c.id)


def _has_approver(porf: FromClause) -> ColumnElement[bool]:
    """Only a draft can be submitted: for the others the question is not asked."""
    someone = eligible_approver(porf).exists()
    return case((porf.c.status == PorfStatus.DRAFT, someone), else_=false())


def eligible_approver(porf: FromClause) -> Select[Any]:
    """Someone active who could approve the request of the outer query, which names its Organisation."""
    approver = User.__table__.alias("approver")
    within = or_(
        approver.c.approval_limit.is_(None),
        and_(approver.c.approval_limit >= porf.c.total, porf.c.currency == Organisation.currency),
    )
    return (
        select(true())
        .select_from(approver)
        .where(
            approver.c.organisation_id == porf.c.organisation_id,
            approver.c.is_active,
            approver.c.roles.contains([Role.APPROVER]),
            or_(approver.c.id != porf.c.requester_id, Organisation.allow_self_approval),
            within,
        )
        .correlate(porf, Organisation)
    )


def _with_lines(porf: FromClause) -> tuple[FromClause, dict[str, SQLColumnExpression[Any]]]:
    """The requests of `porf` with their organisation and what is known of their lines; and what the guards look at."""
    lines = (
        select(
            func.count().label("line_count"),
            _any(PorfLine.ordered_quantity > 0).label("ordered"),
            _any(_orderable() > 0).label("orderable"),
        )
        .where(of_porf(porf))
        .lateral("lines")
    )
    facts = {
        **columns_of(porf, ("status", "requester_id", "currency", "total")),
        "base_currency": Organisation.currency,
        "allow_self_approval": Organisation.allow_self_approval,
        **columns_of(lines, ("line_count", "ordered", "orderable")),
        "submitted": porf.c.submitted_at.is_not(None),
        "has_approver": _has_approver(porf),
    }
    return porf.join(Organisation, Organisation.id == ORGANISATION_ID).join(lines, true()), facts


def with_facts(porf: FromClause) -> Select[Any]:
    """The requests of `porf` with what the guards look at, which comes first and in the order of `PorfFacts`."""
    source, facts = _with_lines(porf)
    columns: Any = (facts[name].label(name) for name in PorfFacts._fields)
    return select(*columns).select_from(source)


def _as_guards_see_it(facts: Mapping[str, SQLColumnExpression[Any]]) -> dict[str, SQLColumnExpression[Any]]:
    """What the guards make of the facts for this member: few requests differ in that (`reading.allowed_actions`)."""
    same = ("status", "allow_self_approval", "ordered", "orderable", "submitted", "has_approver")
    return {
        **{name: facts[name] for name in same},
        "is_own": facts["requester_id"] == USER_ID,
        "in_base_currency": facts["currency"] == facts["base_currency"],
        "within_limit": func.coalesce(facts["total"] <= APPROVAL_LIMIT, true()),
        "has_lines": facts["line_count"] > 0,
    }


def _supplier_name(porf: FromClause) -> ColumnElement[str | None]:
    its_supplier = and_(Supplier.organisation_id == porf.c.organisation_id, Supplier.id == porf.c.supplier_id)
    return select(Supplier.name).where(its_supplier).correlate(porf).scalar_subquery()


def summary(porf: FromClause) -> Select[Any]:
    """`facts` as the guards see them, and `item`: the summary but for its allowed actions."""
    source, known = _with_lines(porf)
    facts, facts_text = json_object("facts", _as_guards_see_it(known))
    fields = {
        **columns_of(porf, ("id", "number", "title", "status", "requester_id")),
        "requester_name": user_name(porf.c.requester_id),
        "supplier_id": porf.c.supplier_id,
        "supplier_name": _supplier_name(porf),
        **columns_of(porf, ("cost_centre", "needed_by", "currency", "net", "tax", "total")),
        "line_count": known["line_count"],
        **columns_of(porf, ("approval_round", "version", "submitted_at", "decided_at", "created_at", "updated_at")),
    }
    item, text = json_object("item", fields)
    columns: Any = facts_text.label("facts"), text.label("item")
    return select(*columns).select_from(source.join(facts, true()).join(item, true()))


def line_object(lines: FromClause) -> tuple[FromClause, ColumnElement[str]]:
    """A line's representation."""
    c = lines.c
    # domain.remaining in SQL
    remaining = type_coerce(func.greatest(c.quantity - c.ordered_quantity - c.closed_quantity, 0), Quantity)
    names = ("id", "position", "description", "sku", "quantity", "unit", "unit_price", "discount_percent", "tax_rate")
    more = ("needed_by", "net", "ordered_quantity", "closed_quantity")
    return json_object("line", {**columns_of(lines, (*names, *more)), "remaining_quantity": remaining})


def line_item(lines: FromClause) -> Select[Any]:
    line, text = line_object(lines)
    return select(text.label("item")).select_from(lines).join(line, true())


def event_item(events: FromClause) -> Select[Any]:
    names = ("before", "after", "request_id", "created_at")
    fields = {
        **columns_of(events, ("id", "action", "actor_id")),
        "actor_name": user_name(events.c.actor_id),
        **columns_of(events, names),
    }
    event, text = json_object("event", fields)
    return select(text.label("item")).select_from(events).join(event, true())


def comment_item(comments: FromClause) -> Select[Any]:
    fields = {
        **columns_of(comments, ("id", "author_id")),
        "author_name": user_name(comments.c.author_id),
        **columns_of(comments, ("text", "created_at")),
    }
    comment, text = json_object("comment", fields)
    return select(text.label("item")).select_from(comments).join(comment, true())
