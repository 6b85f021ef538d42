"""Comments on requests, and their files."""

from collections.abc import Collection

from sqlalchemy.ext.asyncio import AsyncSession

from po_api.comments.identity import CommentedEntity, Document
from po_api.comments.service import About, CommentService
from po_api.core.actor import Actor
from po_api.core.permissions import Permission
from po_api.core.versions import ExpectedVersions
from po_api.db.json_sql import JsonDocument
from po_api.db.listeners import Listeners
from po_api.db.query import TransactionExecutor
from po_api.files.domain import CheckedFile, FileOwner, Place
from po_api.files.service import FileService
from po_api.porfs.errors import PorfNotFound
from po_api.porfs.read_service import PorfReadService
from po_api.porfs.repository import PorfRepository
from po_api.porfs.visibility import sees


class PorfCollaboration:
    """Comments on visible requests, and attaches files to them; auditors do not. It flushes, the caller commits.

    Raises PorfNotFound and MissingRole, and what `CommentService` and `FileService` raise.
    """

    def __init__(self, session: AsyncSession, actor: Actor, listeners: Listeners) -> None:
        self._actor = actor
        self._repository = PorfRepository(session, actor)
        self._porfs = PorfReadService(TransactionExecutor(session), actor)
        self._comments = CommentService(session, actor, listeners)
        self._files = FileService(session, actor)

    async def comment(self, porf_id: int, text: str) -> JsonDocument:
        """Add a comment."""
        return await self._comments.add(await self._about(porf_id), text)

    async def edit_comment(
        self, porf_id: int, comment_id: int, text: str, *, expected: ExpectedVersions
    ) -> JsonDocument:
        """Replace the text of the actor's own new comment."""
        return await self._comments.edit(await self._about(porf_id), comment_id, text, expected=expected)

    async def delete_comment(self, porf_id: int, comment_id: int, *, expected: ExpectedVersions) -> None:
        """Delete a comment."""
        await self._comments.delete(await self._about(porf_id), comment_id, expected=expected)

    async def attach(self, porf_id: int, file: CheckedFile, *, comment_id: int | None) -> tuple[int, str]:
        """Attach a file to the request, or to the actor's own comment on it; returns its id and JSON."""
        about = await self._about(porf_id)
        if comment_id is not None:
            await self._comments.require_own(about, comment_id)
        await self._files.keep(file)
        if not await self._repository.lock([porf_id]):
            raise PorfNotFound
        return await self._files.attach(_place(porf_id), file, comment_id=comment_id)

    async def delete_file(self, porf_id: int, file_id: int) -> None:
        """Delete a file of the request, or of a comment on it."""
        await self._about(porf_id)
        await self._files.delete(_place(porf_id), await self._porfs.file(porf_id, file_id))

    async def _about(self, porf_id: int) -> About:
        facts = await self._porfs.facts(porf_id)
        self._actor.require(Permission.PORFS_COMMENT)

        async def readers_among(members: Collection[Actor]) -> set[int]:
            return {member.member_id for member in members if sees(member, facts.requester_id, facts.submitted)}

        return About(Document(CommentedEntity.PORF, porf_id), readers_among)


def _place(porf_id: int) -> Place:
    return Place(FileOwner.PORF, porf_id)
