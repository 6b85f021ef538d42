"""API keys: global rows like sessions, since the user is not known before the key is found."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, UniqueConstraint
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column, relationship
from sqlalchemy.types import Text

from po_api.db.models import CURRENT_TENANT, Base, GlobalRow, Timestamped
from po_api.users.models import User


class ApiKey(GlobalRow, Timestamped, Base):
    """A key that acts as its user. `token` is the SHA-256 digest (hex) of the key.

    `organisation_id` is where the user was when they created it: elsewhere it is not valid.
    """

    __tablename__ = "api_keys"
    __table_args__ = (
        UniqueConstraint("token"),
        CheckConstraint("token ~ '^[0-9a-f]{64}$'", name="token"),
        CheckConstraint("name <> '' AND length(name) <= 100", name="name"),
        CheckConstraint("cardinality(scopes) >= 1", name="scopes"),
        Index("ix_api_keys_user_id_created_at", "user_id", "created_at", "id"),
        Index("ix_api_keys_organisation_id_created_at", "organisation_id", "created_at", "id"),
    )

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    organisation_id: Mapped[int | None] = mapped_column(server_default=CURRENT_TENANT)
    credentials_version: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    name: Mapped[str]
    token: Mapped[str]
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    expires_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

    user: Mapped[User] = relationship(back_populates="api_keys", lazy="raise")
