"""Comments on requests and orders, and the members that they mention."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped

from po_api.db.models import Base, TenantRow, Versioned, optional_reference


class Comment(TenantRow, Versioned, Base):
    """A comment on a request or an order. `text` is null once it is deleted; the audit trail keeps it.

    The table has the name that it had when only requests had comments: the version before writes to it, too.
    """

    __tablename__ = "porf_comments"
    __table_args__ = (
        ForeignKeyConstraint(["organisation_id", "porf_id"], ["porfs.organisation_id", "porfs.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(["organisation_id", "author_id"], ["members.organisation_id", "members.user_id"]),
        CheckConstraint("num_nonnulls(porf_id, purchase_order_id) = 1", name="document"),
        CheckConstraint("length(text) BETWEEN 1 AND 5000", name="text"),
        CheckConstraint("(text IS NULL) = (deleted_at IS NOT NULL)", name="deleted"),
        CheckConstraint("(deleted_at IS NULL) = (deleted_by_id IS NULL)", name="deleted_by"),
        Index("ix_porf_comments_organisation_id_porf_id", "organisation_id", "porf_id", "created_at", "id"),
        Index("ix_porf_comments_organisation_id_author_id", "organisation_id", "author_id"),
        *optional_reference("porf_comments", "purchase_order_id", "purchase_orders", "created_at", "id"),
        *optional_reference("porf_comments", "deleted_by_id", "members", key="user_id"),
    )

    porf_id: Mapped[int | None]
    purchase_order_id: Mapped[int | None]
    author_id: Mapped[int]
    text: Mapped[str | None]
    created_at: Mapped[datetime]
    edited_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
    deleted_by_id: Mapped[int | None]


class CommentMention(TenantRow, Base):
    """A member whom a comment mentions."""

    __tablename__ = "comment_mentions"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organisation_id", "comment_id"], ["porf_comments.organisation_id", "porf_comments.id"], ondelete="CASCADE"
        ),
        ForeignKeyConstraint(["organisation_id", "user_id"], ["members.organisation_id", "members.user_id"]),
        UniqueConstraint("organisation_id", "comment_id", "user_id", name="uq_comment_mentions_user_id"),
        Index("ix_comment_mentions_organisation_id_user_id", "organisation_id", "user_id", "comment_id"),
    )

    comment_id: Mapped[int]
    user_id: Mapped[int]
