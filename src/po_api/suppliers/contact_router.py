"""/suppliers/{supplier_id}/contacts"""

from typing import Annotated

from fastapi import Path, Request, Response

from po_api.core.permissions import Permission
from po_api.suppliers.dependencies import ContactPaging, ContactServiceDep, SupplierQueriesDep
from po_api.suppliers.models import SupplierContact
from po_api.suppliers.queries import SingleContactRow
from po_api.suppliers.router import SupplierId
from po_api.suppliers.schemas import ContactCreate, ContactPage, ContactRead, ContactUpdate
from po_api.web.dependencies import DryRun, link_next
from po_api.web.etags import IfMatch, set_version
from po_api.web.idempotency import IDEMPOTENT
from po_api.web.openapi import problems, tagged
from po_api.web.routing import api_router, requires
from po_api.web.schemas import MAX_ID

router = api_router(prefix="/suppliers", tags=["suppliers"])

ContactId = Annotated[int, Path(ge=1, le=MAX_ID)]
_CHANGING = problems(403, 404, 409, 412, 428)


def _read(response: Response, contact: SupplierContact | SingleContactRow, version: int) -> ContactRead:
    set_version(response, version)
    return ContactRead.model_validate(contact)


@router.get(
    "/{supplier_id}/contacts",
    operation_id="listSupplierContacts",
    summary="List the contacts of a supplier",
    responses=problems(403, 404),
    openapi_extra=requires(Permission.SUPPLIERS_READ),
)
async def list_contacts(
    request: Request,
    response: Response,
    suppliers: SupplierQueriesDep,
    supplier_id: SupplierId,
    paging: ContactPaging,
) -> ContactPage:
    """List the contacts of a supplier, oldest first, deactivated ones included."""
    page = await suppliers.contacts(supplier_id, paging)
    items = [ContactRead.model_validate(row) for row in page.items]
    return ContactPage(items=items, **link_next(request, response, page))


@router.post(
    "/{supplier_id}/contacts",
    operation_id="addSupplierContact",
    summary="Add a contact to a supplier",
    status_code=201,
    dependencies=[IDEMPOTENT],
    responses=_CHANGING | tagged(201),
    openapi_extra=requires(Permission.SUPPLIERS_WRITE),
)
async def add_contact(
    response: Response, service: ContactServiceDep, supplier_id: SupplierId, expected: IfMatch, body: ContactCreate
) -> ContactRead:
    """Add a contact. Requires the role `buyer` or `admin`. The ETag is that of the supplier.

    The supplier's `email` is the address of its first active contact for orders."""
    contact, version = await service.add(supplier_id, expected=expected, values=body.model_dump())
    response.headers["Location"] = f"/api/v1/suppliers/{supplier_id}/contacts/{contact.id}"
    return _read(response, contact, version)


@router.get(
    "/{supplier_id}/contacts/{contact_id}",
    operation_id="getSupplierContact",
    summary="Get a contact of a supplier",
    responses=problems(403, 404) | tagged(),
    openapi_extra=requires(Permission.SUPPLIERS_READ),
)
async def get_contact(
    response: Response, suppliers: SupplierQueriesDep, supplier_id: SupplierId, contact_id: ContactId
) -> ContactRead:
    """Get a contact. Its ETag is the ETag of the supplier."""
    contact = await suppliers.contact(supplier_id, contact_id)
    return _read(response, contact, contact.supplier_version)


@router.patch(
    "/{supplier_id}/contacts/{contact_id}",
    operation_id="updateSupplierContact",
    summary="Update a contact of a supplier",
    responses=_CHANGING | tagged(),
    openapi_extra=requires(Permission.SUPPLIERS_WRITE),
)
async def update_contact(
    response: Response,
    service: ContactServiceDep,
    supplier_id: SupplierId,
    contact_id: ContactId,
    expected: IfMatch,
    body: ContactUpdate,
) -> ContactRead:
    """Update a contact. Requires the role `buyer` or `admin`."""
    contact, version = await service.change(
        supplier_id, contact_id, "supplier.update_contact", expected=expected, values=body.model_dump()
    )
    return _read(response, contact, version)


@router.post(
    "/{supplier_id}/contacts/{contact_id}/deactivate",
    operation_id="deactivateSupplierContact",
    summary="Deactivate a contact of a supplier",
    dependencies=[IDEMPOTENT],
    responses=_CHANGING | tagged(),
    openapi_extra=requires(Permission.SUPPLIERS_WRITE),
)
async def deactivate_contact(
    response: Response,
    service: ContactServiceDep,
    supplier_id: SupplierId,
    contact_id: ContactId,
    expected: IfMatch,
    dry_run: DryRun,
) -> ContactRead:
    """Deactivate a contact, which receives nothing any more. Requires the role `buyer` or `admin`."""
    contact, version = await service.change(
        supplier_id, contact_id, "supplier.deactivate_contact", expected=expected, values={"is_active": False}
    )
    return _read(response, contact, version)


@router.post(
    "/{supplier_id}/contacts/{contact_id}/activate",
    operation_id="activateSupplierContact",
    summary="Reactivate a contact of a supplier",
    dependencies=[IDEMPOTENT],
    responses=_CHANGING | tagged(),
    openapi_extra=requires(Permission.SUPPLIERS_WRITE),
)
async def activate_contact(
    response: Response,
    service: ContactServiceDep,
    supplier_id: SupplierId,
    contact_id: ContactId,
    expected: IfMatch,
    dry_run: DryRun,
) -> ContactRead:
    """Reactivate a deactivated contact. Requires the role `buyer` or `admin`."""
    contact, version = await service.change(
        supplier_id, contact_id, "supplier.activate_contact", expected=expected, values={"is_active": True}
    )
    return _read(response, contact, version)
