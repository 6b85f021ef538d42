"""What is read of suppliers."""

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import BigInteger, Boolean, ColumnElement, FromClause, Select, bindparam, func, select

from po_api.core.actor import Actor
from po_api.db.pagination import Listing, PageOf, PageRequest, all_columns
from po_api.db.query import ORGANISATION_ID, PlanCacheMode, Query, QueryExecutor
from po_api.db.search import Search, spaced
from po_api.suppliers.models import Supplier

SORTS = ("created_at", "name")
_SUPPLIERS = Supplier.__table__


def _words(suppliers: FromClause) -> ColumnElement[str]:
    c = suppliers.c
    return spaced(c.name, func.coalesce(c.email, ""), func.coalesce(c.tax_id, ""))


_SEARCH = Search(_SUPPLIERS, words=_words)
_LIST = Listing("suppliers.list", _SUPPLIERS, sorts=SORTS, default="created_at", show=all_columns, search=_SEARCH)
_IS_ACTIVE = Supplier.is_active == bindparam("is_active", type_=Boolean)


@dataclass(frozen=True)
class SupplierFilters:
    """What a list of suppliers can be narrowed to."""

    is_active: bool | None = None
    q: str | None = None


@dataclass(frozen=True)
class _Chosen:
    """The suppliers of one organisation: all, or those that are active or not as the parameter says."""

    by_activity: bool = False

    def __call__(self) -> Select[Any]:
        mine = Supplier.organisation_id == ORGANISATION_ID
        return select(_SUPPLIERS).where(mine, *([_IS_ACTIVE] if self.by_activity else []))


_ONE = Query("suppliers.get", _Chosen()().where(Supplier.id == bindparam("supplier_id", type_=BigInteger)))


class SupplierQueries:
    """Named questions about one organisation's suppliers."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._executor = executor
        self._organisation_id = actor.organisation_id

    async def get(self, supplier_id: int) -> Any:
        """The supplier's columns, or None."""
        await self._executor.enter_tenant(self._organisation_id)
        return await self._executor.row(_ONE, organisation_id=self._organisation_id, supplier_id=supplier_id)

    async def page(self, filters: SupplierFilters, request: PageRequest) -> PageOf[Any]:
        given = {name: value for name, value in asdict(filters).items() if value is not None}
        await self._executor.enter_tenant(
            self._organisation_id, plan_cache_mode=PlanCacheMode.CUSTOM if given else PlanCacheMode.GENERIC
        )
        parameters = {"organisation_id": self._organisation_id, **given}
        return await _LIST.page(self._executor, _Chosen("is_active" in given), request, parameters)
