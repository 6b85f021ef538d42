"""Files: their contents, each once in an organisation, and what they are attached to."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, Integer, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import BYTEA
from sqlalchemy.orm import Mapped, mapped_column

from po_api.db.models import Base, TenantRow, optional_reference


class Blob(TenantRow, Base):
    """The content of files; `digest` is its SHA-256 (hex), `size` in bytes. It goes with the last draft that has it."""

    __tablename__ = "blobs"
    __table_args__ = (
        UniqueConstraint("organisation_id", "digest", name="uq_blobs_organisation_id_digest"),
        CheckConstraint("digest ~ '^[0-9a-f]{64}$'", name="digest"),
        CheckConstraint("size = octet_length(content) AND size BETWEEN 1 AND 20971520", name="size"),
    )

    digest: Mapped[str]
    size: Mapped[int] = mapped_column(Integer)
    content: Mapped[bytes] = mapped_column(BYTEA)


class Attachment(TenantRow, Base):
    """A file of a request, an order or a comment. One that is deleted stays, hidden.

    `media_type` is the type of the content, or that of a text by its name. A file with the visibility `supplier` is
    part of the order from the revision `frozen_revision` on, which is set when the order is issued.
    """

    __tablename__ = "attachments"
    __table_args__ = (
        ForeignKeyConstraint(["organisation_id", "porf_id"], ["porfs.organisation_id", "porfs.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(
            ["organisation_id", "comment_id"], ["porf_comments.organisation_id", "porf_comments.id"], ondelete="CASCADE"
        ),
        ForeignKeyConstraint(
            ["organisation_id", "purchase_order_id"], ["purchase_orders.organisation_id", "purchase_orders.id"]
        ),
        ForeignKeyConstraint(["organisation_id", "digest"], ["blobs.organisation_id", "blobs.digest"]),
        ForeignKeyConstraint(["organisation_id", "uploaded_by_id"], ["members.organisation_id", "members.user_id"]),
        CheckConstraint("num_nonnulls(porf_id, purchase_order_id, comment_id) = 1", name="owner"),
        CheckConstraint("length(name) BETWEEN 1 AND 255", name="name"),
        CheckConstraint("visibility IN ('internal', 'supplier')", name="visibility"),
        CheckConstraint("visibility = 'internal' OR purchase_order_id IS NOT NULL", name="supplier"),
        CheckConstraint("frozen_revision IS NULL OR (visibility = 'supplier' AND deleted_at IS NULL)", name="frozen"),
        CheckConstraint("(deleted_at IS NULL) = (deleted_by_id IS NULL)", name="deleted"),
        *(
            Index(
                f"ix_attachments_{column}",
                "organisation_id",
                column,
                "created_at",
                "id",
                postgresql_where=text(f"{column} IS NOT NULL"),
            )
            for column in ("porf_id", "purchase_order_id", "comment_id")
        ),
        Index("ix_attachments_organisation_id_digest", "organisation_id", "digest"),
        Index("ix_attachments_organisation_id_uploaded_by_id", "organisation_id", "uploaded_by_id"),
        *optional_reference("attachments", "deleted_by_id", "members", key="user_id"),
    )

    porf_id: Mapped[int | None]
    purchase_order_id: Mapped[int | None]
    comment_id: Mapped[int | None]
    name: Mapped[str]
    media_type: Mapped[str]
    digest: Mapped[str]
    visibility: Mapped[str] = mapped_column(default="internal", server_default="internal")
    frozen_revision: Mapped[int | None] = mapped_column(Integer)
    uploaded_by_id: Mapped[int]
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
    deleted_by_id: Mapped[int | None]
