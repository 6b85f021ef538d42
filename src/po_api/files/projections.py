"""Representations of files, and which of them are on a list."""

from sqlalchemy import ColumnElement, FromClause, and_, or_, select, true

from po_api.comments.models import Comment
from po_api.comments.projections import is_about, is_addressed
from po_api.db.json_sql import columns_of, json_object
from po_api.db.query import ORGANISATION_ID, USER_ID, AnySelect
from po_api.files.domain import FileOwner
from po_api.files.models import Attachment, Blob
from po_api.members.projections import member_name


def file_item(files: FromClause) -> AnySelect:
    """`item`: the file as JSON, without its content."""
    size = select(Blob.size).where(Blob.organisation_id == ORGANISATION_ID, Blob.digest == files.c.digest)
    fields = {
        **columns_of(files, ("id", "comment_id", "name", "media_type")),
        "size": size.correlate(files).scalar_subquery(),
        **columns_of(files, ("digest", "visibility", "frozen_revision", "uploaded_by_id")),
        "uploaded_by_name": member_name(files.c.uploaded_by_id),
        "created_at": files.c.created_at,
    }
    file, text = json_object("file", fields)
    return select(text.label("item")).select_from(files).join(file, true())


def is_of_document(owner: FileOwner, document_id: ColumnElement[int], *, only_addressed: bool) -> ColumnElement[bool]:
    """Whether a file is one of a request or an order, or of a comment on it.

    With `only_addressed`, it has to be one that the member has uploaded, or of a comment that they have written or that
    mentions them. Parameters: `organisation_id`, `user_id`.
    """
    column, comments = f"{owner}_id", Comment.__table__
    of_comments = select(comments.c.id).where(is_about(column, document_id), comments.c.deleted_at.is_(None))
    own = Attachment.__table__.c[column] == document_id
    if only_addressed:
        of_comments = of_comments.where(is_addressed(comments))
        own = and_(own, Attachment.uploaded_by_id == USER_ID)
    return and_(
        Attachment.organisation_id == ORGANISATION_ID,
        or_(own, Attachment.comment_id.in_(of_comments)),
    )
