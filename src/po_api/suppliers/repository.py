"""The suppliers' rows."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.pagination import Keyset, PageOf, PageRequest
from po_api.core.tenancy import Tenant
from po_api.suppliers.models import Supplier

SORTS = ("created_at", "name")
_KEYSET = Keyset(
    {"created_at": Supplier.created_at, "name": Supplier.name}, id_column=Supplier.id, default="created_at"
)


@dataclass(frozen=True)
class SupplierFilters:
    """What a list of suppliers can be narrowed to."""

    is_active: bool | None = None
    q: str | None = None


class SupplierRepository:
    """Named questions about one organisation's suppliers."""

    def __init__(self, session: AsyncSession, tenant: Tenant) -> None:
        self._session = session
        self._organisation_id = tenant.organisation_id

    def _base(self) -> Select[Supplier]:
        return select(Supplier).where(Supplier.organisation_id == self._organisation_id)

    async def get(self, supplier_id: int) -> Supplier | None:
        return (await self._session.scalars(self._base().where(Supplier.id == supplier_id))).one_or_none()

    async def locked(self, supplier_id: int) -> Supplier | None:
        statement = self._base().where(Supplier.id == supplier_id).with_for_update(key_share=True)
        statement = statement.execution_options(populate_existing=True)
        return (await self._session.scalars(statement)).one_or_none()

    async def page(self, filters: SupplierFilters, request: PageRequest) -> PageOf[Row[Any]]:
        statement = self._base().with_only_columns(*Supplier.__table__.columns)
        if filters.is_active is not None:
            statement = statement.where(Supplier.is_active == filters.is_active)
        if filters.q is not None:
            found = func.search_suppliers(filters.q).column_valued("found")
            statement = statement.where(Supplier.id.in_(select(found)))
        return await _KEYSET.page(self._session, statement, request)
