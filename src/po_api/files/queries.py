"""Reading files of documents that the caller has checked to be visible."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from sqlalchemy import BigInteger, Integer, bindparam, func, select
from sqlalchemy.dialects.postgresql import BYTEA

from po_api.core.actor import Actor
from po_api.db.pagination import Listing, PageOf, PageRequest
from po_api.db.query import ORGANISATION_ID, AnySelect, Query, QueryExecutor
from po_api.files.domain import FileOwner, FileVisibility, Place
from po_api.files.errors import FileNotFound
from po_api.files.models import Attachment, Blob
from po_api.files.projections import file_item, is_of_document

SORTS = ("created_at",)
# What is read and sent at once.
PART_BYTES = 1024 * 1024

_FILES = Attachment.__table__
_DOCUMENT_ID = bindparam("document_id", type_=BigInteger)
_FILE_ID = bindparam("file_id", type_=BigInteger)


class _Item(NamedTuple):
    item: str


class FileRow(NamedTuple):
    """A file without its content; `size` in bytes."""

    id: int
    comment_id: int | None
    name: str
    media_type: str
    digest: str
    size: int
    visibility: str
    frozen_revision: int | None
    uploaded_by_id: int


class SupplierFile(NamedTuple):
    """A file that the supplier gets with an order."""

    name: str
    media_type: str
    digest: str
    content: bytes


class _Part(NamedTuple):
    content: bytes


@dataclass(frozen=True)
class _OfDocument:
    """The files of a document and of the comments on it that the member sees."""

    owner: FileOwner
    only_addressed: bool

    def __call__(self) -> AnySelect:
        is_shown = is_of_document(self.owner, _DOCUMENT_ID, only_addressed=self.only_addressed)
        return select(_FILES).where(is_shown, Attachment.deleted_at.is_(None))


_LIST = Listing("files.list", _FILES, _Item, sorts=SORTS, default="created_at", show=file_item)
_BLOB = (Blob.organisation_id == ORGANISATION_ID) & (Blob.digest == Attachment.digest)


@cache
def _one(owner: FileOwner, *, only_addressed: bool) -> Query[FileRow]:
    chosen = _OfDocument(owner, only_addressed)().where(Attachment.id == _FILE_ID)
    size = select(Blob.size).where(_BLOB).correlate(_FILES).scalar_subquery()
    columns = (size.label("size") if name == "size" else _FILES.c[name] for name in FileRow._fields)
    return Query("files.get", chosen.with_only_columns(*columns), FileRow)


@cache
def _item(owner: FileOwner) -> Query[_Item]:
    chosen = _OfDocument(owner, only_addressed=False)().where(Attachment.id == _FILE_ID)
    return Query("files.item", file_item(chosen.subquery("found")), _Item)


_PART = Query(
    "files.part",
    select(
        func.substring(
            Blob.content, bindparam("start", type_=Integer), bindparam("length", type_=Integer), type_=BYTEA
        ).label("content")
    ).where(Blob.organisation_id == ORGANISATION_ID, Blob.digest == bindparam("digest")),
    _Part,
)
_OF_SUPPLIER = Query(
    "files.of_supplier",
    select(*_FILES.c["name", "media_type", "digest"], Blob.content)
    .join(Blob, _BLOB)
    .where(
        Attachment.organisation_id == ORGANISATION_ID,
        Attachment.purchase_order_id == _DOCUMENT_ID,
        Attachment.visibility == FileVisibility.SUPPLIER.value,
        Attachment.deleted_at.is_(None),
        Attachment.frozen_revision <= bindparam("revision", type_=Integer),
    )
    .order_by(Attachment.id),
    SupplierFile,
)


class FileQueries:
    """Reads the files of documents of the actor's organisation."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._executor = executor
        self._actor = actor

    @property
    def _who(self) -> dict[str, object]:
        return {"organisation_id": self._actor.organisation_id, "user_id": self._actor.user_id}

    async def page(self, document: Place, request: PageRequest, *, only_addressed: bool = False) -> PageOf[str]:
        """The files of a request or an order and of its comments, oldest first, as JSON."""
        await self._executor.enter_tenant(self._actor.organisation_id)
        chosen = _OfDocument(document.owner, only_addressed)
        page = await _LIST.page(self._executor, chosen, request, {**self._who, "document_id": document.id})
        return PageOf([row.item for row in page.items], page.next_cursor)

    async def get(self, document: Place, file_id: int, *, only_addressed: bool = False) -> FileRow:
        """A file of a request or an order, or of a comment on it. Raises FileNotFound."""
        await self._executor.enter_tenant(self._actor.organisation_id)
        query = _one(document.owner, only_addressed=only_addressed)
        found = await self._executor.row(query, **self._who, document_id=document.id, file_id=file_id)
        if found is None:
            raise FileNotFound
        return found

    async def item(self, document: Place, file_id: int) -> str:
        """A file that exists, as JSON."""
        found = await self._executor.row(_item(document.owner), **self._who, document_id=document.id, file_id=file_id)
        assert found is not None
        return found.item

    async def part(self, digest: str, start: int) -> bytes:
        """The content from this byte on, at most PART_BYTES. Raises FileNotFound if it is gone."""
        await self._executor.enter_tenant(self._actor.organisation_id)
        parameters = {"digest": digest, "start": start + 1, "length": PART_BYTES}
        found = await self._executor.row(_PART, organisation_id=self._actor.organisation_id, **parameters)
        if found is None:
            raise FileNotFound
        return found.content

    async def for_supplier(self, order_id: int, revision: int) -> Sequence[SupplierFile]:
        """The files that the supplier gets with a revision of an order, in the order of their upload."""
        await self._executor.enter_tenant(self._actor.organisation_id)
        return await self._executor.rows(_OF_SUPPLIER, **self._who, document_id=order_id, revision=revision)
