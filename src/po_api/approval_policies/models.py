"""Approval policies and their rules."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, Integer, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from po_api.db.models import Amount, Base, Percent, TenantRow, Timestamped, Versioned, optional_reference


class ApprovalPolicy(TenantRow, Versioned, Timestamped, Base):
    """One version of the rules for one kind of document. Only a draft changes.

    `reapproval_percent` and `reapproval_amount` (in the base currency) say how much more a request may cost that is
    submitted again, so that earlier decisions stand.
    """

    __tablename__ = "approval_policies"
    __table_args__ = (
        UniqueConstraint("organisation_id", "document_type", "version_no", name="uq_approval_policies_version_no"),
        *optional_reference("approval_policies", "published_by_id", "members", key="user_id"),
        CheckConstraint("document_type IN ('porf')", name="document_type"),
        CheckConstraint("version_no >= 1", name="version_no"),
        CheckConstraint("status IN ('draft', 'published', 'retired')", name="status"),
        CheckConstraint("no_rule IN ('any_approver', 'auto_approve', 'refuse')", name="no_rule"),
        CheckConstraint("carry IN ('never', 'consecutive')", name="carry"),
        CheckConstraint("reapproval_percent >= 0 AND reapproval_amount >= 0", name="reapproval"),
        CheckConstraint(
            "(status = 'draft') = (published_at IS NULL) AND (published_at IS NULL) = (published_by_id IS NULL)",
            name="published",
        ),
        *(
            Index(
                f"uq_approval_policies_{status}",
                "organisation_id",
                "document_type",
                unique=True,
                postgresql_where=text(f"status = '{status}'"),
            )
            for status in ("draft", "published")
        ),
        Index("ix_approval_policies_organisation_id_created_at", "organisation_id", "created_at", "id"),
    )

    document_type: Mapped[str] = mapped_column(default="porf", server_default="porf")
    version_no: Mapped[int] = mapped_column(Integer)
    status: Mapped[str] = mapped_column(default="draft", server_default="draft")
    no_rule: Mapped[str] = mapped_column(default="any_approver", server_default="any_approver")
    carry: Mapped[str] = mapped_column(default="consecutive", server_default="consecutive")
    reapproval_percent: Mapped[Decimal] = mapped_column(Percent, default=Decimal(0), server_default="0")
    reapproval_amount: Mapped[Decimal | None] = mapped_column(Amount)
    published_at: Mapped[datetime | None]
    published_by_id: Mapped[int | None]


class ApprovalRule(TenantRow, Timestamped, Base):
    """A rule: documents that fulfil its `conditions` need a step, decided by its `approvers`.

    `required_count` is how many have to decide; None for all. `enforce_limit`: within their approval limits.
    """

    __tablename__ = "approval_rules"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organisation_id", "policy_id"],
            ["approval_policies.organisation_id", "approval_policies.id"],
            ondelete="CASCADE",
        ),
        *optional_reference("approval_rules", "on_empty_group_id", "approval_groups"),
        *optional_reference("approval_rules", "escalation_group_id", "approval_groups"),
        CheckConstraint("stage BETWEEN 1 AND 99", name="stage"),
        CheckConstraint("position >= 1", name="position"),
        CheckConstraint("name <> '' AND length(name) <= 255", name="name"),
        CheckConstraint("jsonb_typeof(conditions) = 'object'", name="conditions"),
        CheckConstraint("jsonb_typeof(approvers) = 'array'", name="approvers"),
        CheckConstraint("required_count >= 1", name="required_count"),
        CheckConstraint(
            "on_empty IN ('requester_manager', 'group', 'block', 'skip')"
            " AND (on_empty = 'group') = (on_empty_group_id IS NOT NULL)",
            name="on_empty",
        ),
        CheckConstraint("remind_after_hours BETWEEN 1 AND 8784", name="remind_after_hours"),
        CheckConstraint("escalate_after_hours BETWEEN 1 AND 8784", name="escalate_after_hours"),
        CheckConstraint(
            "escalate_to IN ('manager', 'group') AND (escalate_to IS NULL) = (escalate_after_hours IS NULL)"
            " AND (escalate_to IS NOT DISTINCT FROM 'group') = (escalation_group_id IS NOT NULL)",
            name="escalate_to",
        ),
        Index("ix_approval_rules_organisation_id_policy_id", "organisation_id", "policy_id", "stage", "position", "id"),
    )

    policy_id: Mapped[int]
    stage: Mapped[int] = mapped_column(Integer)
    position: Mapped[int] = mapped_column(Integer)
    name: Mapped[str]
    conditions: Mapped[dict[str, object]] = mapped_column(JSONB, default=dict, server_default="{}")
    approvers: Mapped[list[dict[str, object]]] = mapped_column(JSONB, default=list, server_default="[]")
    required_count: Mapped[int | None] = mapped_column(Integer)
    enforce_limit: Mapped[bool] = mapped_column(default=False, server_default="false")
    on_empty: Mapped[str] = mapped_column(default="block", server_default="block")
    on_empty_group_id: Mapped[int | None]
    remind_after_hours: Mapped[int | None] = mapped_column(Integer)
    escalate_after_hours: Mapped[int | None] = mapped_column(Integer)
    escalate_to: Mapped[str | None]
    escalation_group_id: Mapped[int | None]
    comment_required: Mapped[bool] = mapped_column(default=False, server_default="false")
