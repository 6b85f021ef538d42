"""Errors of comments."""

from po_api.core.errors import Conflict, FieldError, Forbidden, NotFound, Unprocessable


class CommentNotFound(NotFound):
    """The comment does not exist, or is not visible to the caller."""

    code = "comment_not_found"
    title = "Comment not found"


class CannotMention(Unprocessable):
    """Only active members who may see the document can be mentioned in a comment on it."""

    code = "cannot_mention"
    title = "Member cannot be mentioned"

    def __init__(self) -> None:
        super().__init__(errors=(FieldError("/text", self.code, self.title),))


class TooManyMentions(Unprocessable):
    """A comment mentions at most 50 members."""

    code = "too_many_mentions"
    title = "Too many mentions"

    def __init__(self) -> None:
        super().__init__(errors=(FieldError("/text", self.code, "mentions more than 50 members"),))


class NotAuthor(Forbidden):
    """A comment is edited by its author, and deleted by its author or an administrator."""

    code = "not_author"
    title = "Not the author"


class CommentFinal(Conflict):
    """Its author can edit and delete a comment for 15 minutes; after that, only an administrator can delete it."""

    code = "comment_final"
    title = "Comment cannot be changed any more"


class CommentDeleted(Conflict):
    """The comment was deleted."""

    code = "comment_deleted"
    title = "Comment deleted"
