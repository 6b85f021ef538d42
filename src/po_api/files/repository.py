"""Rows of files that are added, locked and counted."""

from collections.abc import Collection, Sequence

from sqlalchemy import delete, exists, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.comments.models import Comment
from po_api.db.query import AnyColumn
from po_api.files.domain import CheckedFile, FileVisibility, Place
from po_api.files.models import Attachment, Blob


class FileRepository:
    """The rows of the files of an organisation."""

    def __init__(self, session: AsyncSession, organisation_id: int) -> None:
        self._session = session
        self._organisation_id = organisation_id

    async def keep(self, file: CheckedFile) -> None:
        """Store the content, unless it is there already; either way it stays until the transaction ends."""
        added = insert(Blob).values(
            organisation_id=self._organisation_id, digest=file.digest, size=file.size, content=file.content
        )
        # An update without effect locks the row against `drop_unused`.
        kept = added.on_conflict_do_update(
            index_elements=[Blob.organisation_id, Blob.digest], set_={"size": added.excluded.size}
        )
        await self._session.execute(kept.returning(Blob.id))

    async def lock_comment(self, comment_id: int) -> bool:
        """Lock a comment until the transaction ends; returns False if it was deleted."""
        statement = (
            select(Comment.id)
            .where(
                Comment.organisation_id == self._organisation_id,
                Comment.id == comment_id,
                Comment.deleted_at.is_(None),
            )
            .with_for_update(key_share=True)
        )
        return await self._session.scalar(statement) is not None

    async def count(self, place: Place) -> int:
        """The number of files in a place, without those that were deleted."""
        found = select(func.count()).select_from(Attachment).where(*self._shown(place))
        return await self._session.scalar(found) or 0

    async def supplier_bytes(self, place: Place) -> int:
        """The size of all files of an order that its supplier gets."""
        found = (
            select(func.sum(Blob.size))
            .select_from(Attachment)
            .join(Blob, (Blob.organisation_id == self._organisation_id) & (Blob.digest == Attachment.digest))
            .where(*self._shown(place), Attachment.visibility == FileVisibility.SUPPLIER)
        )
        return int(await self._session.scalar(found) or 0)

    async def locked(self, file_id: int) -> Attachment | None:
        """A file, locked until the transaction ends; None if it went with its draft."""
        key = (self._organisation_id, file_id)
        return await self._session.get(Attachment, key, with_for_update={"key_share": True}, populate_existing=True)

    async def digests_of_porf(self, porf_id: int) -> Sequence[str]:
        """The contents of all files of a request and of the comments on it."""
        comments = select(Comment.id).where(
            Comment.organisation_id == self._organisation_id, Comment.porf_id == porf_id
        )
        found = select(Attachment.digest).where(
            Attachment.organisation_id == self._organisation_id,
            or_(Attachment.porf_id == porf_id, Attachment.comment_id.in_(comments)),
        )
        return (await self._session.scalars(found.distinct())).all()

    async def drop_unused(self, digests: Collection[str]) -> None:
        """Delete those of the contents that no file has any more. What another transaction is using stays."""
        mine = (Blob.organisation_id == self._organisation_id, Blob.digest.in_(sorted(digests)))
        locked = select(Blob.id).where(*mine).order_by(Blob.id).with_for_update(skip_locked=True)
        ids = (await self._session.scalars(locked)).all()
        # A statement of its own, after the lock: it sees the files that were added before.
        is_used = exists().where(Attachment.organisation_id == self._organisation_id, Attachment.digest == Blob.digest)
        await self._session.execute(
            delete(Blob).where(Blob.organisation_id == self._organisation_id, Blob.id.in_(ids), ~is_used)
        )

    def _shown(self, place: Place) -> tuple[AnyColumn, ...]:
        column = Attachment.__table__.c[place.column]
        return Attachment.organisation_id == self._organisation_id, column == place.id, Attachment.deleted_at.is_(None)
