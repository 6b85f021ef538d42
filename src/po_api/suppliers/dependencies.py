"""Dependencies of the suppliers' handlers."""

from typing import Annotated

from fastapi import Depends, Request

from po_api.db.filters import Filters
from po_api.db.pagination import PageRequest
from po_api.suppliers.queries import SORTS, SupplierQueries
from po_api.suppliers.service import SupplierService
from po_api.web.dependencies import PrincipalDep, executor_of, paging, session_of
from po_api.web.filters import CREATED_AT, UPDATED_AT, filters, one, search


async def _queries(request: Request, principal: PrincipalDep) -> SupplierQueries:
    return SupplierQueries(executor_of(request), principal.actor())


async def _service(request: Request, principal: PrincipalDep) -> SupplierService:
    return SupplierService(session_of(request), principal.actor())


_filters = filters(
    one("is_active", bool, "Only active or only deactivated suppliers"),
    *CREATED_AT,
    *UPDATED_AT,
    search("Prefixes of words in the name, e-mail address or tax id", "müll"),
)


SupplierQueriesDep = Annotated[SupplierQueries, Depends(_queries)]
SupplierServiceDep = Annotated[SupplierService, Depends(_service)]
SupplierFiltersDep = Annotated[Filters, Depends(_filters)]
SupplierPaging = Annotated[PageRequest, Depends(paging(*SORTS))]
