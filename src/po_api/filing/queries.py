"""Reading what is filed, and what could not be."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import BigInteger, bindparam, func, select

from po_api.core.actor import Actor
from po_api.core.permissions import Permission
from po_api.db.filters import Filters, condition
from po_api.db.pagination import Listing, PageOf, PageRequest
from po_api.db.query import ORGANISATION_ID, AnySelect, PlanCacheMode, Query, QueryExecutor, columns_for
from po_api.filing.domain import Place, remedy
from po_api.filing.errors import FilingNotFound
from po_api.purchase_orders.models import DocumentFiling, PurchaseOrder, PurchaseOrderFile

SORTS = ("created_at",)


class FilingRow(NamedTuple):
    """A document that is filed, or is to be; with the number of its order."""

    id: int
    status: str
    purchase_order_id: int
    number: str
    revision: int
    kind: str
    attempts: int
    next_attempt_at: datetime | None
    error_code: str | None
    error_detail: str | None
    finished_at: datetime | None
    url: str | None
    created_at: datetime

    @property
    def path(self) -> str:
        return Place.of(self.number, self.revision, self.kind).path

    @property
    def filed_at(self) -> datetime | None:
        return self.finished_at if self.status == "done" else None

    @property
    def remedy(self) -> str | None:
        return remedy(self.error_code)


class _Count(NamedTuple):
    status: str
    number: int


_FILINGS = (
    select(
        DocumentFiling.__table__,
        PurchaseOrderFile.purchase_order_id,
        PurchaseOrder.number,
        PurchaseOrderFile.revision,
        PurchaseOrderFile.kind,
    )
    .where(
        DocumentFiling.organisation_id == ORGANISATION_ID,
        PurchaseOrderFile.organisation_id == ORGANISATION_ID,
        PurchaseOrderFile.id == DocumentFiling.file_id,
        PurchaseOrder.organisation_id == ORGANISATION_ID,
        PurchaseOrder.id == PurchaseOrderFile.purchase_order_id,
    )
    .subquery("filings")
)


@dataclass(frozen=True)
class _Chosen:
    """The filings that fulfil the conditions of these names."""

    narrowed_by: frozenset[str]

    def __call__(self) -> AnySelect:
        conditions = [condition(_FILINGS, name) for name in sorted(self.narrowed_by)]
        return select(_FILINGS).where(_FILINGS.c.organisation_id == ORGANISATION_ID, *conditions)


_LIST = Listing("filings.list", _FILINGS, FilingRow, sorts=SORTS, default="-created_at")
_ONE = Query(
    "filings.get",
    select(*columns_for(FilingRow, _FILINGS)).where(
        _FILINGS.c.organisation_id == ORGANISATION_ID, _FILINGS.c.id == bindparam("filing_id", type_=BigInteger)
    ),
    FilingRow,
)
_COUNTS = Query(
    "filings.counts",
    select(DocumentFiling.status, func.count().label("number"))
    .where(DocumentFiling.organisation_id == ORGANISATION_ID, DocumentFiling.status != "done")
    .group_by(DocumentFiling.status),
    _Count,
)


class FilingQueries:
    """Reads the filings of the actor's organisation. Raises MissingRole."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._executor = executor
        self._actor = actor
        self._tenant = {"organisation_id": actor.organisation_id}

    async def page(self, filters: Filters, request: PageRequest) -> PageOf[FilingRow]:
        self._actor.require(Permission.FILINGS_READ)
        given = filters.parameters()
        plans = PlanCacheMode.CUSTOM if given else PlanCacheMode.GENERIC
        await self._executor.enter_tenant(self._actor.organisation_id, plan_cache_mode=plans)
        return await _LIST.page(self._executor, _Chosen(frozenset(given)), request, {**self._tenant, **given})

    async def get(self, filing_id: int) -> FilingRow:
        """Raises FilingNotFound."""
        self._actor.require(Permission.FILINGS_READ)
        await self._executor.enter_tenant(self._actor.organisation_id)
        row = await self._executor.row(_ONE, **self._tenant, filing_id=filing_id)
        if row is None:
            raise FilingNotFound
        return row

    async def unfiled(self) -> Mapping[str, int]:
        """The numbers of documents that are not filed, by status."""
        await self._executor.enter_tenant(self._actor.organisation_id)
        return {row.status: row.number for row in await self._executor.rows(_COUNTS, **self._tenant)}
