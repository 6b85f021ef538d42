"""Projections of requests: representations, and the facts for the guards."""

from collections.abc import Mapping
from decimal import Decimal

from sqlalchemy import (
    ColumnElement,
    FromClause,
    SQLColumnExpression,
    and_,
    bindparam,
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
from sqlalchemy.dialects.postgresql import aggregate_order_by

from po_api.approvals.domain import Decision
from po_api.approvals.models import ApprovalDecision
from po_api.core.permissions import GRANTS, Permission
from po_api.core.records import field_names
from po_api.db.json_sql import columns_of, json_array, json_object, nested
from po_api.db.models import Amount, Quantity
from po_api.db.query import ORGANISATION_ID, USER_ID, AnyColumn, AnySelect
from po_api.exchange_rates.projections import document_rate, has_rates, lacks_rate
from po_api.members.models import Member
from po_api.members.projections import member_name
from po_api.organisations.models import Organisation
from po_api.porfs.approval import (
    TOTAL_WITHIN_LIMIT,
    ApproverColumns,
    RequestColumns,
    is_author,
    may_approve,
    may_decide,
)
from po_api.porfs.content import HEADER_FIELDS, LINE_FIELDS, LISTED_FIELDS
from po_api.porfs.domain import MACHINE, PorfAction, PorfFacts, PorfStatus
from po_api.porfs.maximum import ceiling_of, maximum_of, tolerance_of
from po_api.porfs.models import PorfLine
from po_api.suppliers.models import Supplier
from po_api.suppliers.projections import keeps_identity, supplier_hash, supplier_is_active

_APPROVAL_LIMIT = bindparam("approval_limit", type_=Amount)
# Several decisions of one round are returns, and at most one more. The audit trail has all of them.
_MOST_DECISIONS = 20
_MOST_NAMES = 20
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


def _request(porf: FromClause) -> RequestColumns:
    """The columns that determine who may approve, in a statement that joins the request's Organisation."""
    amounts = (ceiling_of(porf), has_rates())
    return RequestColumns(porf.c.requester_id, porf.c.author_ids, *amounts, Organisation.allow_self_approval)


def _member(*, is_approver: bool) -> ApproverColumns:
    """The member that executes the statement."""
    return ApproverColumns(USER_ID, _APPROVAL_LIMIT, true() if is_approver else false(), true())


def approvable(porf: FromClause, *, is_approver: bool) -> ColumnElement[bool]:
    """Whether the member may approve the request, in a statement that joins the request's Organisation."""
    return and_(*may_approve(_request(porf), _member(is_approver=is_approver)))


def _approvers() -> tuple[FromClause, ApproverColumns]:
    """Members to select from, and their columns."""
    member = Member.__table__.alias("approver")
    has_role = member.c.roles.overlap(sorted(GRANTS[Permission.PORFS_DECIDE].roles))
    return member, ApproverColumns(member.c.user_id, member.c.approval_limit, has_role, member.c.is_active)


def eligible_approver(porf: FromClause, request: RequestColumns | None = None) -> AnySelect:
    """The members who may approve the request of the outer query, which joins its Organisation.

    `request` are the columns of that request, if they differ from those of `porf`.
    """
    member, approver = _approvers()
    return (
        select(true())
        .select_from(member)
        .where(member.c.organisation_id == ORGANISATION_ID, *may_approve(request or _request(porf), approver))
        .correlate(porf, Organisation)
    )


def excluded_approvers(porf: FromClause) -> AnySelect:
    """The columns of `ExcludedApprovers`, for a draft of `porf` that no member may approve."""
    member, approver = _approvers()
    request = _after_submission(porf)
    decides = may_decide(request, approver)
    # Rights may have been granted meanwhile.
    limited = and_(decides, not_(and_(*may_approve(request, approver))))
    highest_first = aggregate_order_by(member.c.name, member.c.approval_limit.desc(), member.c.user_id)
    return (
        select(
            func.count().filter(not_(decides)).label("authors"),
            func.count().filter(limited).label("limited"),
            func.max(member.c.approval_limit).filter(limited).label("highest_limit"),
            func.array_agg(highest_first).filter(limited).label("names"),
        )
        .select_from(porf.join(Organisation, Organisation.id == ORGANISATION_ID))
        .join(member, and_(member.c.organisation_id == ORGANISATION_ID, approver.is_active, approver.has_role))
    )


def _has_approver(porf: FromClause) -> ColumnElement[bool]:
    """Whether a member may approve the request: evaluated for drafts only, since only they can be submitted."""
    eligible = eligible_approver(porf, _after_submission(porf))
    return case((porf.c.status == PorfStatus.DRAFT, eligible.exists()), else_=false())


def _after_submission(porf: FromClause) -> RequestColumns:
    """The request's columns once the member has submitted it, which makes them an author."""
    submitter = func.coalesce(USER_ID, porf.c.requester_id)
    return _request(porf)._replace(author_ids=func.array_append(porf.c.author_ids, submitter))


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
        **columns_of(lines, ("line_count", "ordered", "has_remaining")),
        "submitted": was_submitted(porf),
        "has_approver": _has_approver(porf),
        "supplier_is_active": supplier_is_active(porf.c.supplier_id),
        "supplier_hash": supplier_hash(porf.c.supplier_id),
        "supplier_has_changed": _supplier_has_changed(porf, lines.c.has_remaining),
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


def approval_of_round(porf: FromClause) -> ColumnElement[bool]:
    """The approval of the request in its current round."""
    return and_(
        ApprovalDecision.organisation_id == ORGANISATION_ID,
        ApprovalDecision.porf_id == porf.c.id,
        ApprovalDecision.round == porf.c.approval_round,
        ApprovalDecision.decision == Decision.APPROVED,
    )


def _supplier_has_changed(porf: FromClause, has_remaining: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether the supplier's identity is not the approved one: evaluated for requests that can be converted only."""
    approved = select(ApprovalDecision.supplier_hash).where(approval_of_round(porf)).correlate(porf).scalar_subquery()
    convertible = porf.c.status.in_(sorted(MACHINE.rules[PorfAction.CONVERT].sources))
    differs = func.coalesce(not_(keeps_identity(porf.c.supplier_id, approved)), false())
    return case((and_(convertible, has_remaining, porf.c.supplier_id.is_not(None)), differs), else_=false())


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
        "ordered",
        "has_remaining",
        "submitted",
        "has_approver",
        "supplier_is_active",
        "supplier_has_changed",
    )
    # Evaluated where a decision is possible only.
    within_limit = TOTAL_WITHIN_LIMIT.sql(_request(porf), _member(is_approver=True))
    return {
        **{name: facts[name] for name in same},
        "is_own": facts["requester_id"] == USER_ID,
        "is_author": is_author(_request(porf), USER_ID),
        "has_rates": facts["has_rates"],
        "lacks_rate": case((porf.c.status == PorfStatus.DRAFT, lacks_rate(porf)), else_=false()),
        "lacks_ceiling": case((porf.c.status == PorfStatus.PENDING, facts["base_ceiling"].is_(None)), else_=false()),
        "within_limit": case((porf.c.status == PorfStatus.PENDING, within_limit), else_=false()),
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
        "decisions": nested(_decisions(porf, shows_limits=shows_rights)),
        "approvers": _may_approve_now(porf, shows_names=shows_rights),
    }
    return json_object("details", fields)


def _decisions(porf: FromClause, *, shows_limits: bool) -> ColumnElement[str]:
    """The last decisions of the current round as a JSON array, the latest first."""
    decisions = ApprovalDecision.__table__.c
    recent = (
        select(*decisions["id", "decision", "approver_id", "comment", "approver_limit", "limit_currency", "decided_at"])
        .where(
            decisions.organisation_id == ORGANISATION_ID,
            decisions.porf_id == porf.c.id,
            decisions.round == porf.c.approval_round,
        )
        .order_by(decisions.id.desc())
        .limit(literal_column(str(_MOST_DECISIONS)))
        .correlate(porf)
        .lateral("recent")
    )
    c = recent.c
    limit, limit_text = json_object("basis", {"amount": c.approver_limit, "currency": c.limit_currency})
    shows_limit = and_(c.limit_currency.is_not(None), true() if shows_limits else c.approver_id == USER_ID)
    fields = {
        **columns_of(recent, ("decision", "approver_id")),
        "approver_name": member_name(c.approver_id),
        "approver_limit": case((shows_limit, nested(limit_text)), else_=null()),
        **columns_of(recent, ("comment", "decided_at")),
    }
    decision, text = json_object("decided", fields)
    joined = recent.join(limit, true()).join(decision, true())
    return select(json_array(text, c.id.desc())).select_from(joined).correlate(porf).scalar_subquery()


def _may_approve_now(porf: FromClause, *, shows_names: bool) -> AnyColumn:
    """The number of members who may approve a pending request and, if names are shown, the first of them."""
    eligible = _eligible_members(porf)
    count = select(func.count()).select_from(eligible.lateral("eligible")).correlate(porf).scalar_subquery()
    fields = {"count": count, "members": _first_of(eligible, porf) if shows_names else null()}
    found, text = json_object("approvers", fields)
    shown = select(nested(text)).select_from(found).correlate(porf).scalar_subquery()
    return case((porf.c.status == PorfStatus.PENDING, shown), else_=null())


def _eligible_members(porf: FromClause) -> AnySelect:
    member, approver = _approvers()
    return (
        select(member.c.user_id.label("id"), member.c.name)
        .select_from(member.join(Organisation, Organisation.id == ORGANISATION_ID))
        .where(member.c.organisation_id == ORGANISATION_ID, *may_approve(_request(porf), approver))
        .correlate(porf)
    )


def _first_of(eligible: AnySelect, porf: FromClause) -> AnyColumn:
    """The first of the members by name, as a JSON array."""
    by_name = eligible.order_by(*eligible.selected_columns["name", "id"]).limit(literal_column(str(_MOST_NAMES)))
    first = by_name.lateral("first")
    member, text = json_object("named", columns_of(first, ("id", "name")))
    names = select(json_array(text, first.c.name, first.c.id)).select_from(first.join(member, true()))
    return nested(names.correlate(porf).scalar_subquery())


def line_object(lines: FromClause) -> tuple[FromClause, ColumnElement[str]]:
    """A line's representation."""
    names = ("id", "position", *LINE_FIELDS, "net", "ordered_quantity", "closed_quantity")
    return json_object("line", {**columns_of(lines, names), "remaining_quantity": _remaining(lines)})


def line_item(lines: FromClause) -> AnySelect:
    line, text = line_object(lines)
    return select(text.label("item")).select_from(lines).join(line, true())


def comment_item(comments: FromClause) -> AnySelect:
    fields = {
        **columns_of(comments, ("id", "author_id")),
        "author_name": member_name(comments.c.author_id),
        **columns_of(comments, ("text", "created_at")),
    }
    comment, text = json_object("comment", fields)
    return select(text.label("item")).select_from(comments).join(comment, true())
