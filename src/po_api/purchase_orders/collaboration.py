"""Comments on orders, and their files."""

from functools import partial

from sqlalchemy.ext.asyncio import AsyncSession

from po_api.comments.identity import CommentedEntity, Document
from po_api.comments.service import About, CommentService
from po_api.core.actor import Actor
from po_api.core.permissions import Permission
from po_api.core.versions import ExpectedVersions
from po_api.db.json_sql import JsonDocument
from po_api.db.listeners import Listeners
from po_api.db.query import TransactionExecutor
from po_api.files.domain import CheckedFile, FileVisibility
from po_api.files.errors import FilesFrozen
from po_api.files.service import FileService
from po_api.purchase_orders.collaboration_queries import OrderCollaborationQueries, place_of
from po_api.purchase_orders.domain import PurchaseOrderStatus
from po_api.purchase_orders.errors import PurchaseOrderNotFound
from po_api.purchase_orders.repository import PurchaseOrderRepository


class OrderCollaboration:
    """Comments on visible orders, and attaches files to them; auditors do not. It flushes, the caller commits.

    Raises PurchaseOrderNotFound and MissingRole, and what `CommentService` and `FileService` raise.
    """

    def __init__(self, session: AsyncSession, actor: Actor, listeners: Listeners) -> None:
        self._actor = actor
        self._repository = PurchaseOrderRepository(session, actor)
        self._queries = OrderCollaborationQueries(TransactionExecutor(session), actor)
        self._comments = CommentService(session, actor, listeners)
        self._files = FileService(session, actor)

    async def comment(self, order_id: int, text: str) -> JsonDocument:
        """Add a comment."""
        return await self._comments.add(await self._about(order_id), text)

    async def edit_comment(
        self, order_id: int, comment_id: int, text: str, *, expected: ExpectedVersions
    ) -> JsonDocument:
        """Replace the text of the actor's own new comment."""
        return await self._comments.edit(await self._about(order_id), comment_id, text, expected=expected)

    async def delete_comment(self, order_id: int, comment_id: int, *, expected: ExpectedVersions) -> None:
        """Delete a comment."""
        await self._comments.delete(await self._about(order_id), comment_id, expected=expected)

    async def attach(
        self, order_id: int, file: CheckedFile, *, comment_id: int | None, visibility: FileVisibility
    ) -> tuple[int, str]:
        """Attach a file to the order, or to the actor's own comment on it; returns its id and JSON.

        Files for the supplier are for buyers and admins, and for drafts: they are fixed by the issue (FilesFrozen).
        """
        about, is_for_supplier = await self._about(order_id), visibility is FileVisibility.SUPPLIER
        if is_for_supplier:
            self._actor.require(Permission.PURCHASE_ORDERS_WRITE)
        if comment_id is not None:
            await self._comments.require_own(about, comment_id)
        await self._files.keep(file)
        order = await self._repository.lock(order_id)
        if order is None:
            raise PurchaseOrderNotFound
        if is_for_supplier and order.status != PurchaseOrderStatus.DRAFT:
            raise FilesFrozen
        place = place_of(order_id)
        return await self._files.attach(place, file, comment_id=comment_id, visibility=visibility)

    async def delete_file(self, order_id: int, file_id: int) -> None:
        """Delete a file of the order, or of a comment on it."""
        await self._about(order_id)
        await self._files.delete(place_of(order_id), await self._queries.file(order_id, file_id))

    async def _about(self, order_id: int) -> About:
        sees_part = await self._queries.sees_part(order_id)
        self._actor.require(Permission.PURCHASE_ORDERS_COMMENT)
        document = Document(CommentedEntity.PURCHASE_ORDER, order_id)
        return About(document, partial(self._queries.readers_among, order_id), only_addressed=sees_part)
