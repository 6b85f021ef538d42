"""The documents of orders: stored files, rendered by a worker or by their first reader, and previews of drafts.

No connection is held while a document is typeset or waits for its turn.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

from anyio import CancelScope
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.errors import FieldError
from po_api.core.fair_queue import Owner
from po_api.core.offload import offload
from po_api.core.parties import Language
from po_api.core.shared_work import SharedWork
from po_api.db.database import Database, enter_tenant
from po_api.db.query import ConnectionExecutor, QueryExecutor, tenant_transaction
from po_api.db.replica.executor import ReplicaExecutor
from po_api.db.wakeups import notify_after_commit
from po_api.observability.logging import get_logger
from po_api.purchase_orders import errors
from po_api.purchase_orders.document_queries import OrderDocumentQueries, OrderFileRow, OrderSheetRow
from po_api.purchase_orders.document_reader import DocumentReader
from po_api.purchase_orders.document_repository import DocumentKey, DocumentRepository
from po_api.purchase_orders.documents import Source
from po_api.purchase_orders.domain import (
    CURRENT_TEMPLATE,
    FILING_WORK,
    FileKind,
    PurchaseOrderStatus,
    document_name,
)
from po_api.purchase_orders.electronic_order import ElectronicOrder
from po_api.purchase_orders.sheets import cancelled_mark, draft_mark, printed, sheet_of
from po_api.purchase_orders.typesetter import Order, TypesettingError, queue_for, typeset
from po_api.purchase_orders.ubl import document_xml
from po_api.purchase_orders.ubl_rules import findings

_log = get_logger(__name__)


@dataclass(frozen=True)
class Document:
    """A PDF or an electronic order, and the name of its file. `revision` is None for a preview."""

    name: str
    revision: int | None
    content: bytes


@dataclass(frozen=True)
class Access:
    """How the service reaches the database: it looks the order up with `executor`, which `release` ends; whatever comes
    after a wait is done in a transaction of its own, inside the organisation with this id to `read`."""

    executor: QueryExecutor
    release: Callable[[], Awaitable[None]]
    read: Callable[[int], AbstractAsyncContextManager[QueryExecutor]]
    begin: Callable[[], AbstractAsyncContextManager[AsyncSession]]

    @classmethod
    def of(cls, executor: ConnectionExecutor | ReplicaExecutor, database: Database) -> "Access":
        """With an executor of a request or of a worker."""
        read = partial(tenant_transaction, database.engine)
        return cls(executor, executor.close, read, database.sessions.begin)


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

    async def electronic(self, order_id: int, *, as_issued: bool) -> Document:
        """The electronic order of an issued order, with `as_issued` also of one that was cancelled since.

        It is stored when the document is rendered, and made from the same frozen content before. Raises
        ElectronicOrderIncomplete, also for a draft, or else NotIssued or ElectronicOrderCancelled.
        """
        row = await self._found(order_id, as_issued=True)
        is_cancelled = row.status == PurchaseOrderStatus.CANCELLED
        if is_cancelled and (row.number is None or not as_issued):
            raise errors.NotIssued if row.number is None else errors.ElectronicOrderCancelled
        queries = OrderDocumentQueries(self._access.executor, self._actor)
        content = None
        if row.number is not None:
            content = await queries.stored(order_id, row.revision, FileKind.ELECTRONIC)
        if content is None:
            order = await DocumentReader(self._access.executor, self._actor).electronic_order(order_id)
            await self._access.release()
            content = await _written(order)
        assert row.number is not None
        return Document(document_name(row.number, row.revision, FileKind.ELECTRONIC), row.revision, content)

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
            # By another process, or by a rendering that has ended since the caller looked for the document.
            stored_meanwhile = await self._stored(key)
            if stored_meanwhile is not None:
                return stored_meanwhile
            content = await _typeset(await self._issued(key, number, lines))
        electronic = await self._electronic_order(key) if key.kind == FileKind.ISSUED else None
        with CancelScope(shield=True):
            async with self._transaction() as session:
                repository = DocumentRepository(session, self._actor)
                content = await repository.store(key, content, is_filed=self._is_filed, now=utc_now())
                if electronic is not None:
                    beside = replace(key, kind=FileKind.ELECTRONIC)
                    await repository.store(beside, electronic, is_filed=self._is_filed, now=utc_now())
                if self._is_filed:
                    notify_after_commit(session, FILING_WORK)
        return content

    async def _stored(self, key: DocumentKey) -> bytes | None:
        async with self._access.read(self._actor.organisation_id) as executor:
            return await OrderDocumentQueries(executor, self._actor).stored(key.order_id, key.revision, key.kind)

    async def _electronic_order(self, key: DocumentKey) -> bytes | None:
        """What is stored beside the document; None if the order cannot be an electronic one. No fault of it is one of
        the document."""
        async with self._reader() as reader:
            order = await reader.addressed_order(key.order_id)
        if order is None:
            return None
        try:
            return await _written(order)
        except errors.ElectronicOrderIncomplete:
            return None
        except Exception:
            _log.exception("electronic_order_failed", order_id=key.order_id)
            return None

    async def _draft(self, order_id: int) -> Order:
        async with self._reader() as reader:
            source = await reader.source(order_id)
            logo = await reader.logo(source.organisation)
        if source.order.status != PurchaseOrderStatus.DRAFT:
            raise errors.NotADraft
        language = source.language
        mark = draft_mark(utc_now(), source.organisation.timezone, language)
        sheet = await sheet_of(source, None, language)
        return Order(printed(sheet, number=None, mark=mark), len(source.lines), CURRENT_TEMPLATE, logo)

    async def _issued(self, key: DocumentKey, number: str, lines: int) -> Order:
        """What is typeset: the sheet of the issue, or one that is made now of an order that has none."""
        async with self._reader() as reader:
            row = await reader.sheet(key.order_id, key.revision)
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
    async def _reader(self) -> AsyncIterator[DocumentReader]:
        async with self._access.read(self._actor.organisation_id) as executor:
            yield DocumentReader(executor, self._actor)

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


async def _written(order: ElectronicOrder) -> bytes:
    written = await offload(len(order.lines), _attempted, order)
    if isinstance(written, bytes):
        return written
    if written:
        raise errors.ElectronicOrderIncomplete(errors=tuple(written))
    raise errors.NotIssued


def _attempted(order: ElectronicOrder) -> bytes | list[FieldError]:
    """The electronic order, or what it lacks, which is nothing for a draft that only lacks a number."""
    return findings(order) if order.number is None else document_xml(order)


async def _typeset(order: Order) -> bytes:
    try:
        return await typeset(order)
    except TypesettingError:
        raise errors.NotRendered from None
