"""Members: what a user is in one organisation; and the invitations to become one."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import Text

from po_api.core.permissions import Role
from po_api.db.models import Amount, Base, TenantRow, Timestamped, Versioned

_ROLES = "cardinality(roles) >= 1 AND roles <@ ARRAY['requester', 'approver', 'buyer', 'admin', 'auditor']"
_IS_OPEN = "accepted_at IS NULL AND declined_at IS NULL AND revoked_at IS NULL"

# Where a member belongs: the column, and the table and column that it refers to.
_PLACES = (
    ("team_id", "teams", "id"),
    ("manager_id", "members", "user_id"),
    ("default_cost_centre_id", "cost_centres", "id"),
)


class Member(Versioned, Timestamped, Base):
    """What a user is in one organisation. Rights are read and locked here; name and address are as shown there.

    `approval_limit` is in the organisation's base currency; None is no limit. The row stays when the member leaves,
    since documents refer to it. There is no foreign key to `users`, which is not on every server of a distributed
    database. New requests that name no cost centre take the member's default one. Managers form no cycle.
    """

    __tablename__ = "members"
    __table_args__ = (
        CheckConstraint("approval_limit >= 0", name="approval_limit"),
        CheckConstraint("left_at IS NULL OR NOT is_active", name="left_at"),
        CheckConstraint(_ROLES, name="roles"),
        CheckConstraint("manager_id <> user_id", name="manager"),
        # use_alter: these tables refer to members, too.
        *(
            ForeignKeyConstraint(
                ["organisation_id", column], [f"{table}.organisation_id", f"{table}.{key}"], use_alter=True
            )
            for column, table, key in _PLACES
        ),
        *(
            Index(
                f"ix_members_organisation_id_{column}",
                "organisation_id",
                column,
                postgresql_where=text(f"{column} IS NOT NULL"),
            )
            for column, _, _ in _PLACES
        ),
        # Without the user's id: a generic plan would prefer it to the primary key when it looks up a name.
        Index("ix_members_organisation_id_name", "organisation_id", "name"),
        Index("ix_members_organisation_id_created_at", "organisation_id", "created_at", "user_id"),
        Index("ix_members_organisation_id_updated_at", "organisation_id", "updated_at", "user_id"),
        # For the question whether anybody may approve a request, for each draft on a list.
        Index(
            "ix_members_approvers",
            "organisation_id",
            "user_id",
            postgresql_where=text("is_active AND roles && '{approver}'::text[]"),
        ),
    )

    organisation_id: Mapped[int] = mapped_column(
        ForeignKey("organisations.id", name="fk_members_organisation_id"), primary_key=True
    )
    user_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    email: Mapped[str]
    name: Mapped[str] = mapped_column(default="", server_default="")
    roles: Mapped[list[str]] = mapped_column(ARRAY(Text))
    approval_limit: Mapped[Decimal | None] = mapped_column(Amount)
    is_active: Mapped[bool] = mapped_column(default=True, server_default="true")
    joined_at: Mapped[datetime]
    left_at: Mapped[datetime | None]
    team_id: Mapped[int | None]
    manager_id: Mapped[int | None]
    default_cost_centre_id: Mapped[int | None]

    @property
    def is_active_admin(self) -> bool:
        return self.is_active and Role.ADMIN in self.roles


class Invitation(TenantRow, Versioned, Timestamped, Base):
    """An invitation of the person with a verified address; open until it is answered, revoked or has expired."""

    __tablename__ = "invitations"
    __table_args__ = (
        ForeignKeyConstraint(["organisation_id", "invited_by_id"], ["members.organisation_id", "members.user_id"]),
        CheckConstraint("email <> '' AND length(email) <= 255", name="email"),
        CheckConstraint("approval_limit >= 0", name="approval_limit"),
        CheckConstraint(_ROLES, name="roles"),
        CheckConstraint("num_nonnulls(accepted_at, declined_at, revoked_at) <= 1", name="answer"),
        Index("ix_invitations_open", "organisation_id", "email", unique=True, postgresql_where=text(_IS_OPEN)),
        Index("ix_invitations_organisation_id_created_at", "organisation_id", "created_at", "id"),
        Index("ix_invitations_organisation_id_invited_by_id", "organisation_id", "invited_by_id"),
    )

    email: Mapped[str]
    roles: Mapped[list[str]] = mapped_column(ARRAY(Text))
    approval_limit: Mapped[Decimal | None] = mapped_column(Amount)
    invited_by_id: Mapped[int]
    expires_at: Mapped[datetime]
    accepted_at: Mapped[datetime | None]
    declined_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class InvitationAddress(Base):
    """Where an open invitation is, by the digest of the address: for a person who has not entered any organisation.

    The only global row about it; it goes when the invitation is answered or revoked.
    """

    __tablename__ = "invitation_addresses"
    __table_args__ = (Index("ix_invitation_addresses_digest", "digest"),)

    organisation_id: Mapped[int] = mapped_column(
        ForeignKey("organisations.id", name="fk_invitation_addresses_organisation_id"), primary_key=True
    )
    invitation_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    digest: Mapped[str]
