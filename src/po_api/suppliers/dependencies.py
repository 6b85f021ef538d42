"""What the suppliers' handlers ask for."""

from typing import Annotated

from fastapi import Depends, Query

from po_api.core.pagination import PageRequest
from po_api.suppliers.repository import SORTS, SupplierFilters
from po_api.suppliers.service import SupplierService
from po_api.web.dependencies import SessionDep, TenantDep, paging
from po_api.web.schemas import Search


def _service(session: SessionDep, tenant: TenantDep) -> SupplierService:
    return SupplierService(session, tenant)


def _filters(
    is_active: Annotated[bool | None, Query()] = None,
    q: Annotated[Search | None, Query(description="Beginnings of words", examples=["müll"])] = None,
) -> SupplierFilters:
    return SupplierFilters(is_active, q)


SupplierServiceDep = Annotated[SupplierService, Depends(_service)]
SupplierFiltersDep = Annotated[SupplierFilters, Depends(_filters)]
SupplierPaging = Annotated[PageRequest, Depends(paging(*SORTS))]
