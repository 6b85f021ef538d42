"""What is read of suppliers."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Boolean, Select, Text, bindparam, func, select

from po_api.core.pagination import Listing, PageOf, PageRequest, all_columns
from po_api.core.reading import ORGANISATION_ID, Question, Reader
from po_api.core.tenancy import Tenant
from po_api.suppliers.models import Supplier

SORTS = ("created_at", "name")
_SUPPLIERS = Supplier.__table__
_LIST = Listing("suppliers.list", _SUPPLIERS, sorts=SORTS, default="created_at", show=all_columns)
_CONDITIONS = {
    "is_active": Supplier.is_active == bindparam("is_active", type_=Boolean),
    "q": Supplier.id.in_(select(func.search_suppliers(bindparam("q", type_=Text)).column_valued("found"))),
}


@dataclass(frozen=True)
class SupplierFilters:
    """What a list of suppliers can be narrowed to."""

    is_active: bool | None = None
    q: str | None = None


@dataclass(frozen=True)
class _Chosen:
    """The suppliers of one organisation, narrowed by the conditions of these names."""

    narrowed_by: frozenset[str] = frozenset()

    def __call__(self) -> Select[Any]:
        mine = Supplier.organisation_id == ORGANISATION_ID
        return select(_SUPPLIERS).where(mine, *(_CONDITIONS[name] for name in sorted(self.narrowed_by)))


_ONE = Question("suppliers.get", _Chosen()().where(Supplier.id == bindparam("supplier_id", type_=BigInteger)))


class SupplierQueries:
    """Named questions about one organisation's suppliers."""

    def __init__(self, reader: Reader, tenant: Tenant) -> None:
        self._reader = reader
        self._organisation_id = tenant.organisation_id

    async def get(self, supplier_id: int) -> Any:
        """The supplier's columns, or None."""
        await self._reader.enter_tenant(self._organisation_id)
        return await self._reader.row(_ONE, organisation_id=self._organisation_id, supplier_id=supplier_id)

    async def page(self, filters: SupplierFilters, request: PageRequest) -> PageOf[Any]:
        given = {name: value for name in _CONDITIONS if (value := getattr(filters, name)) is not None}
        await self._reader.enter_tenant(self._organisation_id)
        parameters = {"organisation_id": self._organisation_id, **given}
        return await _LIST.page(self._reader, _Chosen(frozenset(given)), request, parameters)
