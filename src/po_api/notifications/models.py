"""What members are told, how they want to be told, and the mails about it."""

from datetime import datetime

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    PrimaryKeyConstraint,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from po_api.db.leases import Leased, lease_constraints
from po_api.db.models import Base, TenantRow, optional_reference


class Notification(TenantRow, Base):
    """What one member is told about one request, order or delegation, which goes with it.

    `dedupe_key` names the cause: each member is told of it once. `actor_id` is the member who did it, if one did.
    `resolved_at` is when there was nothing to do about it any more, `mailed_at` when a mail about it was handed over.
    `is_planned`: it was looked at for a mail.
    """

    __tablename__ = "notifications"
    __table_args__ = (
        ForeignKeyConstraint(["organisation_id", "user_id"], ["members.organisation_id", "members.user_id"]),
        ForeignKeyConstraint(["organisation_id", "porf_id"], ["porfs.organisation_id", "porfs.id"], ondelete="CASCADE"),
        Index(
            "ix_notifications_organisation_id_porf_id",
            "organisation_id",
            "porf_id",
            postgresql_where=text("porf_id IS NOT NULL"),
        ),
        *optional_reference("notifications", "purchase_order_id", "purchase_orders"),
        *optional_reference("notifications", "approval_delegation_id", "approval_delegations"),
        *optional_reference("notifications", "actor_id", "members", key="user_id"),
        UniqueConstraint("organisation_id", "user_id", "dedupe_key", name="uq_notifications_dedupe_key"),
        CheckConstraint("num_nonnulls(porf_id, purchase_order_id, approval_delegation_id) = 1", name="entity"),
        CheckConstraint("kind ~ '^[a-z_]{1,40}$'", name="kind"),
        CheckConstraint("actor_id <> user_id", name="actor"),
        CheckConstraint("length(dedupe_key) BETWEEN 1 AND 100", name="dedupe_key"),
        CheckConstraint("jsonb_typeof(data) = 'object'", name="data"),
        Index("ix_notifications_created_at", "organisation_id", "user_id", "created_at", "id"),
        Index(
            "ix_notifications_unread",
            "organisation_id",
            "user_id",
            "created_at",
            "id",
            postgresql_where=text("read_at IS NULL AND resolved_at IS NULL"),
        ),
        Index("ix_notifications_unplanned", "organisation_id", "id", postgresql_where=text("NOT is_planned")),
    )

    user_id: Mapped[int]
    kind: Mapped[str]
    porf_id: Mapped[int | None]
    purchase_order_id: Mapped[int | None]
    approval_delegation_id: Mapped[int | None]
    actor_id: Mapped[int | None]
    data: Mapped[dict[str, object]] = mapped_column(JSONB, default=dict, server_default="{}")
    dedupe_key: Mapped[str]
    is_planned: Mapped[bool] = mapped_column(default=False, server_default="false")
    created_at: Mapped[datetime] = mapped_column(sort_order=90)
    read_at: Mapped[datetime | None] = mapped_column(sort_order=91)
    resolved_at: Mapped[datetime | None] = mapped_column(sort_order=92)
    mailed_at: Mapped[datetime | None] = mapped_column(sort_order=93)


class NotificationPreference(Base):
    """How a member wants to be told of notifications of one kind; without a row, as `domain.DEFAULTS` says."""

    __tablename__ = "notification_preferences"
    __table_args__ = (
        PrimaryKeyConstraint("organisation_id", "user_id", "kind"),
        ForeignKeyConstraint(["organisation_id", "user_id"], ["members.organisation_id", "members.user_id"]),
        CheckConstraint("kind ~ '^[a-z_]{1,40}$'", name="kind"),
        CheckConstraint("email IN ('now', 'digest', 'off')", name="email"),
        CheckConstraint("in_app OR kind <> 'approval_needed'", name="in_app"),
        CheckConstraint("version >= 1", name="version"),
    )

    organisation_id: Mapped[int] = mapped_column(
        ForeignKey("organisations.id", name="fk_notification_preferences_organisation_id")
    )
    user_id: Mapped[int]
    kind: Mapped[str]
    in_app: Mapped[bool]
    email: Mapped[str]
    version: Mapped[int] = mapped_column(Integer, default=1, server_default="1")


class NotificationMail(TenantRow, Leased, Base):
    """A mail to a member: about one notification, or the digest of a day. `key` names it: nobody gets one twice.

    What it is about is decided when it is sent: `item_count` is the number of notifications in it, 0 if there was
    nothing left to tell and nothing was sent. `message_id` is without the brackets, and the same at every attempt.
    """

    __tablename__ = "notification_mails"
    __table_args__ = (
        ForeignKeyConstraint(["organisation_id", "user_id"], ["members.organisation_id", "members.user_id"]),
        ForeignKeyConstraint(
            ["organisation_id", "notification_id"],
            ["notifications.organisation_id", "notifications.id"],
            ondelete="CASCADE",
        ),
        Index(
            "ix_notification_mails_organisation_id_notification_id",
            "organisation_id",
            "notification_id",
            postgresql_where=text("notification_id IS NOT NULL"),
        ),
        UniqueConstraint("organisation_id", "user_id", "key", name="uq_notification_mails_key"),
        CheckConstraint("kind IN ('single', 'digest')", name="kind"),
        CheckConstraint("(kind = 'single') = (notification_id IS NOT NULL)", name="notification_id"),
        CheckConstraint("length(key) BETWEEN 1 AND 100", name="key"),
        CheckConstraint("status IN ('queued', 'held', 'done', 'failed', 'cancelled')", name="status"),
        CheckConstraint("item_count >= 0", name="item_count"),
        *lease_constraints("notification_mails"),
    )

    user_id: Mapped[int]
    kind: Mapped[str]
    key: Mapped[str]
    notification_id: Mapped[int | None]
    message_id: Mapped[str]
    item_count: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(sort_order=90)
