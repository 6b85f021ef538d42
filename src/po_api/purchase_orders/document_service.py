"""The documents of orders: stored files, rendered by a worker or by their first reader, and previews of drafts.

No connection is held while a document is typeset or waits for its turn.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from anyio import CancelScope
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.fair_queue import Owner
from po_api.core.parties import Language
from po_api.core.shared_work import SharedWork
from po_api.db.database import enter_tenant
from po_api.db.query import QueryExecutor, TransactionExecutor
from po_api.db.wakeups import notify_after_commit
from po_api.organisations.queries import OrganisationQueries, OrganisationRow
from po_api.purchase_orders import errors
from po_api.purchase_orders.document_queries import OrderDocumentQueries, OrderFileRow, OrderSheetRow
from po_api.purchase_orders.document_repository import DocumentKey, DocumentRepository
from po_api.purchase_orders.documents import Source
from po_api.purchase_orders.domain import (
    CURRENT_TEMPLATE,
    FILING_WORK,
    FileKind,
    PurchaseOrderStatus,
    document_name,
)
from po_api.purchase_orders.queries import PurchaseOrderQueries
from po_api.purchase_orders.sheets import cancelled_mark, draft_mark, printed, sheet_of
from po_api.purchase_orders.typesetter import Order, TypesettingError, queue_for, typeset


@dataclass(frozen=True)
class Document:
    """A PDF and the name of its file. `revision` is None for a preview."""

    name: str
    revision: int | None
    content: bytes


@dataclass(frozen=True)
class Access:
    """How the service reaches the database: it looks the order up with `executor`, which `release` ends; whatever comes
    after a wait is done in a transaction of its own."""

    executor: QueryExecutor
    release: Callable[[], Awaitable[None]]
    begin: Callable[[], AbstractAsyncContextManager[AsyncSession]]


class DocumentService:
    """The documents of the orders that are visible to the member. Raises PurchaseOrderNotFound for others, and
    PartlyVisible unless all lines are visible.

    `renderings` are those in progress in this process; with `is_filed`, stored documents are filed by a worker.
    """

    def __init__(self, access: Access, actor: Actor, renderings: SharedWork[bytes], *, is_filed: bool) -> None:
        self._access = access
        self._actor = actor
        # The organisation itself for a worker.
        self._owner = Owner(actor.organisation_id, actor.user_id or 0)
        self._renderings = renderings
        self._is_filed = is_filed

    async def stored(self, order_id: int, *, as_issued: bool) -> Document:
        """The document of an issued order. A cancelled one has the mark, or is with `as_issued` as it was before.

        If none is stored yet, it is rendered and stored. Raises NotIssued, NotRendered, QueueFull or QueueTimeout.
        """
        row = await self._found(order_id, as_issued=as_issued)
        number = row.number
        if number is None:
            raise errors.NotIssued
        content = row.content
        if content is None:
            await self._access.release()
            key = DocumentKey(order_id, row.revision, row.kind)
            content = await self._renderings.result(
                (self._actor.organisation_id, key), lambda: self._render(key, number, row.line_count)
            )
        return Document(document_name(number, row.revision, row.kind), row.revision, content)

    async def preview(self, order_id: int) -> Document:
        """The document of a draft as it would be now, with the mark and without a number; it is not stored.

        Raises NotADraft, NotRendered, QueueFull or QueueTimeout.
        """
        row = await self._found(order_id, as_issued=True)
        if row.status != PurchaseOrderStatus.DRAFT:
            raise errors.NotADraft
        await self._access.release()
        async with queue_for(row.line_count).turn(self._owner):
            content = await _typeset(await self._draft(order_id))
        return Document(f"purchase-order-{order_id}-DRAFT.pdf", None, content)

    async def _found(self, order_id: int, *, as_issued: bool) -> OrderFileRow:
        row = await OrderDocumentQueries(self._access.executor, self._actor).document(order_id, as_issued=as_issued)
        if row is None:
            raise errors.PurchaseOrderNotFound
        if row.hides_lines:
            raise errors.PartlyVisible
        return row

    async def _render(self, key: DocumentKey, number: str, lines: int) -> bytes:
        # The sheet, which may have megabytes, is read when the turn has come.
        async with queue_for(lines).turn(self._owner):
            content = await _typeset(await self._issued(key, number, lines))
        with CancelScope(shield=True):
            async with self._transaction() as session:
                repository = DocumentRepository(session, self._actor)
                content = await repository.store(key, content, is_filed=self._is_filed, now=utc_now())
                if self._is_filed:
                    notify_after_commit(session, FILING_WORK)
        return content

    async def _draft(self, order_id: int) -> Order:
        async with self._transaction() as session:
            reader = _Reader(session, self._actor)
            source = await reader.source(order_id)
            if source.order.status != PurchaseOrderStatus.DRAFT:
                raise errors.NotADraft
            logo = await reader.logo(source.organisation)
        language = source.language
        mark = draft_mark(utc_now(), source.organisation.timezone, language)
        sheet = await sheet_of(source, None, language)
        return Order(printed(sheet, number=None, mark=mark), len(source.lines), CURRENT_TEMPLATE, logo)

    async def _issued(self, key: DocumentKey, number: str, lines: int) -> Order:
        """What is typeset: the sheet of the issue, or one that is made now of an order that has none."""
        async with self._transaction() as session:
            reader = _Reader(session, self._actor)
            row = await reader.sheet(key)
            frozen = _frozen(row)
            source = None if frozen is not None else await reader.source(key.order_id)
        if source is not None:
            frozen = await _made_now(source)
        assert frozen is not None
        mark = None
        if key.kind == FileKind.CANCELLED:
            assert row.cancelled_at is not None
            mark = cancelled_mark(row.cancelled_at, frozen.timezone, frozen.language)
        return Order(printed(frozen.sheet, number=number, mark=mark), lines, frozen.template, row.logo)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncSession]:
        async with self._access.begin() as session:
            await enter_tenant(session, self._actor.organisation_id)
            yield session


@dataclass(frozen=True)
class _Frozen:
    """What is printed, and how."""

    sheet: str
    template: int
    timezone: str
    language: Language


def _frozen(row: OrderSheetRow) -> _Frozen | None:
    if row.sheet is None or row.template is None or row.timezone is None:
        return None
    return _Frozen(row.sheet, row.template, row.timezone, Language(row.language or Language.ENGLISH))


async def _made_now(source: Source) -> _Frozen:
    language = source.language
    sheet = await sheet_of(source, source.order.issued_at, language)
    return _Frozen(sheet, CURRENT_TEMPLATE, source.organisation.timezone, language)


class _Reader:
    """Reads what documents are made of."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        executor = TransactionExecutor(session)
        self._actor = actor
        self._queries = PurchaseOrderQueries(executor, actor)
        self._documents = OrderDocumentQueries(executor, actor)
        self._organisations = OrganisationQueries(executor)

    async def source(self, order_id: int) -> Source:
        """What an order's sheet is made of."""
        order = await self._queries.header(order_id)
        if order is None:
            raise errors.PurchaseOrderNotFound
        organisation = await self._organisations.own(self._actor)
        lines = await self._queries.content(order_id)
        approvals = await self._documents.approvals({line.porf_id for line in lines})
        return Source(order, organisation, lines, approvals)

    async def sheet(self, key: DocumentKey) -> OrderSheetRow:
        return await self._documents.sheet(key.order_id, key.revision)

    async def logo(self, organisation: OrganisationRow) -> bytes | None:
        return None if organisation.logo_digest is None else await self._organisations.logo(self._actor)


async def _typeset(order: Order) -> bytes:
    try:
        return await typeset(order)
    except TypesettingError:
        raise errors.NotRendered from None
