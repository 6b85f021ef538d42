"""The structure of an organisation: cost centres, categories, teams, approval groups."""

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from po_api.db.models import Base, TenantRow, Timestamped, Versioned, optional_reference

_NAME = "name <> '' AND length(name) <= 255"
_CODE = "code <> '' AND length(code) <= 100"


class Entry(TenantRow, Versioned, Timestamped, Base):
    """An entry that members choose. It is never deleted, since documents refer to it."""

    __abstract__ = True

    name: Mapped[str]
    is_active: Mapped[bool] = mapped_column(default=True, server_default="true")


class Node(Entry):
    """An entry in a hierarchy: no cycles, at most `domain.MAX_LEVELS` levels, parents of active entries are active."""

    __abstract__ = True

    parent_id: Mapped[int | None]


def _constraints(table: str, *sorts: str, key: str) -> tuple[CheckConstraint | Index, ...]:
    """The checks and indexes of entries with a key that is unique among the active ones."""
    return (
        CheckConstraint(_NAME, name="name"),
        Index(f"uq_{table}_{key}", "organisation_id", key, unique=True, postgresql_where=text("is_active")),
        *(
            Index(f"ix_{table}_organisation_id_{column}", "organisation_id", column, "id")
            for column in ("created_at", "updated_at", "name", *sorts)
        ),
    )


class CostCentre(Node):
    """A unit of the organisation that costs are assigned to.

    `code` is fixed, since documents copy it; `code_key` is that of core/text.py.
    """

    __tablename__ = "cost_centres"
    __table_args__ = (
        *_constraints("cost_centres", "code", key="code_key"),
        *optional_reference("cost_centres", "parent_id", "cost_centres"),
        *optional_reference("cost_centres", "owner_id", "members", key="user_id"),
        CheckConstraint(_CODE, name="code"),
        CheckConstraint("parent_id <> id", name="parent"),
    )

    code: Mapped[str]
    code_key: Mapped[str]
    owner_id: Mapped[int | None]


class Category(Node):
    """What is bought. `code` is fixed, since other systems know it; `code_key` is that of core/text.py."""

    __tablename__ = "categories"
    __table_args__ = (
        *_constraints("categories", "code", key="code_key"),
        *optional_reference("categories", "parent_id", "categories"),
        CheckConstraint(_CODE, name="code"),
        CheckConstraint("parent_id <> id", name="parent"),
    )

    code: Mapped[str]
    code_key: Mapped[str]


class Team(Node):
    """A team of members, who name it (`members.team_id`); `name_key` is that of core/text.py."""

    __tablename__ = "teams"
    __table_args__ = (
        *_constraints("teams", key="name_key"),
        *optional_reference("teams", "parent_id", "teams"),
        *optional_reference("teams", "lead_id", "members", key="user_id"),
        CheckConstraint("parent_id <> id", name="parent"),
    )

    name_key: Mapped[str]
    lead_id: Mapped[int | None]


class ApprovalGroup(Entry):
    """Members who decide as a group; `name_key` is that of core/text.py."""

    __tablename__ = "approval_groups"
    __table_args__ = _constraints("approval_groups", key="name_key")

    name_key: Mapped[str]


class ApprovalGroupMember(Base):
    """A member of an approval group: until they are removed, or leave the organisation."""

    __tablename__ = "approval_group_members"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organisation_id", "group_id"], ["approval_groups.organisation_id", "approval_groups.id"]
        ),
        ForeignKeyConstraint(["organisation_id", "user_id"], ["members.organisation_id", "members.user_id"]),
        Index("ix_approval_group_members_organisation_id_user_id", "organisation_id", "user_id"),
    )

    organisation_id: Mapped[int] = mapped_column(primary_key=True)
    group_id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(primary_key=True)
