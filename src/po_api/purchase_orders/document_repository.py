"""Storing the documents of orders."""

import hashlib
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Boolean, FromClause, Insert, Integer, Text, Update, and_, bindparam, null, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.actor import Actor
from po_api.db.leases import WorkStatus
from po_api.db.query import ORGANISATION_ID, AnyColumn, NoRow, Query, TransactionExecutor
from po_api.db.separate_writes import SeparateWrites
from po_api.purchase_orders.models import DocumentFiling, DocumentRendering, PurchaseOrderFile
from po_api.purchase_orders.queries import ORDER_ID

_FILES, _RENDERINGS = PurchaseOrderFile.__table__, DocumentRendering.__table__


class StoredFile(NamedTuple):
    """The id and the bytes of a stored document."""

    id: int
    content: bytes


@dataclass(frozen=True)
class DocumentKey:
    """What identifies a document in its organisation."""

    order_id: int
    revision: int
    kind: str


_FILE: dict[str, AnyColumn] = {
    "organisation_id": ORGANISATION_ID,
    "purchase_order_id": ORDER_ID,
    "revision": bindparam("revision", type_=Integer),
    "kind": bindparam("kind", type_=Text),
}


def _storing() -> Insert:
    """Store a document unless there is one."""
    others = {name: bindparam(name, type_=_FILES.c[name].type) for name in ("content", "digest", "created_at")}
    return (
        insert(PurchaseOrderFile)
        .values(**_FILE, **others)
        .on_conflict_do_nothing(constraint="uq_purchase_order_files_kind")
        .returning(PurchaseOrderFile.id, PurchaseOrderFile.content)
    )


def _rendered() -> Update:
    """The rendering of a document is done."""
    done = {"status": str(WorkStatus.DONE), "next_attempt_at": null(), "leased_until": null(), "error_code": null()}
    finished_at = bindparam("created_at", type_=_FILES.c.created_at.type)
    return (
        update(DocumentRendering)
        .where(and_(*(_RENDERINGS.c[name] == value for name, value in _FILE.items())))
        .values(**done, finished_at=finished_at)
        .returning(_RENDERINGS.c.id)
    )


def _queue_filing(stored: FromClause) -> Insert:
    """Queue the filing of the stored document with `is_filed`."""
    new = select(stored.c.id.label("file_id")).where(bindparam("is_filed", type_=Boolean)).subquery("new")
    created_at = bindparam("created_at", type_=_FILES.c.created_at.type)
    columns = {"organisation_id": ORGANISATION_ID, "file_id": new.c.file_id}
    columns |= {"next_attempt_at": created_at, "created_at": created_at}
    queued = insert(DocumentFiling).from_select([*columns], select(*columns.values()), include_defaults=False)
    return queued.returning(DocumentFiling.id)


def _storing_rendered() -> Query[StoredFile]:
    """Store a document unless there is one; its rendering is done, and with `is_filed` its filing is queued."""
    stored = _storing().cte("stored")
    others = _rendered().cte("rendered"), _queue_filing(stored).cte("filing")
    columns = stored.c.id, stored.c.content
    return Query("purchase_orders.store_document", select(*columns).add_cte(*others), StoredFile)


_STORE = _storing_rendered()
_STORE_FILE = Query("purchase_orders.store_file", _storing(), StoredFile)
_RENDERED = Query("purchase_orders.rendered", _rendered(), NoRow)
_STORED = Query(
    "purchase_orders.stored_document",
    select(PurchaseOrderFile.id, PurchaseOrderFile.content).where(
        and_(*(_FILES.c[name] == value for name, value in _FILE.items()))
    ),
    StoredFile,
)


class DocumentRepository:
    """The stored documents of an organisation's orders; their permissions are checked by the service."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._executor = TransactionExecutor(session)
        self._actor = actor

    async def store(self, file: DocumentKey, content: bytes, *, is_filed: bool, now: datetime) -> bytes:
        """Store a document unless there is one, and return the stored one: it never changes.

        With `is_filed`, a worker files it.
        """
        key = {"organisation_id": self._actor.organisation_id, **asdict(file)}
        digest = hashlib.sha256(content).hexdigest()
        values = {"content": content, "digest": digest, "created_at": now}
        stored = await self._store(is_filed, now, **key, **values)
        if stored is None:
            stored = await self._executor.row(_STORED, **key)
            assert stored is not None
        return stored.content

    async def _store(self, is_filed: bool, now: datetime, **parameters: object) -> StoredFile | None:
        if not self._executor.is_distributed:
            return await self._executor.row(_STORE, **parameters, is_filed=is_filed)
        await self._executor.execute(_RENDERED, **parameters)
        stored = await self._executor.row(_STORE_FILE, **parameters)
        if stored is not None and is_filed:
            writes = SeparateWrites(self._session, self._actor.organisation_id, now)
            await writes.insert(DocumentFiling.__table__, [{"file_id": stored.id}], next_attempt_at=now)
        return stored
