"""What members read of suppliers."""

from typing import Any

from po_api.core.actor import Actor
from po_api.db.pagination import PageOf, PageRequest
from po_api.db.query import QueryExecutor
from po_api.suppliers.errors import SupplierNotFound
from po_api.suppliers.queries import SupplierFilters, SupplierQueries


class SupplierReading:
    """The suppliers of the member's organisation."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._queries = SupplierQueries(executor, actor)

    async def page(self, filters: SupplierFilters, request: PageRequest) -> PageOf[Any]:
        return await self._queries.page(filters, request)

    async def get(self, supplier_id: int) -> Any:
        """A supplier's columns; SupplierNotFound."""
        supplier = await self._queries.get(supplier_id)
        if supplier is None:
            raise SupplierNotFound
        return supplier
