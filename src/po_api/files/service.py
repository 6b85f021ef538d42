"""Attaching and deleting files. The features of the documents check who may see them, and lock them."""

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.comments.errors import CommentDeleted
from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.permissions import Role
from po_api.db.query import TransactionExecutor
from po_api.files.domain import (
    MAX_FILES,
    MAX_SUPPLIER_BYTES,
    CheckedFile,
    FileOwner,
    FileVisibility,
    Place,
)
from po_api.files.errors import FileNotFound, FilesFrozen, NotUploader, SupplierFilesTooLarge, TooManyFiles
from po_api.files.models import Attachment
from po_api.files.queries import FileQueries, FileRow
from po_api.files.repository import FileRepository


class FileService:
    """Changes the files of documents that the actor sees; it flushes, the caller commits."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor
        self._repository = FileRepository(session, actor.organisation_id)
        self._queries = FileQueries(TransactionExecutor(session), actor)

    async def keep(self, file: CheckedFile) -> None:
        """Store the content of a file before the document is locked: that takes longer than the rest."""
        await self._repository.keep(file)

    async def attach(
        self,
        document: Place,
        file: CheckedFile,
        *,
        comment_id: int | None = None,
        visibility: FileVisibility = FileVisibility.INTERNAL,
    ) -> tuple[int, str]:
        """Attach a file that is kept to a request or an order, or to a comment on it; returns its id and JSON.

        The caller has locked the document. Raises CommentDeleted, TooManyFiles or SupplierFilesTooLarge.
        """
        place = document if comment_id is None else Place(FileOwner.COMMENT, comment_id)
        if comment_id is not None and not await self._repository.lock_comment(comment_id):
            raise CommentDeleted
        if await self._repository.count(place) >= MAX_FILES:
            raise TooManyFiles
        if visibility is FileVisibility.SUPPLIER:
            await self._require_room(place, file)
        attachment = Attachment(
            organisation_id=self._actor.organisation_id,
            **{place.column: place.id},
            name=file.name,
            media_type=file.media_type,
            digest=file.digest,
            visibility=visibility,
            uploaded_by_id=self._actor.member_id,
            created_at=utc_now(),
        )
        self._session.add(attachment)
        await self._session.flush()
        after = {**_about(attachment), "comment_id": comment_id}
        await self._record("add_file", document, None, after)
        return attachment.id, await self._queries.item(document, attachment.id)

    async def delete(self, document: Place, found: FileRow) -> None:
        """Delete a file of a document: who has uploaded it, or an administrator. Its content stays.

        Raises NotUploader, FileNotFound, or FilesFrozen for a file that the supplier has.
        """
        if found.uploaded_by_id != self._actor.user_id and Role.ADMIN not in self._actor.roles:
            raise NotUploader
        attachment = await self._repository.locked(found.id)
        if attachment is None:
            raise FileNotFound
        if attachment.frozen_revision is not None:
            raise FilesFrozen
        if attachment.deleted_at is not None:
            return
        attachment.deleted_at, attachment.deleted_by_id = utc_now(), self._actor.member_id
        await self._record("delete_file", document, _about(attachment), None)

    async def digests_of_porf(self, porf_id: int) -> list[str]:
        """The contents of a request's files, which may be unused once it is deleted."""
        return [*await self._repository.digests_of_porf(porf_id)]

    async def drop_unused(self, digests: list[str]) -> None:
        """Delete those of the contents that no file has any more."""
        if digests:
            await self._repository.drop_unused(digests)

    async def _require_room(self, order: Place, file: CheckedFile) -> None:
        if await self._repository.supplier_bytes(order) + file.size > MAX_SUPPLIER_BYTES:
            raise SupplierFilesTooLarge

    async def _record(
        self,
        action: str,
        document: Place,
        before: dict[str, object] | None,
        after: dict[str, object] | None,
    ) -> None:
        entity: audit.AuditedEntity = "porf" if document.owner is FileOwner.PORF else "purchase_order"
        change = audit.Change(f"{document.owner}.{action}", entity, document.id, before, after)
        await audit.record(self._session, self._actor, change)


def _about(attachment: Attachment) -> dict[str, object]:
    return {"file_id": attachment.id, "file_name": attachment.name, "file_digest": attachment.digest}
