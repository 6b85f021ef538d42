"""What members say about documents: add, edit, delete. The features of the documents check who may see them."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import NamedTuple

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.comments.domain import MAX_MENTIONS, may_change, mentions_of
from po_api.comments.errors import (
    CannotMention,
    CommentDeleted,
    CommentFinal,
    CommentNotFound,
    NotAuthor,
    TooManyMentions,
)
from po_api.comments.events import CommentAdded, CommentEdited, CommentWithdrawn
from po_api.comments.identity import Document
from po_api.comments.models import Comment, CommentMention
from po_api.comments.queries import CommentQueries
from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.permissions import Role
from po_api.core.versions import ExpectedVersions, require_version
from po_api.db.json_sql import JsonDocument
from po_api.db.listeners import Listeners
from po_api.db.query import TransactionExecutor

MAX_ID = 2**63 - 1


class About(NamedTuple):
    """The document of a comment: `readers_among` returns the ids of those of some members who may see it, and
    `only_addressed` is true if the actor sees only comments that they have written or that mention them."""

    document: Document
    readers_among: Callable[[Collection[Actor]], Awaitable[Collection[int]]]
    only_addressed: bool = False


class CommentService:
    """Changes the comments on documents that the actor sees; it flushes, the caller commits."""

    def __init__(self, session: AsyncSession, actor: Actor, listeners: Listeners) -> None:
        self._session = session
        self._actor = actor
        self._listeners = listeners
        self._queries = CommentQueries(TransactionExecutor(session), actor)

    async def add(self, about: About, text: str) -> JsonDocument:
        """Add a comment. Raises CannotMention or TooManyMentions."""
        document, mentioned = about.document, await self._mentions(about, text)
        comment = Comment(
            organisation_id=self._actor.organisation_id,
            **{document.column: document.id},
            author_id=self._actor.member_id,
            text=text,
            created_at=utc_now(),
        )
        self._session.add(comment)
        await self._session.flush()
        await self._mention(comment.id, mentioned)
        event = CommentAdded(self._actor, document.entity, document.id, comment.id, mentioned)
        await self._listeners.notify(self._session, event)
        return await self._queries.shown(document, comment.id)

    async def edit(self, about: About, comment_id: int, text: str, *, expected: ExpectedVersions) -> JsonDocument:
        """Replace the text of the actor's own comment, as long as it is new.

        Raises CommentNotFound, NotAuthor, CommentDeleted, CommentFinal, and what `add` raises.
        """
        document = about.document
        comment = await self._locked(about, comment_id, expected, is_deletion=False)
        if comment.text == text:
            return await self._queries.shown(document, comment_id)
        mentioned, before = await self._mentions(about, text), await self._queries.mentioned(comment_id)
        old, new = ({"comment_id": comment_id, "text": said} for said in (comment.text, text))
        comment.text, comment.edited_at = text, utc_now()
        comment.version += 1
        await self._record("edit_comment", document, old, new)
        unmentioned = sorted(before - set(mentioned))
        await self._forget(comment_id, unmentioned)
        added = [user_id for user_id in mentioned if user_id not in before]
        await self._mention(comment_id, added)
        event = CommentEdited(self._actor, document.entity, document.id, comment_id, added, unmentioned)
        await self._listeners.notify(self._session, event)
        return await self._queries.shown(document, comment_id)

    async def delete(self, about: About, comment_id: int, *, expected: ExpectedVersions) -> None:
        """Delete a comment: its author as long as it is new, or an administrator. It is shown without its text.

        Raises CommentNotFound, NotAuthor, CommentDeleted or CommentFinal.
        """
        comment = await self._locked(about, comment_id, expected, is_deletion=True)
        before = {"comment_id": comment_id, "text": comment.text}
        comment.text, comment.deleted_at, comment.deleted_by_id = None, utc_now(), self._actor.member_id
        comment.version += 1
        await self._record("delete_comment", about.document, before, None)
        event = CommentWithdrawn(self._actor, about.document.entity, about.document.id, comment_id)
        await self._listeners.notify(self._session, event)

    async def require_own(self, about: About, comment_id: int) -> None:
        """Raise CommentNotFound, CommentDeleted or NotAuthor unless the actor has written the comment."""
        found = await self._queries.state(about.document, comment_id, only_addressed=about.only_addressed)
        if found is None:
            raise CommentNotFound
        if found.author_id != self._actor.user_id:
            raise NotAuthor
        if found.deleted_at is not None:
            raise CommentDeleted

    async def _locked(self, about: About, comment_id: int, expected: ExpectedVersions, *, is_deletion: bool) -> Comment:
        """A comment that the actor may change now, locked."""
        document, now = about.document, utc_now()
        # Who may see it does not change: it is asked before the lock.
        if await self._queries.state(document, comment_id, only_addressed=about.only_addressed) is None:
            raise CommentNotFound
        key = (self._actor.organisation_id, comment_id)
        comment = await self._session.get(Comment, key, with_for_update={"key_share": True}, populate_existing=True)
        if comment is None:  # it went with its draft
            raise CommentNotFound
        is_admin = is_deletion and Role.ADMIN in self._actor.roles
        if comment.author_id != self._actor.user_id and not is_admin:
            raise NotAuthor
        if comment.deleted_at is not None:
            raise CommentDeleted
        if not is_admin and not may_change(comment.created_at, now):
            raise CommentFinal
        require_version(comment.version, expected)
        return comment

    async def _mentions(self, about: About, text: str) -> list[int]:
        """The ids of the mentioned members. One error for all who cannot be: it does not tell whether they exist."""
        mentioned = mentions_of(text)
        if len(mentioned) > MAX_MENTIONS:
            raise TooManyMentions
        if not mentioned:
            return mentioned
        known = await self._queries.active_members([user_id for user_id in mentioned if user_id <= MAX_ID])
        if not set(mentioned) <= set(await about.readers_among(known)):
            raise CannotMention
        return mentioned

    async def _mention(self, comment_id: int, user_ids: Collection[int]) -> None:
        mine = self._actor.organisation_id
        self._session.add_all(
            CommentMention(organisation_id=mine, comment_id=comment_id, user_id=user_id) for user_id in user_ids
        )
        await self._session.flush()

    async def _forget(self, comment_id: int, user_ids: Collection[int]) -> None:
        if user_ids:
            await self._session.execute(
                delete(CommentMention).where(
                    CommentMention.organisation_id == self._actor.organisation_id,
                    CommentMention.comment_id == comment_id,
                    CommentMention.user_id.in_(user_ids),
                )
            )

    async def _record(
        self,
        action: str,
        document: Document,
        before: Mapping[str, object] | None,
        after: Mapping[str, object] | None,
    ) -> None:
        change = audit.Change(f"{document.entity}.{action}", document.entity.value, document.id, before, after)
        await audit.record(self._session, self._actor, change)
