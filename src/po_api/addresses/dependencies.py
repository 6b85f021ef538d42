"""Dependencies of the addresses' handlers."""

from typing import Annotated

from fastapi import Depends, Request

from po_api.addresses.domain import AddressKind
from po_api.addresses.queries import SORTS, AddressQueries
from po_api.addresses.service import AddressService
from po_api.db.filters import Filters
from po_api.db.pagination import PageRequest
from po_api.web.dependencies import PrincipalDep, executor_of, paging, session_of
from po_api.web.filters import CREATED_AT, UPDATED_AT, filters, one


async def _queries(request: Request, principal: PrincipalDep) -> AddressQueries:
    return AddressQueries(executor_of(request), principal.actor())


async def _service(request: Request, principal: PrincipalDep) -> AddressService:
    return AddressService(session_of(request), principal.actor())


_filters = filters(
    one("kind", AddressKind, "Only addresses of this kind"),
    one("is_active", bool, "Only active or only deactivated addresses"),
    one("is_default", bool, "Only default addresses, or only others"),
    *CREATED_AT,
    *UPDATED_AT,
)

AddressQueriesDep = Annotated[AddressQueries, Depends(_queries)]
AddressServiceDep = Annotated[AddressService, Depends(_service)]
AddressFiltersDep = Annotated[Filters, Depends(_filters)]
AddressPaging = Annotated[PageRequest, Depends(paging(*SORTS))]
