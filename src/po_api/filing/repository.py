"""Rows that filing locks and changes: the queue of documents, and the folders in Google Drive."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import BigInteger, Text, and_, bindparam, delete, func, null, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from po_api.core.clock import utc_now
from po_api.db.bulk_write import NOW, as_json, insert_new_from, json_rows
from po_api.db.leases import Job, WorkStatus
from po_api.db.query import ORGANISATION_ID, Query, QueryExecutor
from po_api.filing.models import FilingFolder
from po_api.purchase_orders.models import DocumentFiling, PurchaseOrder, PurchaseOrderFile

_ID = bindparam("id", type_=BigInteger)
_PARENT_ID, _NAME = bindparam("parent_id", type_=Text), bindparam("name", type_=Text)
_DRIVE_ID = bindparam("drive_id", type_=Text)
_ATTEMPT = (bindparam("attempts", type_=BigInteger), bindparam("leased_until", type_=DocumentFiling.leased_until.type))


class DueDocument(NamedTuple):
    """A document to file. `drive_id` is the id that was kept for it in an earlier attempt."""

    number: str
    revision: int
    kind: str
    digest: str
    content: bytes
    drive_id: str | None


class Retried(NamedTuple):
    """A filing that is queued again, and the error that it had."""

    id: int
    status: str
    error_code: str | None


class _Key(NamedTuple):
    id: int


class _DriveId(NamedTuple):
    drive_id: str


_DOCUMENT = Query(
    "document_filings.document",
    select(
        PurchaseOrder.number,
        PurchaseOrderFile.revision,
        PurchaseOrderFile.kind,
        PurchaseOrderFile.digest,
        PurchaseOrderFile.content,
        DocumentFiling.drive_id,
    ).where(
        DocumentFiling.organisation_id == ORGANISATION_ID,
        DocumentFiling.id == _ID,
        PurchaseOrderFile.organisation_id == ORGANISATION_ID,
        PurchaseOrderFile.id == DocumentFiling.file_id,
        PurchaseOrder.organisation_id == ORGANISATION_ID,
        PurchaseOrder.id == PurchaseOrderFile.purchase_order_id,
    ),
    DueDocument,
)
_IS_OWN_ATTEMPT = and_(
    DocumentFiling.organisation_id == ORGANISATION_ID,
    DocumentFiling.id == _ID,
    DocumentFiling.attempts == _ATTEMPT[0],
    DocumentFiling.leased_until == _ATTEMPT[1],
)
_KEEP = Query(
    "document_filings.keep_id",
    update(DocumentFiling).where(_IS_OWN_ATTEMPT).values(drive_id=_DRIVE_ID).returning(DocumentFiling.id),
    _Key,
)
_FILED = Query(
    "document_filings.filed",
    update(DocumentFiling)
    .where(DocumentFiling.organisation_id == ORGANISATION_ID, DocumentFiling.id == _ID)
    .values(drive_id=_DRIVE_ID, url=bindparam("url", type_=Text))
    .returning(DocumentFiling.id),
    _Key,
)
_IS_FOLDER = and_(
    FilingFolder.organisation_id == ORGANISATION_ID, FilingFolder.parent_id == _PARENT_ID, FilingFolder.name == _NAME
)
_FOLDER = Query("filing_folders.get", select(FilingFolder.drive_id).where(_IS_FOLDER), _DriveId)
_KEEP_FOLDER = Query(
    "filing_folders.keep",
    insert(FilingFolder)
    .values(
        organisation_id=ORGANISATION_ID, parent_id=_PARENT_ID, name=_NAME, drive_id=_DRIVE_ID, created_at=func.now()
    )
    .on_conflict_do_nothing(constraint="uq_filing_folders_name")
    .returning(FilingFolder.drive_id),
    _DriveId,
)
_FORGET_FOLDER = Query(
    "filing_folders.forget",
    delete(FilingFolder).where(_IS_FOLDER, FilingFolder.drive_id == _DRIVE_ID).returning(FilingFolder.id),
    _Key,
)


_STOPPED = (str(WorkStatus.FAILED), str(WorkStatus.HELD))
_AGAIN = {
    "status": str(WorkStatus.QUEUED),
    "attempts": 0,
    "next_attempt_at": func.now(),
    "error_code": null(),
    "error_detail": null(),
    "finished_at": null(),
}
_LOCK = Query(
    "document_filings.lock",
    select(DocumentFiling.id, DocumentFiling.status, DocumentFiling.error_code)
    .where(DocumentFiling.organisation_id == ORGANISATION_ID, DocumentFiling.id == _ID)
    .with_for_update(key_share=True),
    Retried,
)
_RETRY = Query(
    "document_filings.retry",
    update(DocumentFiling)
    .where(DocumentFiling.organisation_id == ORGANISATION_ID, DocumentFiling.id == _ID)
    .values(**_AGAIN)
    .returning(DocumentFiling.id),
    _Key,
)
# Those that wait for a later attempt, too: what was in their way may be gone.
_RETRY_ALL = Query(
    "document_filings.retry_all",
    update(DocumentFiling)
    .where(
        DocumentFiling.organisation_id == ORGANISATION_ID,
        or_(
            DocumentFiling.status.in_(_STOPPED),
            and_(DocumentFiling.next_attempt_at > func.now(), DocumentFiling.leased_until.is_(None)),
        ),
    )
    .values(**_AGAIN)
    .returning(DocumentFiling.id),
    _Key,
)
_FILINGS = DocumentFiling.__table__
_MISSING = Query(
    "document_filings.find_missing",
    select(PurchaseOrderFile.id).where(
        PurchaseOrderFile.organisation_id == ORGANISATION_ID,
        ~select(DocumentFiling.id)
        .where(DocumentFiling.organisation_id == ORGANISATION_ID, DocumentFiling.file_id == PurchaseOrderFile.id)
        .exists(),
    ),
    _Key,
)
_QUEUE_MISSING = Query(
    "document_filings.queue_missing",
    insert_new_from(_FILINGS, json_rows("rows", _FILINGS.c.file_id), next_attempt_at=NOW),
    _Key,
)


class FilingRepository:
    """The rows of one organisation, whose tenant the executor's transaction has entered."""

    def __init__(self, executor: QueryExecutor, organisation_id: int) -> None:
        self._executor = executor
        self._tenant = {"organisation_id": organisation_id}

    async def document(self, filing_id: int) -> DueDocument:
        row = await self._executor.row(_DOCUMENT, **self._tenant, id=filing_id)
        assert row is not None
        return row

    async def keep_id(self, job: Job, drive_id: str | None) -> bool:
        """Keep the id that the document gets in Drive, or forget it. Returns False if another attempt has begun."""
        attempt: dict[str, int | datetime | None] = {"attempts": job.attempts, "leased_until": job.leased_until}
        return await self._executor.row(_KEEP, **self._tenant, id=job.id, **attempt, drive_id=drive_id) is not None

    async def filed(self, filing_id: int, *, drive_id: str | None, url: str | None) -> None:
        """Write where the document is filed."""
        await self._executor.row(_FILED, **self._tenant, id=filing_id, drive_id=drive_id, url=url)

    async def folder(self, parent_id: str, name: str) -> str | None:
        """The id of a folder that was kept."""
        row = await self._executor.row(_FOLDER, **self._tenant, parent_id=parent_id, name=name)
        return row.drive_id if row is not None else None

    async def keep_folder(self, parent_id: str, name: str, drive_id: str) -> None:
        """Keep the id of a folder, unless there is one."""
        await self._executor.row(_KEEP_FOLDER, **self._tenant, parent_id=parent_id, name=name, drive_id=drive_id)

    async def forget_folder(self, parent_id: str, name: str, drive_id: str) -> None:
        await self._executor.row(_FORGET_FOLDER, **self._tenant, parent_id=parent_id, name=name, drive_id=drive_id)

    async def lock(self, filing_id: int) -> Retried | None:
        return await self._executor.row(_LOCK, **self._tenant, id=filing_id)

    async def retry(self, filing_id: int) -> None:
        """Queue a filing again."""
        await self._executor.row(_RETRY, **self._tenant, id=filing_id)

    async def retry_all(self) -> int:
        """Queue everything again that is not filed; returns the number."""
        return len(await self._executor.rows(_RETRY_ALL, **self._tenant))

    async def queue_missing(self) -> int:
        """Queue the stored documents that were never queued; returns their number."""
        missing = await self._executor.rows(_MISSING, **self._tenant)
        if not missing:
            return 0
        rows = as_json({"file_id": file.id} for file in missing)
        return len(await self._executor.rows(_QUEUE_MISSING, **self._tenant, now=utc_now(), rows=rows))
