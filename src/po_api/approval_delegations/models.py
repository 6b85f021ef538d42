"""Delegations of approvals."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, text
from sqlalchemy.orm import Mapped

from po_api.db.models import Base, TenantRow


class ApprovalDelegation(TenantRow, Base):
    """The delegate may decide for the delegator in [`starts_at`, `ends_at`), until it is revoked."""

    __tablename__ = "approval_delegations"
    __table_args__ = (
        *(
            ForeignKeyConstraint(["organisation_id", who], ["members.organisation_id", "members.user_id"])
            for who in ("delegator_id", "delegate_id", "created_by_id")
        ),
        CheckConstraint("delegator_id <> delegate_id", name="delegate_id"),
        CheckConstraint("ends_at > starts_at AND ends_at <= starts_at + interval '366 days'", name="ends_at"),
        CheckConstraint("length(reason) BETWEEN 1 AND 1000", name="reason"),
        # Who decides for whom, now.
        *(
            Index(
                f"ix_approval_delegations_{who}",
                "organisation_id",
                f"{who}_id",
                "ends_at",
                postgresql_where=text("revoked_at IS NULL"),
            )
            for who in ("delegator", "delegate")
        ),
        *(
            Index(f"ix_approval_delegations_organisation_id_{who}", "organisation_id", who)
            for who in ("delegator_id", "delegate_id", "created_by_id")
        ),
        Index("ix_approval_delegations_organisation_id_starts_at", "organisation_id", "starts_at", "id"),
    )

    delegator_id: Mapped[int]
    delegate_id: Mapped[int]
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    reason: Mapped[str | None]
    created_by_id: Mapped[int]
    revoked_at: Mapped[datetime | None]
