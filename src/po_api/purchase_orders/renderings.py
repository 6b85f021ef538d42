"""Rendering in the background: a worker renders the documents of orders soon after their issue or cancellation."""

from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import BigInteger, ColumnElement, bindparam, exists, func, null, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.shared_work import SharedWork
from po_api.db.bulk_write import NOW, as_json, insert_new_from, json_rows
from po_api.db.database import Database, enter_tenant
from po_api.db.leases import Job, WorkStatus
from po_api.db.query import ORGANISATION_ID, PlanCacheMode, Query, TransactionExecutor, connected
from po_api.db.work import Queue
from po_api.organisations.queries import OrganisationQueries, in_each_organisation
from po_api.purchase_orders.document_service import Access, Document, DocumentService
from po_api.purchase_orders.domain import FileKind, PurchaseOrderStatus
from po_api.purchase_orders.models import DocumentRendering, PurchaseOrder, PurchaseOrderFile

# An attempt waits for its turn and typesets, each for at most a minute. Two at once, since a long order has a process
# of its own. A fault of a template or a font is tried for a week: the number of the order cannot be undone.
RENDERINGS = Queue(
    "documents",
    DocumentRendering.__table__,
    seconds=150,
    delays=(
        timedelta(seconds=5),
        timedelta(minutes=1),
        timedelta(minutes=5),
        timedelta(minutes=30),
        timedelta(hours=2),
        timedelta(hours=6),
    ),
    attempts=30,
    at_once=2,
)


class _RenderingRow(NamedTuple):
    purchase_order_id: int
    kind: str


class _Id(NamedTuple):
    id: int


class _MissingRow(NamedTuple):
    """A revision of an order whose document is neither stored nor queued."""

    purchase_order_id: int
    revision: int


_ROW = Query(
    "document_renderings.get",
    select(DocumentRendering.purchase_order_id, DocumentRendering.kind).where(
        DocumentRendering.organisation_id == ORGANISATION_ID,
        DocumentRendering.id == bindparam("id", type_=BigInteger),
    ),
    _RenderingRow,
)


async def stored_document(
    database: Database,
    actor: Actor,
    renderings: SharedWork[bytes],
    order_id: int,
    *,
    as_issued: bool,
    is_filed: bool,
) -> Document:
    """The document of an order, as a first reader outside of a request gets it: rendered and stored, unless it is.

    `renderings` are those in progress in this process. Raises what `DocumentService.stored` raises.
    """
    async with connected(database.engine) as executor:
        documents = DocumentService(Access.of(executor, database), actor, renderings, is_filed=is_filed)
        return await documents.stored(order_id, as_issued=as_issued)


class RenderingHandler:
    """Renders the documents of the queue as a first reader would, whose work it shares; the first to store wins.

    `renderings` are those in progress in this process; with `is_filed`, the documents are filed afterwards.
    """

    def __init__(self, database: Database, renderings: SharedWork[bytes], *, is_filed: bool) -> None:
        self._database = database
        self._renderings = renderings
        self._is_filed = is_filed

    async def perform(self, job: Job) -> None:
        # One transaction, in which it is also found whether the document is stored already.
        async with connected(self._database.engine) as executor:
            await executor.enter_tenant(job.organisation_id, plan_cache_mode=PlanCacheMode.GENERIC)
            row = await executor.row(_ROW, organisation_id=job.organisation_id, id=job.id)
            assert row is not None
            access = Access.of(executor, self._database)
            documents = DocumentService(access, job.actor, self._renderings, is_filed=self._is_filed)
            await documents.stored(row.purchase_order_id, as_issued=row.kind == FileKind.ISSUED)

    async def failed(self, session: AsyncSession, job: Job, code: str) -> None:
        """The order shows it; the next reader of the document tries again."""


def _missing(kind: FileKind) -> Query[_MissingRow]:
    """The orders without a document of a kind."""
    key = {
        "organisation_id": ORGANISATION_ID,
        "purchase_order_id": PurchaseOrder.id,
        "revision": PurchaseOrder.revision,
    }
    absent = [
        ~exists().where(*(table.c[name] == value for name, value in key.items()), table.c.kind == str(kind))
        for table in (PurchaseOrderFile.__table__, DocumentRendering.__table__)
    ]
    conditions: list[ColumnElement[bool]] = [
        PurchaseOrder.organisation_id == ORGANISATION_ID,
        PurchaseOrder.number.is_not(None),
        *absent,
    ]
    if kind is FileKind.CANCELLED:
        conditions.append(PurchaseOrder.status == PurchaseOrderStatus.CANCELLED)
    columns = (PurchaseOrder.id.label("purchase_order_id"), PurchaseOrder.revision)
    return Query("document_renderings.find_missing", select(*columns).where(*conditions), _MissingRow)


def _queueing() -> Query[_Id]:
    table = DocumentRendering.__table__
    rows = json_rows("rows", *table.c["purchase_order_id", "revision", "kind"])
    return Query("document_renderings.queue_missing", insert_new_from(table, rows, next_attempt_at=NOW), _Id)


_MISSING = {kind: _missing(kind) for kind in (FileKind.ISSUED, FileKind.CANCELLED)}
_QUEUE = _queueing()

_AGAIN = Query(
    "document_renderings.queue_failed",
    update(DocumentRendering)
    .where(DocumentRendering.organisation_id == ORGANISATION_ID, DocumentRendering.status == str(WorkStatus.FAILED))
    .values(status=str(WorkStatus.QUEUED), attempts=0, next_attempt_at=func.now(), finished_at=null())
    .returning(DocumentRendering.id),
    _Id,
)


async def queue_failed(session: AsyncSession) -> int:
    """Queue the documents of all organisations that could not be rendered; returns their number."""
    executor = TransactionExecutor(session)
    found = 0
    for organisation_id in await OrganisationQueries(executor).ids():
        await enter_tenant(session, organisation_id)
        found += len(await executor.rows(_AGAIN, organisation_id=organisation_id))
    return found


async def queue_missing(database: Database) -> int:
    """Queue the documents of all organisations that no worker would render; returns their number.

    There are none, but for orders that the version before revision 031 has issued while it was replaced.
    """

    async def queue(session: AsyncSession, organisation_id: int) -> int:
        return await _queue_missing_of(TransactionExecutor(session), organisation_id)

    return await in_each_organisation(database, queue)


async def _queue_missing_of(executor: TransactionExecutor, organisation_id: int) -> int:
    found = 0
    for kind, query in _MISSING.items():
        missing = await executor.rows(query, organisation_id=organisation_id)
        if missing:
            rows = as_json({**order._asdict(), "kind": str(kind)} for order in missing)
            queued = await executor.rows(_QUEUE, organisation_id=organisation_id, now=utc_now(), rows=rows)
            found += len(queued)
    return found
