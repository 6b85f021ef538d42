"""Projections of requests about their approval: who decided, who may decide now, and what was approved."""

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
from sqlalchemy.dialects.postgresql import aggregate_order_by, array

from po_api.approval_policies.domain import DocumentType, PolicyStatus
from po_api.approval_policies.models import ApprovalPolicy
from po_api.approvals.domain import Decision, RunStatus, Standing, StepStatus
from po_api.approvals.eligibility import ApproverColumns, RequestColumns, may_approve, may_decide
from po_api.approvals.models import ApprovalDecision, ApprovalRun
from po_api.approvals.projections import may_approve_step, members, of_standing, standing, steps_of
from po_api.db.json_sql import columns_of, json_array, json_object, nested
from po_api.db.models import Amount
from po_api.db.query import ORGANISATION_ID, USER_ID, AnyColumn, AnySelect
from po_api.exchange_rates.projections import has_rates
from po_api.members.projections import member_name
from po_api.organisations.models import Organisation
from po_api.porfs.domain import PorfStatus
from po_api.porfs.maximum import ceiling_of
from po_api.suppliers.projections import keeps_identity

_APPROVAL_LIMIT = bindparam("approval_limit", type_=Amount)
# The audit trail has all decisions.
_MOST_DECISIONS = 20
_MOST_NAMES = 20
_OF_DECISION = (
    *("id", "decision", "approver_id", "on_behalf_of_id"),
    *("comment", "approver_limit", "limit_currency", "decided_at"),
)
_HASHES = ("content_hash", "hash_version", "supplier_hash")


def request_columns(porf: FromClause, amounts: FromClause | None = None) -> RequestColumns:
    """The columns that determine who may approve, in a statement that joins the request's Organisation.

    `amounts`: those of `maximum.amounts_of`, if the statement joins them.
    """
    ceiling = ceiling_of(porf) if amounts is None else type_coerce(amounts.c.base_ceiling, Amount)
    own = (porf.c.requester_id, porf.c.author_ids)
    return RequestColumns(*own, ceiling, has_rates(), Organisation.allow_self_approval)


def _member(*, is_approver: bool) -> ApproverColumns:
    """The member that executes the statement."""
    return ApproverColumns(USER_ID, _APPROVAL_LIMIT, true() if is_approver else false(), true())


def approvable(porf: FromClause, *, is_approver: bool) -> ColumnElement[bool]:
    """Whether the member may approve a pending request, in a statement that joins its Organisation."""
    request = request_columns(porf)
    decides = may_decide(request, _member(is_approver=is_approver))
    return and_(decides, standing(porf, request) == of_standing(Standing.DECIDES))


def without_approver(porf: FromClause) -> AnySelect:
    """The pending requests of `porf`, as (id, number), with an active step that no active member may approve."""
    step, approver = steps_of(porf, StepStatus.ACTIVE), members("approver")
    eligible = (
        select(true())
        .select_from(approver.table)
        .where(
            approver.table.c.organisation_id == ORGANISATION_ID,
            may_approve_step(step, request_columns(porf), approver.columns),
        )
        .correlate(porf, Organisation, step)
    )
    return (
        select(porf.c.id, porf.c.number)
        .select_from(porf.outerjoin(step, true()).join(Organisation, Organisation.id == ORGANISATION_ID))
        .where(porf.c.status == PorfStatus.PENDING, ~eligible.exists())
        .group_by(porf.c.id, porf.c.number)
        .order_by(porf.c.id)
    )


def has_policy() -> ColumnElement[bool]:
    """Whether a policy says who has to approve the organisation's requests."""
    published = select(ApprovalPolicy.id).where(
        ApprovalPolicy.organisation_id == ORGANISATION_ID,
        ApprovalPolicy.document_type == DocumentType.PORF,
        ApprovalPolicy.status == PolicyStatus.PUBLISHED,
    )
    return published.scalar_subquery().is_not(None)


def excluded_approvers(porf: FromClause) -> AnySelect:
    """The columns of `ExcludedApprovers`, for a draft of `porf` that no member may approve."""
    member, approver = members("approver")
    request = _after_submission(request_columns(porf))
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


def has_approver(request: RequestColumns) -> ColumnElement[bool]:
    """Whether a member may approve a draft if any approver may."""
    member, approver = members("approver")
    may = may_approve(_after_submission(request), approver)
    eligible = select(true()).select_from(member).where(member.c.organisation_id == ORGANISATION_ID, *may)
    return eligible.correlate_except(member).exists()


def _after_submission(request: RequestColumns) -> RequestColumns:
    """The columns of a request once the member has submitted it, which makes them an author."""
    submitter = func.coalesce(USER_ID, request.requester_id)
    return request._replace(author_ids=func.array_append(request.author_ids, submitter))


def approved_run(porf: FromClause) -> FromClause:
    """The run that has approved the request in its current round: at most one, and none if an earlier version has."""
    c = ApprovalRun.__table__.c
    found = select(*c[("id", *_HASHES, "base_ceiling")]).where(
        c.organisation_id == ORGANISATION_ID,
        c.porf_id == porf.c.id,
        c.round == porf.c.approval_round,
        c.status == RunStatus.APPROVED,
    )
    return found.correlate(porf).lateral("approved_run")


def approval_in_force(porf: FromClause) -> FromClause:
    """The hashes of what was approved: of the last of the approvals of that run, or of the run if nobody has decided
    it; one row, of NULLs if there is neither."""
    run = approved_run(porf)
    c = ApprovalDecision.__table__.c
    last = (
        select(*c[_HASHES])
        .where(*_approvals(porf, run.c.id))
        .order_by(c.id.desc())
        .limit(literal_column("1"))
        .correlate(porf, run)
        .lateral("last_approval")
    )
    columns = {name: func.coalesce(last.c[name], run.c[name]) for name in _HASHES}
    joined = _one_row().outerjoin(run, true()).outerjoin(last, true())
    found = select(*(column.label(name) for name, column in columns.items())).select_from(joined)
    return found.correlate(porf).lateral("approval")


def _approvals(porf: FromClause, run_id: SQLColumnExpression[int]) -> list[ColumnElement[bool]]:
    """The approvals of a run, or of the current round if there is none."""
    c = ApprovalDecision.__table__.c
    return [
        c.organisation_id == ORGANISATION_ID,
        c.porf_id == porf.c.id,
        c.round == porf.c.approval_round,
        c.decision == Decision.APPROVED,
        or_(run_id.is_(None), c.run_id == run_id),
    ]


def supplier_has_changed(porf: FromClause) -> ColumnElement[bool]:
    """Whether the supplier's identity is not the one that all have approved; false without a supplier."""
    run, decisions = approved_run(porf), ApprovalDecision.__table__
    digests = func.unnest(array([run.c.supplier_hash, decisions.c.supplier_hash]))
    digest = digests.table_valued("approved", name="digests").render_derived()
    # Only where there is something to compare with: the supplier's digest costs more than to find it.
    differs = and_(digest.c.approved.is_not(None), not_(keeps_identity(porf.c.supplier_id, digest.c.approved)))
    approved = _one_row().outerjoin(run, true()).outerjoin(decisions, and_(*_approvals(porf, run.c.id)))
    found = select(func.coalesce(func.bool_or(differs), false())).select_from(approved.join(digest, true()))
    return found.correlate(porf).scalar_subquery()


def decisions_of(porf: FromClause, *, shows_limits: bool) -> ColumnElement[str]:
    """The last decisions of the current round as a JSON array, the latest first."""
    decisions = ApprovalDecision.__table__.c
    recent = (
        select(*decisions[_OF_DECISION])
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
    whose_limit = func.coalesce(c.on_behalf_of_id, c.approver_id)
    limit, limit_text = json_object("basis", {"amount": c.approver_limit, "currency": c.limit_currency})
    shows_limit = and_(c.limit_currency.is_not(None), true() if shows_limits else whose_limit == USER_ID)
    fields = {
        **columns_of(recent, ("decision", "approver_id")),
        "approver_name": member_name(c.approver_id),
        "on_behalf_of_id": c.on_behalf_of_id,
        "on_behalf_of_name": member_name(c.on_behalf_of_id),
        "approver_limit": case((shows_limit, nested(limit_text)), else_=null()),
        **columns_of(recent, ("comment", "decided_at")),
    }
    decision, text = json_object("decided", fields)
    joined = recent.join(limit, true()).join(decision, true())
    return select(json_array(text, c.id.desc())).select_from(joined).correlate(porf).scalar_subquery()


def may_approve_now(porf: FromClause, request: RequestColumns, *, shows_names: bool) -> AnyColumn:
    """The number of members who may approve a pending request and, if names are shown, the first of them."""
    eligible = _eligible_members(porf, request)
    member, text = json_object("named", columns_of(eligible, ("id", "name")))
    is_first = eligible.c.position <= literal_column(str(_MOST_NAMES))
    first = json_array(case((is_first, text)), eligible.c.position)
    counted = (
        select(func.count().label("count"), (nested(first) if shows_names else null()).label("members"))
        .select_from(eligible.join(member, true()) if shows_names else eligible)
        .lateral("counted")
    )
    found, shown = json_object("approvers", columns_of(counted, ("count", "members")))
    approvers = select(nested(shown)).select_from(counted.join(found, true())).correlate_except(counted, found)
    return case((porf.c.status == PorfStatus.PENDING, approvers.scalar_subquery()), else_=null())


def _eligible_members(porf: FromClause, request: RequestColumns) -> FromClause:
    """Their ids and names, and their positions in the order of the names."""
    step, approver = steps_of(porf, StepStatus.ACTIVE), members("approver")
    c = approver.table.c
    of_step = and_(c.organisation_id == ORGANISATION_ID, may_approve_step(step, request, approver.columns))
    source = _one_row().outerjoin(step, true()).join(approver.table, of_step)
    position = func.row_number().over(order_by=(c.name, c.user_id)).label("position")
    # Grouped, as several steps may be active.
    found = select(c.user_id.label("id"), c.name, position).select_from(source).group_by(c.user_id, c.name)
    return found.correlate_except(step, approver.table).lateral("eligible")


def _one_row() -> FromClause:
    """To LEFT JOIN on."""
    return select(literal_column("1").label("one")).subquery("one")
