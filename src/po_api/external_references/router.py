"""/external-references"""

from typing import Annotated

from fastapi import Path, Request, Response

from po_api.core.permissions import Permission
from po_api.external_references.dependencies import (
    ExternalReferenceFiltersDep,
    ExternalReferencePaging,
    ExternalReferenceQueriesDep,
    ExternalReferenceServiceDep,
)
from po_api.external_references.schemas import (
    ExternalReferencePage,
    ExternalReferencePut,
    ExternalReferenceRead,
)
from po_api.web.dependencies import ActorDep, link_next
from po_api.web.openapi import problems
from po_api.web.routing import api_router, requires
from po_api.web.schemas import MAX_ID

router = api_router(prefix="/external-references", tags=["external references"])

ReferenceId = Annotated[int, Path(ge=1, le=MAX_ID)]


@router.get(
    "",
    operation_id="listExternalReferences",
    summary="List external references",
    responses=problems(403),
    openapi_extra=requires(Permission.EXTERNAL_REFERENCES_READ),
)
async def list_references(
    request: Request,
    response: Response,
    references: ExternalReferenceQueriesDep,
    actor: ActorDep,
    filters: ExternalReferenceFiltersDep,
    paging: ExternalReferencePaging,
) -> ExternalReferencePage:
    """List the ids of entities in other systems. Requires the role `buyer`, `admin` or `auditor`.

    `GET /porfs?external_system=…&external_id=…` finds a request, and the lists of orders and suppliers likewise."""
    actor.require(Permission.EXTERNAL_REFERENCES_READ)
    page = await references.page(filters, paging)
    items = [ExternalReferenceRead.model_validate(row) for row in page.items]
    return ExternalReferencePage(items=items, **link_next(request, response, page))


@router.put(
    "",
    operation_id="putExternalReference",
    summary="Add an external reference",
    responses=problems(403, 409) | {201: {"model": ExternalReferenceRead, "description": "Added"}},
    openapi_extra=requires(Permission.EXTERNAL_REFERENCES_WRITE),
)
async def put_reference(
    response: Response, service: ExternalReferenceServiceDep, body: ExternalReferencePut
) -> ExternalReferenceRead:
    """Add the id that a supplier, a request or an order has in another system. Requires the role `buyer` or `admin`.

    A repetition changes nothing and returns 200. In a system, an id identifies one entity of each kind: that of another
    one is 409 `external_id_taken`."""
    found, is_new = await service.put(body.entity, body.entity_id, system=body.system, external_id=body.external_id)
    response.status_code = 201 if is_new else 200
    return ExternalReferenceRead.model_validate(found)


@router.delete(
    "/{reference_id}",
    operation_id="deleteExternalReference",
    summary="Delete an external reference",
    status_code=204,
    responses=problems(403, 404),
    openapi_extra=requires(Permission.EXTERNAL_REFERENCES_WRITE),
)
async def delete_reference(service: ExternalReferenceServiceDep, reference_id: ReferenceId) -> None:
    """Delete an external reference, whose id is free again. Requires the role `buyer` or `admin`."""
    await service.delete(reference_id)
