"""Sessions: a row per sign-in, checked on every request; and the state of sign-ins in progress."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, UniqueConstraint
from sqlalchemy.dialects.postgresql import BYTEA
from sqlalchemy.orm import Mapped, mapped_column, relationship

from po_api.db.models import Base, GlobalRow, Timestamped
from po_api.users.models import User


class UserSession(GlobalRow, Timestamped, Base):
    """One sign-in. `token` is the SHA-256 digest (hex) of its current refresh token; it is live until `expires_at`
    unless `revoked_at` is set, it was not used for too long, or the user has a later `credentials_version`."""

    __tablename__ = "sessions"
    __table_args__ = (
        UniqueConstraint("token"),
        CheckConstraint("token ~ '^[0-9a-f]{64}$'", name="token"),
        Index("ix_sessions_user_id_created_at", "user_id", "created_at", "id"),
        Index("ix_sessions_expires_at", "expires_at"),
    )

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    credentials_version: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    token: Mapped[str]
    expires_at: Mapped[datetime]
    last_seen_at: Mapped[datetime | None]
    ip_address: Mapped[str | None]
    user_agent: Mapped[str | None]
    revoked_at: Mapped[datetime | None]

    user: Mapped[User] = relationship(back_populates="sessions", lazy="raise")


class RotatedToken(Base):
    """A refresh token that was used: its digest, and the salt from which its successor can be derived again."""

    __tablename__ = "rotated_tokens"
    __table_args__ = (
        CheckConstraint("token ~ '^[0-9a-f]{64}$'", name="token"),
        Index("ix_rotated_tokens_session_id", "session_id"),
    )

    token: Mapped[str] = mapped_column(primary_key=True)
    session_id: Mapped[int] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"))
    salt: Mapped[bytes] = mapped_column(BYTEA)
    rotated_at: Mapped[datetime]


class SignInAttempt(Base):
    """A sign-in in progress: the browser was redirected to the identity provider. Deleted by the callback.

    `state` and `browser` are digests of secrets: the one is in the URL, the other in a cookie. `code_challenge` is the
    front end's, for the code that it exchanges for tokens; None means cookies. A front end of another site gets no
    cookie, so that `browser` is empty if there is a challenge: the code is only useful to the page with its verifier.
    """

    __tablename__ = "sign_in_attempts"
    __table_args__ = (Index("ix_sign_in_attempts_expires_at", "expires_at"),)

    state: Mapped[str] = mapped_column(primary_key=True)
    browser: Mapped[str]
    nonce: Mapped[str]
    code_verifier: Mapped[str]
    return_to: Mapped[str]
    code_challenge: Mapped[str | None]
    expires_at: Mapped[datetime]


class SignInCode(Base):
    """A code that a front end exchanges for the tokens, once; `code` is its digest, `origin` that of the front end.

    It ends with the user's credentials, as a session does (`credentials_version`).
    """

    __tablename__ = "sign_in_codes"
    __table_args__ = (
        Index("ix_sign_in_codes_user_id", "user_id"),
        Index("ix_sign_in_codes_expires_at", "expires_at"),
    )

    code: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    credentials_version: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    code_challenge: Mapped[str]
    # None in rows of the version before.
    origin: Mapped[str | None]
    expires_at: Mapped[datetime]


class UsedIdToken(Base):
    """An ID token that was accepted: `token` is the digest of what is signed in it, kept until it is refused for its
    age."""

    __tablename__ = "used_id_tokens"
    __table_args__ = (
        CheckConstraint("token ~ '^[0-9a-f]{64}$'", name="token"),
        Index("ix_used_id_tokens_expires_at", "expires_at"),
    )

    token: Mapped[str] = mapped_column(primary_key=True)
    expires_at: Mapped[datetime]
