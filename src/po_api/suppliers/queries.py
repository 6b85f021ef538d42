"""Reading suppliers."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import BigInteger, Boolean, ColumnElement, FromClause, bindparam, func, select

from po_api.core.actor import Actor
from po_api.db.pagination import Listing, PageOf, PageRequest
from po_api.db.query import ORGANISATION_ID, AnySelect, PlanCacheMode, Query, QueryExecutor, columns_for
from po_api.db.search import Search, spaced
from po_api.suppliers.errors import SupplierNotFound
from po_api.suppliers.models import Supplier

SORTS = ("created_at", "name")


class SupplierRow(NamedTuple):
    """A supplier."""

    id: int
    name: str
    email: str | None
    tax_id: str | None
    address: str | None
    is_active: bool
    version: int
    created_at: datetime
    updated_at: datetime


_SUPPLIERS = Supplier.__table__


def _words(suppliers: FromClause) -> ColumnElement[str]:
    c = suppliers.c
    return spaced(c.name, func.coalesce(c.email, ""), func.coalesce(c.tax_id, ""))


_SEARCH = Search(_SUPPLIERS, words=_words)
_LIST = Listing("suppliers.list", _SUPPLIERS, SupplierRow, sorts=SORTS, default="created_at", search=_SEARCH)
_IS_OWN = Supplier.organisation_id == ORGANISATION_ID
_IS_ACTIVE = Supplier.is_active == bindparam("is_active", type_=Boolean)


_ONE = Query(
    "suppliers.get",
    select(*columns_for(SupplierRow, _SUPPLIERS)).where(
        _IS_OWN, Supplier.id == bindparam("supplier_id", type_=BigInteger)
    ),
    SupplierRow,
)


@dataclass(frozen=True)
class SupplierFilters:
    """The filters of a list of suppliers."""

    is_active: bool | None = None
    q: str | None = None


def _all() -> AnySelect:
    return select(_SUPPLIERS).where(_IS_OWN)


def _by_activity() -> AnySelect:
    return _all().where(_IS_ACTIVE)


class SupplierQueries:
    """Reads the suppliers of the actor's organisation."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._executor = executor
        self._organisation_id = actor.organisation_id

    async def find(self, supplier_id: int) -> SupplierRow | None:
        """A supplier, or None."""
        await self._executor.enter_tenant(self._organisation_id)
        return await self._executor.row(_ONE, organisation_id=self._organisation_id, supplier_id=supplier_id)

    async def get(self, supplier_id: int) -> SupplierRow:
        """A supplier. Raises SupplierNotFound."""
        supplier = await self.find(supplier_id)
        if supplier is None:
            raise SupplierNotFound
        return supplier

    async def page(self, filters: SupplierFilters, request: PageRequest) -> PageOf[SupplierRow]:
        given = {name: value for name, value in asdict(filters).items() if value is not None}
        plans = PlanCacheMode.CUSTOM if given else PlanCacheMode.GENERIC
        await self._executor.enter_tenant(self._organisation_id, plan_cache_mode=plans)
        chosen = _by_activity if "is_active" in given else _all
        return await _LIST.page(self._executor, chosen, request, {"organisation_id": self._organisation_id, **given})
