"""Projections of requests: representations, and the facts for the guards."""

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import (
    Boolean,
    ColumnElement,
    FromClause,
    SQLColumnExpression,
    Text,
    and_,
    bindparam,
    case,
    cast,
    false,
    func,
    null,
    or_,
    select,
    true,
    type_coerce,
)

from po_api.approvals.domain import Standing
from po_api.approvals.eligibility import is_author
from po_api.approvals.projections import of_standing, standing
from po_api.core.actor import Actor
from po_api.core.permissions import Permission
from po_api.core.records import field_names
from po_api.db.json_sql import columns_of, json_object, nested
from po_api.db.models import Amount, Quantity
from po_api.db.query import ORGANISATION_ID, USER_ID, AnyColumn, AnySelect
from po_api.exchange_rates.projections import document_rate, lacks_rate
from po_api.members.projections import member_name
from po_api.organisations.models import Organisation
from po_api.porfs.approval_projections import (
    decisions_of,
    has_approver,
    has_policy,
    may_approve_now,
    request_columns,
    supplier_has_changed,
)
from po_api.porfs.content import HEADER_FIELDS, LINE_FIELDS, LISTED_FIELDS
from po_api.porfs.domain import MACHINE, PorfAction, PorfFacts, PorfStatus
from po_api.porfs.maximum import amounts_of, tolerance_of
from po_api.porfs.models import PorfLine
from po_api.porfs.reduced_facts import ReducedFacts
from po_api.suppliers.projections import supplier_hash, supplier_is_active, supplier_of

# What the member may do, by `of_member`.
_MAY_WRITE_ALL, _MAY_DECIDE, _MAY_ORDER = (
    bindparam(name, type_=Boolean) for name in ("may_write_all", "may_decide", "may_order")
)

Columns = Mapping[str, SQLColumnExpression[object]]


def _remaining(lines: FromClause) -> ColumnElement[Decimal]:
    """domain.remaining in SQL."""
    c = lines.c
    return type_coerce(func.greatest(c.quantity - c.ordered_quantity - c.closed_quantity, 0), Quantity)


def _any(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Not EXISTS: PostgreSQL may execute it by hashing all lines of the organisation, for a page of fifty requests."""
    return func.coalesce(func.bool_or(condition), false())


def of_porf(porf: FromClause) -> ColumnElement[bool]:
    return and_(PorfLine.organisation_id == ORGANISATION_ID, PorfLine.porf_id == porf.c.id)


def was_submitted(porf: FromClause) -> ColumnElement[bool]:
    """Whether the request was ever submitted: a later round follows a decision, the current one has its own time."""
    return or_(porf.c.submitted_at.is_not(None), porf.c.approval_round > 1)


def line_facts() -> list[AnyColumn]:
    """What guards look at of the lines of a request, in a statement that selects these."""
    return [
        func.count().label("line_count"),
        _any(PorfLine.ordered_quantity > 0).label("ordered"),
        _any(_remaining(PorfLine.__table__) > 0).label("has_remaining"),
    ]


def with_facts(porf: FromClause) -> AnySelect:
    """The facts of the requests of `porf`: the columns of `PorfFacts`."""
    lines = select(*line_facts()).where(of_porf(porf)).lateral("lines")
    amounts = amounts_of(porf)
    request = request_columns(porf, amounts)
    is_draft, is_pending = (porf.c.status == status for status in (PorfStatus.DRAFT, PorfStatus.PENDING))
    facts = {
        **columns_of(porf, ("status", "requester_id", "author_ids", "currency", "total")),
        "over_order_percent": tolerance_of(porf),
        "maximum_total": amounts.c.maximum_total,
        "base_currency": Organisation.currency,
        "base_ceiling": request.base_ceiling,
        "has_rates": request.has_rates,
        **_rate_of_draft(porf),
        "allow_self_approval": Organisation.allow_self_approval,
        "allow_override": Organisation.allow_override,
        **columns_of(lines, ("line_count", "ordered", "has_remaining")),
        "submitted": was_submitted(porf),
        "has_policy": _if(is_draft, has_policy()),
        "has_approver": _if(is_draft, has_approver(request)),
        "standing": case((is_pending, standing(porf, request)), else_=of_standing(Standing.NONE)),
        "supplier_is_active": supplier_is_active(porf.c.supplier_id),
        "supplier_hash": supplier_hash(porf.c.supplier_id),
        "supplier_has_changed": _if(and_(_is_convertible(porf), lines.c.has_remaining), supplier_has_changed(porf)),
    }
    source = porf.join(Organisation, Organisation.id == ORGANISATION_ID).join(lines, true()).join(amounts, true())
    return select(*[facts[name].label(name) for name in field_names(PorfFacts)]).select_from(source)


def _is_convertible(porf: FromClause) -> ColumnElement[bool]:
    return porf.c.status.in_(sorted(MACHINE.rules[PorfAction.CONVERT].sources))


def _rate_of_draft(porf: FromClause) -> Columns:
    """The rate that submitting would take: evaluated for drafts only."""
    is_draft = porf.c.status == PorfStatus.DRAFT
    rate = document_rate(porf)
    return {
        name: case((is_draft, rate[name]), else_=null()) for name in ("base_rate", "base_rate_date", "base_rate_id")
    }


def fixed_base_amounts(porf: FromClause, *names: str) -> Columns:
    """Base amounts that the submission has fixed, by `names` without their prefix. In drafts they mean nothing."""
    is_draft = porf.c.status == PorfStatus.DRAFT
    columns = {f"base_{name}": porf.c[f"base_{name}"] for name in names}
    return {name: case((is_draft, null()), else_=column) for name, column in columns.items()}


class _Concerns(NamedTuple):
    """Which facts about a request the guards of the member's actions look at, in SQL.

    Guards check the member first: the draft of another member is submitted by admins only, and only approvers decide.
    """

    submits: ColumnElement[bool]
    decides: ColumnElement[bool]
    orders: ColumnElement[bool]

    @classmethod
    def of(cls, porf: FromClause) -> "_Concerns":
        is_draft, is_pending = (porf.c.status == status for status in (PorfStatus.DRAFT, PorfStatus.PENDING))
        is_their_draft = and_(is_draft, or_(porf.c.requester_id == USER_ID, _MAY_WRITE_ALL))
        return cls(is_their_draft, and_(is_pending, _MAY_DECIDE), and_(_is_convertible(porf), _MAY_ORDER))


def of_member(actor: Actor) -> dict[str, object]:
    """The parameters of the statement of a summary that say what the member may do."""
    return {
        "may_write_all": actor.may(Permission.PORFS_WRITE_ALL),
        "may_decide": actor.may(Permission.PORFS_DECIDE),
        "may_order": actor.may(Permission.PORFS_MANAGE) or actor.may(Permission.PURCHASE_ORDERS_WRITE),
    }


def _reduced(
    porf: FromClause, lines: FromClause, amounts: FromClause, supplier: FromClause
) -> tuple[FromClause, ColumnElement[str]]:
    """`ReducedFacts` of this member: the LATERAL subquery to join on true, and its row as a text."""
    concerns, request = _Concerns.of(porf), request_columns(porf, amounts)
    facts = {
        **columns_of(porf, ("status", "currency")),
        "standing": case((concerns.decides, standing(porf, request)), else_=of_standing(Standing.NONE)),
        "allow_self_approval": Organisation.allow_self_approval,
        "allow_override": Organisation.allow_override,
        "is_own": porf.c.requester_id == USER_ID,
        "is_author": is_author(request, USER_ID),
        "has_lines": lines.c.line_count > 0,
        **columns_of(lines, ("ordered", "has_remaining")),
        "submitted": was_submitted(porf),
        "has_approver": _if(concerns.submits, or_(has_policy(), has_approver(request))),
        "has_rates": request.has_rates,
        "lacks_rate": _if(concerns.submits, lacks_rate(porf)),
        "lacks_ceiling": _if(concerns.decides, request.base_ceiling.is_(None)),
        "supplier_is_active": func.coalesce(supplier.c.is_active, true()),
        "supplier_has_changed": _if(and_(concerns.orders, lines.c.has_remaining), supplier_has_changed(porf)),
    }
    columns: AnySelect = select(*(facts[name].label(name) for name in field_names(ReducedFacts)))
    row = columns.correlate_except(None).lateral("facts")
    return row, cast(row.table_valued(), Text)


def _if(condition: ColumnElement[bool], value: ColumnElement[bool]) -> ColumnElement[bool]:
    """False without evaluating the value unless the condition holds."""
    return case((condition, value), else_=false())


def listed(porf: FromClause) -> AnySelect:
    """The columns of a list: `facts`, from which the allowed actions follow, and `item`, the summary without these."""
    concerns = _Concerns.of(porf)
    of_lines = select(*line_facts()).where(of_porf(porf), or_(concerns.submits, concerns.orders))
    amounts = amounts_of(porf, or_(concerns.submits, concerns.decides))
    return _summary(porf, of_lines.lateral("lines"), amounts)


def summary(porf: FromClause, lines: FromClause, amounts: FromClause) -> AnySelect:
    """The columns of `listed` for one request, with the number of lines.

    `lines` has the `line_facts`, `amounts` is `maximum.amounts_of`; the statement joins both.
    """
    return _summary(porf, lines, amounts, line_count=lines.c.line_count)


def _summary(
    porf: FromClause, lines: FromClause, amounts: FromClause, **more: SQLColumnExpression[object]
) -> AnySelect:
    supplier = supplier_of(porf.c.supplier_id)
    facts, facts_text = _reduced(porf, lines, amounts, supplier)
    fields = {
        **columns_of(porf, ("id", "number", "title", "status", "requester_id")),
        "requester_name": member_name(porf.c.requester_id),
        "supplier_id": porf.c.supplier_id,
        "supplier_name": supplier.c.name,
        # Fields that are listed above keep their places.
        **columns_of(porf, LISTED_FIELDS),
        **columns_of(porf, ("currency", "total")),
        **columns_of(porf, ("version", "submitted_at", "decided_at", "created_at", "updated_at")),
        **more,
    }
    item, text = json_object("item", fields)
    source = porf.join(Organisation, Organisation.id == ORGANISATION_ID).join(lines, true())
    joined = source.outerjoin(amounts, true()).outerjoin(supplier, true()).join(facts, true()).join(item, true())
    return select(facts_text.label("facts"), text.label("item")).select_from(joined)


def exported(porf: FromClause) -> AnySelect:
    """`item`: the fields of a request in an export of the list."""
    supplier = supplier_of(porf.c.supplier_id)
    fields = {
        **columns_of(porf, ("id", "number", "title", "status", "requester_id")),
        "requester_name": member_name(porf.c.requester_id),
        "supplier_id": porf.c.supplier_id,
        "supplier_name": supplier.c.name,
        **columns_of(porf, LISTED_FIELDS),
        **columns_of(porf, ("currency", "net", "tax", "total")),
        **fixed_base_amounts(porf, "currency", "rate", "rate_date", "net", "total"),
        **columns_of(porf, ("submitted_at", "decided_at", "created_at", "updated_at")),
    }
    item, text = json_object("item", fields)
    return select(text.label("item")).select_from(porf.outerjoin(supplier, true()).join(item, true()))


def details_object(
    porf: FromClause, amounts: FromClause, *, shows_rights: bool
) -> tuple[FromClause, ColumnElement[str]]:
    """The fields of the header that are not in the summary, and who decided or may decide.

    The statement joins the request's Organisation and `amounts`. `shows_rights`: whether the member sees the rights of
    others.
    """
    unlisted = [name for name in HEADER_FIELDS if name not in LISTED_FIELDS]
    fields = {
        **columns_of(porf, (*unlisted, "net", "tax", "approval_round", "tax_rounding")),
        "over_order_percent": tolerance_of(porf),
        "maximum_total": type_coerce(amounts.c.maximum_total, Amount),
        **fixed_base_amounts(porf, "currency", "rate", "rate_date", "net", "total", "ceiling"),
        "decisions": nested(decisions_of(porf, shows_limits=shows_rights)),
        "approvers": may_approve_now(porf, request_columns(porf, amounts), shows_names=shows_rights),
    }
    return json_object("details", fields)


def line_object(lines: FromClause) -> tuple[FromClause, ColumnElement[str]]:
    """A line's representation."""
    names = ("id", "position", *LINE_FIELDS, "net", "ordered_quantity", "closed_quantity")
    return json_object("line", {**columns_of(lines, names), "remaining_quantity": _remaining(lines)})


def line_item(lines: FromClause) -> AnySelect:
    line, text = line_object(lines)
    return select(text.label("item")).select_from(lines).join(line, true())
