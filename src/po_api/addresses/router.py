"""/addresses"""

from typing import Annotated

from fastapi import Path, Request, Response

from po_api.addresses.dependencies import AddressFiltersDep, AddressPaging, AddressQueriesDep, AddressServiceDep
from po_api.addresses.models import Address
from po_api.addresses.queries import AddressRow
from po_api.addresses.schemas import AddressCreate, AddressDetails, AddressPage, AddressUpdate
from po_api.core.permissions import Permission
from po_api.history.dependencies import HistoryPaging, HistoryQueriesDep
from po_api.history.schemas import HistoryPage
from po_api.web.dependencies import DryRun, link_next, page_of_json
from po_api.web.etags import IfMatch, set_version
from po_api.web.idempotency import IDEMPOTENT
from po_api.web.openapi import problems
from po_api.web.routing import api_router, requires
from po_api.web.schemas import MAX_ID

router = api_router(prefix="/addresses", tags=["addresses"])

AddressId = Annotated[int, Path(ge=1, le=MAX_ID)]
_CHANGING = problems(403, 404, 409, 412, 428)


def _read(response: Response, address: Address | AddressRow) -> AddressDetails:
    set_version(response, address.version)
    return AddressDetails.model_validate(address)


@router.get(
    "",
    operation_id="listAddresses",
    summary="List addresses",
    responses=problems(403),
    openapi_extra=requires(Permission.ADDRESSES_READ),
)
async def list_addresses(
    request: Request,
    response: Response,
    addresses: AddressQueriesDep,
    filters: AddressFiltersDep,
    paging: AddressPaging,
) -> AddressPage:
    page = await addresses.page(filters, paging)
    items = [AddressDetails.model_validate(row) for row in page.items]
    return AddressPage(items=items, **link_next(request, response, page))


@router.post(
    "",
    operation_id="createAddress",
    summary="Add an address",
    status_code=201,
    dependencies=[IDEMPOTENT],
    responses=problems(403, 409),
    openapi_extra=requires(Permission.ADDRESSES_WRITE),
)
async def create_address(response: Response, service: AddressServiceDep, body: AddressCreate) -> AddressDetails:
    """Add an address for deliveries or invoices. Requires the role `buyer` or `admin`."""
    address = await service.create(**body.model_dump())
    response.headers["Location"] = f"/api/v1/addresses/{address.id}"
    return _read(response, address)


@router.get(
    "/{address_id}",
    operation_id="getAddress",
    summary="Get an address",
    responses=problems(403, 404),
    openapi_extra=requires(Permission.ADDRESSES_READ),
)
async def get_address(response: Response, addresses: AddressQueriesDep, address_id: AddressId) -> AddressDetails:
    return _read(response, await addresses.get(address_id))


@router.patch(
    "/{address_id}",
    operation_id="updateAddress",
    summary="Update an address",
    responses=_CHANGING,
    openapi_extra=requires(Permission.ADDRESSES_WRITE),
)
async def update_address(
    response: Response, service: AddressServiceDep, address_id: AddressId, expected: IfMatch, body: AddressUpdate
) -> AddressDetails:
    """Update an address. Requires the role `buyer` or `admin`. Issued orders keep their copy."""
    values = body.model_dump()
    return _read(response, await service.change(address_id, "address.update", expected=expected, values=values))


@router.post(
    "/{address_id}/deactivate",
    operation_id="deactivateAddress",
    summary="Deactivate an address",
    dependencies=[IDEMPOTENT],
    responses=_CHANGING,
    openapi_extra=requires(Permission.ADDRESSES_WRITE),
)
async def deactivate_address(
    response: Response, service: AddressServiceDep, address_id: AddressId, expected: IfMatch, dry_run: DryRun
) -> AddressDetails:
    """Deactivate an address: nothing new refers to it, and it is no default. Requires the role `buyer` or `admin`."""
    return _read(response, await service.deactivate(address_id, expected=expected))


@router.post(
    "/{address_id}/activate",
    operation_id="activateAddress",
    summary="Reactivate an address",
    dependencies=[IDEMPOTENT],
    responses=_CHANGING,
    openapi_extra=requires(Permission.ADDRESSES_WRITE),
)
async def activate_address(
    response: Response, service: AddressServiceDep, address_id: AddressId, expected: IfMatch, dry_run: DryRun
) -> AddressDetails:
    """Reactivate a deactivated address. Requires the role `buyer` or `admin`."""
    return _read(response, await service.activate(address_id, expected=expected))


@router.get(
    "/{address_id}/history",
    operation_id="listAddressHistory",
    summary="List the history of an address",
    response_model=HistoryPage,
    responses=problems(403, 404),
    openapi_extra=requires(Permission.ADDRESSES_READ),
)
async def list_address_history(
    request: Request,
    addresses: AddressQueriesDep,
    history: HistoryQueriesDep,
    address_id: AddressId,
    paging: HistoryPaging,
) -> Response:
    await addresses.get(address_id)
    return page_of_json(request, await history.of("address", address_id, paging))
