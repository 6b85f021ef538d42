"""Bodies of requests and responses about comments."""

from datetime import datetime

from pydantic import Field

from po_api.web.schemas import LongText, Page, Schema

_TEXT = "`@[7]` mentions the member with the id 7, who has to be active and may see the document"
_EXAMPLE = "Delivery to the side entrance, please"


class CommentCreate(Schema):
    """A comment."""

    text: LongText = Field(description=_TEXT, examples=[_EXAMPLE])


class CommentUpdate(Schema):
    """The new text of a comment."""

    text: LongText = Field(description=_TEXT, examples=[_EXAMPLE])


class MentionRead(Schema):
    """A member whom a comment mentions."""

    id: int
    name: str = Field(examples=["Bo Buyer"])


class CommentRead(Schema):
    """A comment; one that was deleted has no text."""

    id: int
    author_id: int
    author_name: str = Field(examples=["Bo Buyer"])
    text: str = Field(examples=[_EXAMPLE])
    mentions: list[MentionRead]
    version: int = Field(description="The version for `If-Match`, in quotes")
    created_at: datetime
    edited_at: datetime | None
    deleted_at: datetime | None


class CommentPage(Page):
    """One page of comments."""

    items: list[CommentRead]
