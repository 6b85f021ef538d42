"""Representations of comments, and which of them a member sees."""

from sqlalchemy import ColumnElement, FromClause, func, or_, select, true

from po_api.comments.models import Comment, CommentMention
from po_api.db.json_sql import columns_of, json_array, json_object, nested
from po_api.db.query import ORGANISATION_ID, USER_ID, AnySelect
from po_api.members.models import Member
from po_api.members.projections import member_name


def comment_item(comments: FromClause) -> AnySelect:
    """`item`: the comment as JSON; a deleted one has no text."""
    fields = {
        **columns_of(comments, ("id", "author_id")),
        "author_name": member_name(comments.c.author_id),
        "text": func.coalesce(comments.c.text, ""),
        "mentions": nested(_mentions(comments)),
        **columns_of(comments, ("version", "created_at", "edited_at", "deleted_at")),
    }
    comment, text = json_object("comment", fields)
    return select(text.label("item")).select_from(comments).join(comment, true())


def _mentions(comments: FromClause) -> ColumnElement[str]:
    """The mentioned members of a comment that is not deleted, in the order of their ids."""
    member, text = json_object("mentioned", {"id": Member.user_id, "name": Member.name})
    mentions = CommentMention.__table__.join(
        Member.__table__,
        (Member.organisation_id == ORGANISATION_ID) & (Member.user_id == CommentMention.user_id),
    )
    return (
        select(json_array(text, Member.user_id))
        .select_from(mentions.join(member, true()))
        .where(
            CommentMention.organisation_id == ORGANISATION_ID,
            CommentMention.comment_id == comments.c.id,
            comments.c.deleted_at.is_(None),
        )
        .correlate(comments)
        .scalar_subquery()
    )


def is_addressed(comments: FromClause) -> ColumnElement[bool]:
    """Whether the member has written the comment, or is mentioned in it: what a requester sees of the comments on an
    order with lines of others. Parameters: `organisation_id`, `user_id`."""
    mentioned = select(true()).where(
        CommentMention.organisation_id == ORGANISATION_ID,
        CommentMention.comment_id == comments.c.id,
        CommentMention.user_id == USER_ID,
    )
    return or_(comments.c.author_id == USER_ID, mentioned.correlate(comments).exists())


def is_about(column: str, document_id: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether a comment is about the document whose reference is in this column."""
    comments = Comment.__table__
    return (comments.c.organisation_id == ORGANISATION_ID) & (comments.c[column] == document_id)
