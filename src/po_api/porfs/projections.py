"""Projections of requests: representations, and the facts for the guards."""

from collections.abc import Mapping
from decimal import Decimal

from sqlalchemy import (
    ColumnElement,
    FromClause,
    SQLColumnExpression,
    and_,
    case,
    false,
    func,
    null,
    or_,
    select,
    true,
    type_coerce,
)

from po_api.approvals.eligibility import is_author
from po_api.core.records import field_names
from po_api.db.json_sql import columns_of, json_object, nested
from po_api.db.models import Quantity
from po_api.db.query import ORGANISATION_ID, USER_ID, AnySelect
from po_api.exchange_rates.projections import document_rate, has_rates, lacks_rate
from po_api.members.projections import member_name
from po_api.organisations.models import Organisation
from po_api.porfs.approval_projections import (
    decisions_of,
    has_approver,
    has_policy,
    may_approve_now,
    request_columns,
    standing_of,
    supplier_has_changed,
)
from po_api.porfs.content import HEADER_FIELDS, LINE_FIELDS, LISTED_FIELDS
from po_api.porfs.domain import PorfFacts, PorfStatus
from po_api.porfs.maximum import ceiling_of, maximum_of, tolerance_of
from po_api.porfs.models import PorfLine
from po_api.suppliers.models import Supplier
from po_api.suppliers.projections import supplier_hash, supplier_is_active

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


def _with_lines(porf: FromClause) -> tuple[FromClause, Columns]:
    """The requests of `porf` joined with their organisation and aggregates of their lines; and the facts by name."""
    lines = (
        select(
            func.count().label("line_count"),
            _any(PorfLine.ordered_quantity > 0).label("ordered"),
            _any(_remaining(PorfLine.__table__) > 0).label("has_remaining"),
        )
        .where(of_porf(porf))
        .lateral("lines")
    )
    facts = {
        **columns_of(porf, ("status", "requester_id", "author_ids", "currency", "total")),
        "over_order_percent": tolerance_of(porf),
        "maximum_total": maximum_of(porf),
        "base_currency": Organisation.currency,
        "base_ceiling": ceiling_of(porf),
        "has_rates": has_rates(),
        **_rate_of_draft(porf),
        "allow_self_approval": Organisation.allow_self_approval,
        "allow_override": Organisation.allow_override,
        **columns_of(lines, ("line_count", "ordered", "has_remaining")),
        "submitted": was_submitted(porf),
        "has_policy": has_policy(porf),
        "has_approver": has_approver(porf),
        "standing": standing_of(porf),
        "supplier_is_active": supplier_is_active(porf.c.supplier_id),
        "supplier_hash": supplier_hash(porf.c.supplier_id),
        "supplier_has_changed": supplier_has_changed(porf, lines.c.has_remaining),
    }
    return porf.join(Organisation, Organisation.id == ORGANISATION_ID).join(lines, true()), facts


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


def with_facts(porf: FromClause) -> AnySelect:
    """The facts of the requests of `porf`: the columns of `PorfFacts`."""
    source, facts = _with_lines(porf)
    return select(*[facts[name].label(name) for name in field_names(PorfFacts)]).select_from(source)


def _reduced(porf: FromClause, facts: Columns) -> Columns:
    """The facts reduced to the values that the guards derive for this member, which many requests have in common."""
    same = (
        "status",
        "currency",
        "allow_self_approval",
        "allow_override",
        "ordered",
        "has_remaining",
        "submitted",
        "standing",
        "supplier_is_active",
        "supplier_has_changed",
    )
    return {
        **{name: facts[name] for name in same},
        "is_own": facts["requester_id"] == USER_ID,
        "is_author": is_author(request_columns(porf), USER_ID),
        "has_approver": or_(has_policy(porf), has_approver(porf)),
        "has_rates": facts["has_rates"],
        "lacks_rate": case((porf.c.status == PorfStatus.DRAFT, lacks_rate(porf)), else_=false()),
        "lacks_ceiling": case((porf.c.status == PorfStatus.PENDING, facts["base_ceiling"].is_(None)), else_=false()),
        "has_lines": facts["line_count"] > 0,
    }


def _supplier_name(porf: FromClause) -> ColumnElement[str | None]:
    its_supplier = and_(Supplier.organisation_id == ORGANISATION_ID, Supplier.id == porf.c.supplier_id)
    return select(Supplier.name).where(its_supplier).correlate(porf).scalar_subquery()


def summary(porf: FromClause, *, is_whole: bool = False) -> AnySelect:
    """`facts` for `read_service.allowed_actions`, and `item`: the summary without the allowed actions.

    `is_whole`: with the number of lines, for the representation of one request.
    """
    source, known = _with_lines(porf)
    facts, facts_text = json_object("facts", _reduced(porf, known))
    fields = {
        **columns_of(porf, ("id", "number", "title", "status", "requester_id")),
        "requester_name": member_name(porf.c.requester_id),
        "supplier_id": porf.c.supplier_id,
        "supplier_name": _supplier_name(porf),
        # Fields that are listed above keep their places.
        **columns_of(porf, LISTED_FIELDS),
        **columns_of(porf, ("currency", "total")),
        **columns_of(porf, ("version", "submitted_at", "decided_at", "created_at", "updated_at")),
        **({"line_count": known["line_count"]} if is_whole else {}),
    }
    item, text = json_object("item", fields)
    joined = source.join(facts, true()).join(item, true())
    return select(facts_text.label("facts"), text.label("item")).select_from(joined)


def exported(porf: FromClause) -> AnySelect:
    """`item`: the fields of a request in an export of the list."""
    fields = {
        **columns_of(porf, ("id", "number", "title", "status", "requester_id")),
        "requester_name": member_name(porf.c.requester_id),
        "supplier_id": porf.c.supplier_id,
        "supplier_name": _supplier_name(porf),
        **columns_of(porf, LISTED_FIELDS),
        **columns_of(porf, ("currency", "net", "tax", "total")),
        **fixed_base_amounts(porf, "currency", "rate", "rate_date", "net", "total"),
        **columns_of(porf, ("submitted_at", "decided_at", "created_at", "updated_at")),
    }
    item, text = json_object("item", fields)
    return select(text.label("item")).select_from(porf).join(item, true())


def details_object(porf: FromClause, *, shows_rights: bool) -> tuple[FromClause, ColumnElement[str]]:
    """The fields of the header that are not in the summary, and who decided or may decide.

    The statement joins the request's Organisation. `shows_rights`: whether the member sees the rights of others.
    """
    unlisted = [name for name in HEADER_FIELDS if name not in LISTED_FIELDS]
    fields = {
        **columns_of(porf, (*unlisted, "net", "tax", "approval_round", "tax_rounding")),
        "over_order_percent": tolerance_of(porf),
        "maximum_total": maximum_of(porf),
        **fixed_base_amounts(porf, "currency", "rate", "rate_date", "net", "total", "ceiling"),
        "decisions": nested(decisions_of(porf, shows_limits=shows_rights)),
        "approvers": may_approve_now(porf, shows_names=shows_rights),
    }
    return json_object("details", fields)


def line_object(lines: FromClause) -> tuple[FromClause, ColumnElement[str]]:
    """A line's representation."""
    names = ("id", "position", *LINE_FIELDS, "net", "ordered_quantity", "closed_quantity")
    return json_object("line", {**columns_of(lines, names), "remaining_quantity": _remaining(lines)})


def line_item(lines: FromClause) -> AnySelect:
    line, text = line_object(lines)
    return select(text.label("item")).select_from(lines).join(line, true())
