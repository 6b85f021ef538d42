"""The stored responses of idempotency keys."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, Integer, text
from sqlalchemy.dialects.postgresql import BYTEA, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from po_api.db.models import CURRENT_TENANT, Base


class IdempotencyRecord(Base):
    """The response to one request of one user; written in the transaction of the request.

    `organisation_id` is the one that the request was about; 0 for none.
    """

    __tablename__ = "idempotency_records"
    __table_args__ = (
        CheckConstraint("length(key) BETWEEN 1 AND 255", name="key"),
        CheckConstraint("request_hash ~ '^[0-9a-f]{64}$'", name="request_hash"),
        Index("ix_idempotency_records_created_at", "created_at"),
    )

    organisation_id: Mapped[int] = mapped_column(
        primary_key=True, autoincrement=False, server_default=text(f"coalesce({CURRENT_TENANT.text}, 0)")
    )
    user_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    route: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[str]
    status: Mapped[int] = mapped_column(Integer)
    headers: Mapped[dict[str, Any]] = mapped_column(JSONB)
    body: Mapped[bytes] = mapped_column(BYTEA)
    created_at: Mapped[datetime]
