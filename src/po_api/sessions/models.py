"""The sessions: a row per sign-in, checked on every request."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from po_api.core.models import Base, GlobalRow, Timestamped
from po_api.users.models import User


class UserSession(GlobalRow, Timestamped, Base):
    """One sign-in. `token` is the SHA-256 digest (hex) of the token that was shown once; it is live until
    `expires_at` unless `revoked_at` is set."""

    __tablename__ = "sessions"
    __table_args__ = (
        UniqueConstraint("token"),
        CheckConstraint("token ~ '^[0-9a-f]{64}$'", name="token"),
        Index("ix_sessions_user_id_created_at", "user_id", "created_at", "id"),
        Index("ix_sessions_expires_at", "expires_at"),
    )

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    token: Mapped[str]
    expires_at: Mapped[datetime]
    last_seen_at: Mapped[datetime | None]
    ip_address: Mapped[str | None]
    user_agent: Mapped[str | None]
    revoked_at: Mapped[datetime | None]

    user: Mapped[User] = relationship(back_populates="sessions", lazy="raise")
