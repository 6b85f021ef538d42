"""Users: accounts. They are global rows, since a user signs in before they belong to an organisation."""

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from po_api.db.models import Base, GlobalRow, Timestamped, Versioned
from po_api.organisations.models import Organisation

if TYPE_CHECKING:
    from po_api.api_keys.models import ApiKey
    from po_api.sessions.models import UserSession


class User(GlobalRow, Versioned, Timestamped, Base):
    """An account. `email` is stored in its canonical form (`canonical_email`), `google_id` is the provider's subject.

    `organisation_id` is the organisation that the user is in now; what they may do there is in `members`.
    `is_active` is about the account, which only operators deactivate. `credentials_version` is that of the sessions and
    keys that are valid: a higher one ends all earlier ones. `former_organisation_id` is the organisation that has
    deactivated the member, until the user joins another one. `is_operator`: the user runs the installation; operators
    may list organisations and have no rights inside one.
    """

    __tablename__ = "users"
    __table_args__ = (
        UniqueConstraint("email"),
        # A subject is unique only together with its issuer (OpenID Connect Core, 5.7).
        UniqueConstraint("identity_issuer", "google_id"),
        CheckConstraint("email <> '' AND length(email) <= 255", name="email"),
        CheckConstraint("(google_id IS NULL) = (identity_issuer IS NULL)", name="identity"),
        Index("ix_users_last_login", "last_login"),
        Index("ix_users_organisation_id", "organisation_id"),
    )

    email: Mapped[str]
    name: Mapped[str] = mapped_column(default="", server_default="")
    organisation_id: Mapped[int | None] = mapped_column(ForeignKey("organisations.id"))
    is_active: Mapped[bool] = mapped_column(default=True, server_default="true")
    google_id: Mapped[str | None]
    identity_issuer: Mapped[str | None]
    is_operator: Mapped[bool] = mapped_column(default=False, server_default="false")
    last_login: Mapped[datetime | None]
    former_organisation_id: Mapped[int | None]
    credentials_version: Mapped[int] = mapped_column(Integer, default=0, server_default="0")

    organisation: Mapped[Organisation | None] = relationship(back_populates="users", lazy="raise")
    sessions: Mapped[list["UserSession"]] = relationship(
        back_populates="user", lazy="raise", cascade="all, delete-orphan", passive_deletes=True
    )
    api_keys: Mapped[list["ApiKey"]] = relationship(
        back_populates="user", lazy="raise", cascade="all, delete-orphan", passive_deletes=True
    )
