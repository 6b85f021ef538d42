"""Dependencies of the suppliers' handlers."""

from typing import Annotated

from fastapi import Depends, Request

from po_api.db.filters import Filters
from po_api.db.pagination import PageRequest
from po_api.external_references.dependencies import BY_EXTERNAL_ID
from po_api.suppliers.contact_service import ContactService
from po_api.suppliers.queries import CONTACT_SORTS, SORTS, SupplierQueries
from po_api.suppliers.service import SupplierService
from po_api.web.dependencies import PrincipalDep, executor_of, paging, session_of
from po_api.web.filters import CREATED_AT, UPDATED_AT, any_of, filters, one, search
from po_api.web.schemas import KnownCurrency


async def _queries(request: Request, principal: PrincipalDep) -> SupplierQueries:
    return SupplierQueries(executor_of(request), principal.actor())


async def _service(request: Request, principal: PrincipalDep) -> SupplierService:
    return SupplierService(session_of(request), principal.actor())


async def _contact_service(request: Request, principal: PrincipalDep) -> ContactService:
    return ContactService(session_of(request), principal.actor())


_filters = filters(
    one("is_active", bool, "Only active or only deactivated suppliers"),
    any_of("currency", KnownCurrency, "Any of these currencies"),
    *BY_EXTERNAL_ID,
    *CREATED_AT,
    *UPDATED_AT,
    search("Prefixes of words in the name, e-mail address or tax id", "müll"),
)


SupplierQueriesDep = Annotated[SupplierQueries, Depends(_queries)]
SupplierServiceDep = Annotated[SupplierService, Depends(_service)]
SupplierFiltersDep = Annotated[Filters, Depends(_filters)]
ContactServiceDep = Annotated[ContactService, Depends(_contact_service)]
ContactPaging = Annotated[PageRequest, Depends(paging(*CONTACT_SORTS))]
SupplierPaging = Annotated[PageRequest, Depends(paging(*SORTS))]
