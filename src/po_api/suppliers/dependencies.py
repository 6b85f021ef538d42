"""Dependencies of the suppliers' handlers."""

from typing import Annotated

from fastapi import Depends, Query, Request

from po_api.db.pagination import PageRequest
from po_api.suppliers.queries import SORTS, SupplierFilters, SupplierQueries
from po_api.suppliers.service import SupplierService
from po_api.web.dependencies import PrincipalDep, executor_of, paging, session_of
from po_api.web.schemas import Search


async def _queries(request: Request, principal: PrincipalDep) -> SupplierQueries:
    return SupplierQueries(executor_of(request), principal.actor())


async def _service(request: Request, principal: PrincipalDep) -> SupplierService:
    return SupplierService(session_of(request), principal.actor())


async def _filters(
    is_active: Annotated[bool | None, Query()] = None,
    q: Annotated[
        Search | None, Query(description="Prefixes of words in the name, e-mail address or tax id", examples=["müll"])
    ] = None,
) -> SupplierFilters:
    return SupplierFilters(is_active, q)


SupplierQueriesDep = Annotated[SupplierQueries, Depends(_queries)]
SupplierServiceDep = Annotated[SupplierService, Depends(_service)]
SupplierFiltersDep = Annotated[SupplierFilters, Depends(_filters)]
SupplierPaging = Annotated[PageRequest, Depends(paging(*SORTS))]
