"""Users: global rows, since a user signs in before they belong to an organisation."""

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column, relationship
from sqlalchemy.types import Text

from po_api.db.models import Amount, Base, GlobalRow, Timestamped, Versioned
from po_api.organisations.models import Organisation

if TYPE_CHECKING:
    from po_api.api_keys.models import ApiKey
    from po_api.sessions.models import UserSession


class User(GlobalRow, Versioned, Timestamped, Base):
    """A user. `email` is stored in its canonical form (`canonical_email`), `google_id` is the provider's subject.

    `approval_limit` is in the organisation's base currency; None is no limit. `is_operator`: the user runs the
    installation; operators may list organisations and have no rights inside one.
    """

    __tablename__ = "users"
    __table_args__ = (
        UniqueConstraint("email"),
        # A subject is unique only together with its issuer (OpenID Connect Core, 5.7).
        UniqueConstraint("identity_issuer", "google_id"),
        # The target of composite foreign keys, which rule out references to other organisations' users.
        UniqueConstraint("organisation_id", "id"),
        CheckConstraint("email <> '' AND length(email) <= 255", name="email"),
        CheckConstraint("approval_limit >= 0", name="approval_limit"),
        CheckConstraint(
            "cardinality(roles) >= 1 AND roles <@ ARRAY['requester', 'approver', 'buyer', 'admin', 'auditor']",
            name="roles",
        ),
        CheckConstraint("(google_id IS NULL) = (identity_issuer IS NULL)", name="identity"),
        Index("ix_users_last_login", "last_login"),
        Index("ix_users_organisation_id_name", "organisation_id", "name", "id"),
        Index("ix_users_organisation_id_created_at", "organisation_id", "created_at", "id"),
    )

    email: Mapped[str]
    name: Mapped[str] = mapped_column(default="", server_default="")
    organisation_id: Mapped[int | None] = mapped_column(ForeignKey("organisations.id"))
    is_active: Mapped[bool] = mapped_column(default=True, server_default="true")
    approval_limit: Mapped[Decimal | None] = mapped_column(Amount)
    google_id: Mapped[str | None]
    identity_issuer: Mapped[str | None]
    roles: Mapped[list[str]] = mapped_column(ARRAY(Text), default=lambda: ["requester"], server_default="{requester}")
    is_operator: Mapped[bool] = mapped_column(default=False, server_default="false")
    last_login: Mapped[datetime | None]

    organisation: Mapped[Organisation | None] = relationship(back_populates="users", lazy="raise")
    sessions: Mapped[list["UserSession"]] = relationship(
        back_populates="user", lazy="raise", cascade="all, delete-orphan", passive_deletes=True
    )
    api_keys: Mapped[list["ApiKey"]] = relationship(
        back_populates="user", lazy="raise", cascade="all, delete-orphan", passive_deletes=True
    )
