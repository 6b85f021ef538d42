"""Approvals of requests: runs, their steps and people, decisions and timers.

They have no locks of their own: whoever changes those of a request has locked its row.
"""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, Integer, Numeric, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from po_api.db.models import Amount, Base, TenantRow, optional_reference

_HASH = "~ '^[0-9a-f]{64}$'"
# The length is not part of the expression: counting digits in one takes 0.3 ms.
_SUPPLIER_DIGESTS = "length(supplier_hash) IN (128, 512) AND supplier_hash ~ '^[0-9a-f]+$'"


def _member(column: str) -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["organisation_id", column], ["members.organisation_id", "members.user_id"])


def _of(column: str, table: str) -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["organisation_id", column], [f"{table}.organisation_id", f"{table}.id"])


class ApprovalRun(TenantRow, Base):
    """The approval of one submission. `opened_at` is the time of that submission, by which it is recognised.

    `content_hash` is that of the submitted content, with the fields of `hash_version`; `fixed_hash` leaves out
    quantities, prices and dates. Amounts are in the base currency; null where none is known. `submitted_version` is the
    request's version from which on decisions are accepted.

    Only the status changes. Runs of requests that earlier versions have submitted have no amounts and no `fixed_hash`,
    and while nobody has decided no `content_hash`, which the decision adds.
    """

    __tablename__ = "approval_runs"
    __table_args__ = (
        _of("porf_id", "porfs"),
        _member("submitted_by_id"),
        *optional_reference("approval_runs", "policy_id", "approval_policies"),
        UniqueConstraint("organisation_id", "porf_id", "run_no", name="uq_approval_runs_run_no"),
        CheckConstraint("run_no >= 1", name="run_no"),
        CheckConstraint(
            "status IN ('open', 'approved', 'rejected', 'returned', 'recalled', 'cancelled')", name="status"
        ),
        CheckConstraint("(status = 'open') = (closed_at IS NULL)", name="closed_at"),
        CheckConstraint(f"content_hash {_HASH} AND fixed_hash {_HASH}", name="hashes"),
        CheckConstraint("hash_version >= 1 AND (hash_version IS NULL) = (content_hash IS NULL)", name="hash_version"),
        CheckConstraint("status <> 'approved' OR content_hash IS NOT NULL", name="content_hash"),
        CheckConstraint(_SUPPLIER_DIGESTS, name="supplier_digests"),
        Index(
            "uq_approval_runs_open",
            "organisation_id",
            "porf_id",
            unique=True,
            postgresql_where=text("status = 'open'"),
        ),
        Index("ix_approval_runs_organisation_id_submitted_by_id", "organisation_id", "submitted_by_id"),
    )

    porf_id: Mapped[int]
    run_no: Mapped[int] = mapped_column(Integer)
    round: Mapped[int] = mapped_column(Integer)
    policy_id: Mapped[int | None]
    content_hash: Mapped[str | None]
    hash_version: Mapped[int | None] = mapped_column(Integer)
    fixed_hash: Mapped[str | None]
    supplier_hash: Mapped[str | None]
    base_total: Mapped[Decimal | None] = mapped_column(Amount)
    base_ceiling: Mapped[Decimal | None] = mapped_column(Amount)
    base_rate: Mapped[Decimal | None] = mapped_column(Numeric(20, 10))
    submitted_by_id: Mapped[int]
    submitted_version: Mapped[int] = mapped_column(Integer)
    status: Mapped[str] = mapped_column(default="open", server_default="open")
    opened_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]


class ApprovalStep(TenantRow, Base):
    """A step of a run, made from a rule or by the member who has added it.

    Later, the status and the times change; `seq`, if a step is added before it; and its people and their required
    count, if some of them may not decide any more.

    Steps with a lower `seq` are decided first, those with the same one at once; `stage` is that of the rule. A limit
    below `least_limit` does not permit to approve it: so the inbox finds, by an index, the few steps that a low limit
    permits. It is 0 where limits do not count, or the amount is not known. (Indexes do not compare decimals before
    row-level security has.)
    """

    __tablename__ = "approval_steps"
    __table_args__ = (
        _of("run_id", "approval_runs"),
        *optional_reference("approval_steps", "rule_id", "approval_rules"),
        *optional_reference("approval_steps", "pool_group_id", "approval_groups"),
        *optional_reference("approval_steps", "added_by_id", "members", key="user_id"),
        CheckConstraint("seq >= 1 AND stage BETWEEN 1 AND 99 AND position >= 1", name="seq"),
        CheckConstraint("source IN ('rule', 'added', 'override', 'default')", name="source"),
        CheckConstraint("(source = 'rule') = (rule_id IS NOT NULL)", name="rule_id"),
        CheckConstraint("(source IN ('added', 'override')) = (added_by_id IS NOT NULL)", name="added_by_id"),
        CheckConstraint("name <> '' AND length(name) <= 255", name="name"),
        CheckConstraint(
            "kind IN ('people', 'pool') AND pool_role IN ('approver')"
            " AND num_nonnulls(pool_group_id, pool_role) = CASE kind WHEN 'pool' THEN 1 ELSE 0 END",
            name="kind",
        ),
        CheckConstraint("required_count >= 1", name="required_count"),
        CheckConstraint(
            "status IN ('waiting', 'active', 'approved', 'rejected', 'skipped', 'cancelled')", name="status"
        ),
        CheckConstraint(
            "skip_reason IN ('on_empty', 'override', 'removed') AND (status = 'skipped') = (skip_reason IS NOT NULL)",
            name="skip_reason",
        ),
        CheckConstraint("(status IN ('waiting', 'active')) = (closed_at IS NULL)", name="closed_at"),
        CheckConstraint("status NOT IN ('active', 'approved') OR activated_at IS NOT NULL", name="activated_at"),
        Index("ix_approval_steps_organisation_id_run_id", "organisation_id", "run_id", "seq", "position", "id"),
        # The inbox of pools.
        Index(
            "ix_approval_steps_open_roles",
            *("organisation_id", "status", "activated_at", "id", "least_limit"),
            postgresql_where=text("status IN ('active', 'waiting') AND pool_role IS NOT NULL"),
        ),
        Index(
            "ix_approval_steps_open_groups",
            *("organisation_id", "pool_group_id", "status", "activated_at", "id", "least_limit"),
            postgresql_where=text("status IN ('active', 'waiting') AND pool_group_id IS NOT NULL"),
        ),
    )

    run_id: Mapped[int]
    seq: Mapped[int] = mapped_column(Integer)
    stage: Mapped[int] = mapped_column(Integer)
    position: Mapped[int] = mapped_column(Integer)
    rule_id: Mapped[int | None]
    source: Mapped[str]
    name: Mapped[str]
    kind: Mapped[str]
    pool_group_id: Mapped[int | None]
    pool_role: Mapped[str | None]
    required_count: Mapped[int] = mapped_column(Integer)
    enforce_limit: Mapped[bool]
    least_limit: Mapped[int] = mapped_column(default=0, server_default="0")
    comment_required: Mapped[bool]
    status: Mapped[str]
    skip_reason: Mapped[str | None]
    added_by_id: Mapped[int | None]
    activated_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]


class AddedApprover(TenantRow, Base):
    """A member who was added to a draft: each submission of the request makes a step that asks them."""

    __tablename__ = "added_approvers"
    __table_args__ = (
        ForeignKeyConstraint(["organisation_id", "porf_id"], ["porfs.organisation_id", "porfs.id"], ondelete="CASCADE"),
        _member("user_id"),
        _member("added_by_id"),
        UniqueConstraint("organisation_id", "porf_id", "user_id", name="uq_added_approvers_user_id"),
        CheckConstraint("placement IN ('before', 'parallel', 'after')", name="placement"),
        Index("ix_added_approvers_organisation_id_user_id", "organisation_id", "user_id"),
        Index("ix_added_approvers_organisation_id_added_by_id", "organisation_id", "added_by_id"),
    )

    porf_id: Mapped[int]
    user_id: Mapped[int]
    placement: Mapped[str]
    added_by_id: Mapped[int]


class ApprovalSlot(TenantRow, Base):
    """A person of a step of people. Pools have none: their members are those of now."""

    __tablename__ = "approval_slots"
    __table_args__ = (
        _of("step_id", "approval_steps"),
        _member("user_id"),
        UniqueConstraint("organisation_id", "step_id", "user_id", name="uq_approval_slots_user_id"),
        CheckConstraint(
            "origin IN ('named', 'owner', 'manager', 'chain', 'escalated', 'added', 'vacancy')", name="origin"
        ),
        CheckConstraint("status IN ('open', 'approved', 'carried', 'vacant', 'closed')", name="status"),
        # The inbox.
        Index(
            "ix_approval_slots_open", "organisation_id", "user_id", "step_id", postgresql_where=text("status = 'open'")
        ),
        Index("ix_approval_slots_organisation_id_user_id", "organisation_id", "user_id"),
    )

    step_id: Mapped[int]
    user_id: Mapped[int]
    origin: Mapped[str]
    status: Mapped[str] = mapped_column(default="open", server_default="open")


class ApprovalDecision(TenantRow, Base):
    """A decision of an approver, with the approval round and hashes of the content and of the supplier's identity.

    `hash_version` says which fields `content_hash` covers (`content.HASHED_FIELDS`). `supplier_hash` is null without a
    supplier, and in decisions of before revision 028. Rows are only ever added.

    `approver_limit` is the limit of the principal at that time, None for no limit, in the organisation's base currency
    `limit_currency`; both are None in decisions of versions before revision 025.

    The principal is the person of the step, for whom the approver decides: themselves, or a delegator
    (`on_behalf_of_id`). `requester_id` is the request's requester then; null in decisions of before revision 048, as is
    `self_allowed`: whether authors were allowed to decide. `carried_from_id` is the decision that was given.
    """

    __tablename__ = "approval_decisions"
    __table_args__ = (
        _of("porf_id", "porfs"),
        _member("approver_id"),
        *optional_reference("approval_decisions", "run_id", "approval_runs"),
        *optional_reference("approval_decisions", "slot_id", "approval_slots"),
        *optional_reference("approval_decisions", "principal_id", "members", key="user_id"),
        *optional_reference("approval_decisions", "on_behalf_of_id", "members", key="user_id"),
        *optional_reference("approval_decisions", "requester_id", "members", key="user_id"),
        *optional_reference("approval_decisions", "carried_from_id", "approval_decisions"),
        _of("step_id", "approval_steps"),
        CheckConstraint("decision IN ('approved', 'rejected', 'returned')", name="decision"),
        CheckConstraint("content_hash ~ '^[0-9a-f]{64}$'", name="content_hash"),
        CheckConstraint("hash_version >= 1", name="hash_version"),
        CheckConstraint(_SUPPLIER_DIGESTS, name="supplier_digests"),
        CheckConstraint("decision = 'approved' OR comment IS NOT NULL", name="comment"),
        CheckConstraint("approver_limit IS NULL OR limit_currency IS NOT NULL", name="approver_limit"),
        # The version before revision 047 writes none of these.
        CheckConstraint("num_nonnulls(run_id, step_id, principal_id, source) IN (0, 4)", name="run_id"),
        CheckConstraint("source IN ('given', 'carried', 'override')", name="source"),
        CheckConstraint("(source = 'carried') = (carried_from_id IS NOT NULL)", name="carried_from_id"),
        CheckConstraint("on_behalf_of_id IS NULL OR on_behalf_of_id = principal_id", name="on_behalf_of_id"),
        CheckConstraint(
            "self_allowed OR (approver_id <> requester_id AND principal_id <> requester_id)", name="requester_id"
        ),
        *(
            Index(
                f"uq_approval_decisions_step_id_{who}",
                "organisation_id",
                "step_id",
                who,
                unique=True,
                postgresql_where=text("step_id IS NOT NULL"),
            )
            for who in ("principal_id", "approver_id")
        ),
        Index("ix_approval_decisions_organisation_id_porf_id", "organisation_id", "porf_id", "id"),
        Index("ix_approval_decisions_organisation_id_approver_id", "organisation_id", "approver_id"),
    )

    porf_id: Mapped[int]
    round: Mapped[int] = mapped_column(Integer)
    approver_id: Mapped[int]
    decision: Mapped[str]
    comment: Mapped[str | None]
    content_hash: Mapped[str]
    approver_limit: Mapped[Decimal | None] = mapped_column(Amount)
    limit_currency: Mapped[str | None]
    hash_version: Mapped[int] = mapped_column(Integer, default=1, server_default="1")
    supplier_hash: Mapped[str | None]
    decided_at: Mapped[datetime]
    run_id: Mapped[int | None]
    step_id: Mapped[int | None]
    slot_id: Mapped[int | None]
    principal_id: Mapped[int | None]
    on_behalf_of_id: Mapped[int | None]
    requester_id: Mapped[int | None]
    self_allowed: Mapped[bool | None]
    source: Mapped[str | None]
    carried_from_id: Mapped[int | None]


class ApprovalTimer(TenantRow, Base):
    """When an active step is due for its reminder `n`, or for its escalation. It is deleted when the step closes."""

    __tablename__ = "approval_timers"
    __table_args__ = (
        _of("step_id", "approval_steps"),
        UniqueConstraint("organisation_id", "step_id", "kind", "n", name="uq_approval_timers_n"),
        CheckConstraint("kind IN ('remind', 'escalate')", name="kind"),
        CheckConstraint("n >= 1", name="n"),
        Index("ix_approval_timers_due", "organisation_id", "due_at", "id", postgresql_where=text("done_at IS NULL")),
    )

    step_id: Mapped[int]
    kind: Mapped[str]
    n: Mapped[int] = mapped_column(Integer)
    due_at: Mapped[datetime]
    done_at: Mapped[datetime | None]
