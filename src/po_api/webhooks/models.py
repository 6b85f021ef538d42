"""The tables of webhooks."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, Integer, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from po_api.db.leases import Leased, lease_constraints
from po_api.db.models import Base, TenantRow, Timestamped, Versioned


class WebhookEndpoint(TenantRow, Versioned, Timestamped, Base):
    """An address to which events are delivered.

    `event_types` is None for all types. `feed` and `number` are its position: deliveries were made for the events up to
    there. The secrets are encrypted (encryption.py); the previous one also signs until `previous_secret_until`.
    `failing_since` is the time of the first failure after the last success.
    """

    __tablename__ = "webhook_endpoints"
    __table_args__ = (
        CheckConstraint(
            "disabled_reason IN ('by_admin', 'gone', 'failing', 'secret_undecryptable')", name="disabled_reason"
        ),
        CheckConstraint("is_active = (disabled_reason IS NULL)", name="is_active"),
        CheckConstraint("is_active = (disabled_at IS NULL)", name="disabled_at"),
        CheckConstraint("(previous_secret IS NULL) = (previous_secret_until IS NULL)", name="previous_secret"),
        CheckConstraint("number >= 0", name="number"),
        Index("ix_webhook_endpoints_organisation_id_created_at", "organisation_id", "created_at", "id"),
    )

    url: Mapped[str]
    description: Mapped[str | None]
    event_types: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    is_active: Mapped[bool] = mapped_column(default=True, server_default="true")
    disabled_reason: Mapped[str | None]
    disabled_at: Mapped[datetime | None]
    failing_since: Mapped[datetime | None]
    secret: Mapped[str]
    previous_secret: Mapped[str | None]
    previous_secret_until: Mapped[datetime | None]
    feed: Mapped[str | None]
    number: Mapped[int] = mapped_column(default=0, server_default="0")


class WebhookMessage(TenantRow, Base):
    """What is sent for an event, the same to every endpoint and at every attempt; a ping has no event.

    `webhook_id` is random: after a restore, other events get the ids of those that were lost.
    """

    __tablename__ = "webhook_messages"
    __table_args__ = (
        ForeignKeyConstraint(["organisation_id", "event_id"], ["audit_events.organisation_id", "audit_events.id"]),
        UniqueConstraint("organisation_id", "event_id"),
    )

    event_id: Mapped[int | None]
    webhook_id: Mapped[str]
    body: Mapped[str]
    created_at: Mapped[datetime]


class WebhookDelivery(TenantRow, Leased, Base):
    """The delivery of a message to an endpoint, leased for each attempt; the answer is that to the last one.

    `number` and `type` are those of the event; a ping has no number. `duration_ms` is that of the last attempt.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organisation_id", "endpoint_id"], ["webhook_endpoints.organisation_id", "webhook_endpoints.id"]
        ),
        ForeignKeyConstraint(
            ["organisation_id", "message_id"], ["webhook_messages.organisation_id", "webhook_messages.id"]
        ),
        UniqueConstraint("organisation_id", "endpoint_id", "message_id"),
        CheckConstraint("status IN ('queued', 'held', 'delivered', 'failed')", name="status"),
        *lease_constraints("webhook_deliveries"),
        Index(
            "ix_webhook_deliveries_due",
            "organisation_id",
            "endpoint_id",
            "next_attempt_at",
            "id",
            postgresql_where=text("next_attempt_at IS NOT NULL"),
        ),
        Index("ix_webhook_deliveries_organisation_id_message_id", "organisation_id", "message_id"),
        Index("ix_webhook_deliveries_created_at", "organisation_id", "endpoint_id", "created_at", "id"),
        Index("ix_webhook_deliveries_finished_at", "organisation_id", "finished_at"),
    )

    endpoint_id: Mapped[int]
    message_id: Mapped[int]
    type: Mapped[str]
    number: Mapped[int | None]
    url: Mapped[str | None]
    attempted_at: Mapped[datetime | None]
    duration_ms: Mapped[int | None] = mapped_column(Integer)
    response_status: Mapped[int | None] = mapped_column(Integer)
    response_body: Mapped[str | None]
    created_at: Mapped[datetime]
