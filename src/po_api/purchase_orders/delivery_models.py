"""How orders reach their suppliers: by mail, or as a member has recorded."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, Integer, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from po_api.db.leases import Leased, lease_constraints
from po_api.db.models import Base, TenantRow


class Delivery(TenantRow, Leased, Base):
    """The delivery of a revision of an order: a mail that a worker sends, or one that a member made (`manual`).

    It is sent since `finished_at`, which means that the next server has accepted the mail; `bounced_at` is when a
    member noted that it came back. `file_digest` is the SHA-256 (hex) of the attached PDF, known once that is
    rendered; that of the electronic order is in the event of the sending. `body` keeps the placeholder `{link}`: the
    address is secret. `message_id` is without the brackets, and the same at every attempt. `queued_at` is the time of
    the last request to send it.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organisation_id", "purchase_order_id"], ["purchase_orders.organisation_id", "purchase_orders.id"]
        ),
        ForeignKeyConstraint(["organisation_id", "requested_by_id"], ["members.organisation_id", "members.user_id"]),
        UniqueConstraint("organisation_id", "message_id", name="uq_deliveries_message_id"),
        CheckConstraint("channel IN ('email', 'manual')", name="channel"),
        CheckConstraint("status IN ('queued', 'held', 'sent', 'bounced', 'failed', 'cancelled')", name="status"),
        CheckConstraint("channel <> 'manual' OR status = 'sent'", name="manual"),
        CheckConstraint(
            "channel <> 'email' OR (cardinality(to_addresses) >= 1 AND reply_to IS NOT NULL AND subject IS NOT NULL"
            " AND body IS NOT NULL AND locale IS NOT NULL AND message_id IS NOT NULL)",
            name="email",
        ),
        CheckConstraint("cardinality(to_addresses) + cardinality(cc_addresses) <= 10", name="addresses"),
        CheckConstraint("file_digest ~ '^[0-9a-f]{64}$'", name="file_digest"),
        CheckConstraint(
            "channel <> 'email' OR status NOT IN ('sent', 'bounced') OR file_digest IS NOT NULL", name="attachment"
        ),
        CheckConstraint("status NOT IN ('sent', 'bounced') OR finished_at IS NOT NULL", name="sent_at"),
        CheckConstraint("(status = 'bounced') = (bounced_at IS NOT NULL)", name="bounced_at"),
        CheckConstraint("revision >= 1", name="revision"),
        *lease_constraints("deliveries"),
        Index("ix_deliveries_purchase_order_id", "organisation_id", "purchase_order_id", "id"),
        Index("ix_deliveries_created_at", "organisation_id", "created_at", "id"),
        Index("ix_deliveries_organisation_id_requested_by_id", "organisation_id", "requested_by_id"),
    )

    purchase_order_id: Mapped[int]
    revision: Mapped[int] = mapped_column(Integer)
    channel: Mapped[str]
    to_addresses: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list, server_default="{}")
    cc_addresses: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list, server_default="{}")
    reply_to: Mapped[str | None]
    subject: Mapped[str | None]
    body: Mapped[str | None]
    locale: Mapped[str | None]
    file_digest: Mapped[str | None]
    message_id: Mapped[str | None]
    requested_by_id: Mapped[int]
    queued_at: Mapped[datetime]
    bounced_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(sort_order=90)


class DeliveryLink(TenantRow, Base):
    """An address at which a supplier reads an order: `token_digest` is the SHA-256 (hex) of its secret, which is known
    from the mail only. Each attempt of a mail has a link of its own. It expires some time after the order has ended;
    `viewed_at` is when a person at the supplier has confirmed to have read the order.
    """

    __tablename__ = "delivery_links"
    __table_args__ = (
        ForeignKeyConstraint(["organisation_id", "delivery_id"], ["deliveries.organisation_id", "deliveries.id"]),
        UniqueConstraint("organisation_id", "token_digest", name="uq_delivery_links_token_digest"),
        CheckConstraint("token_digest ~ '^[0-9a-f]{64}$'", name="token_digest"),
        CheckConstraint("(viewed_at IS NULL) = (viewed_by_name IS NULL)", name="viewed_by_name"),
        Index("ix_delivery_links_organisation_id_delivery_id", "organisation_id", "delivery_id"),
    )

    delivery_id: Mapped[int]
    token_digest: Mapped[str]
    expires_at: Mapped[datetime | None]
    viewed_at: Mapped[datetime | None]
    viewed_by_name: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(sort_order=90)
