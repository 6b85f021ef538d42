"""/organisations/current: the settings of the caller's organisation. The rest of /organisations is about members."""

from fastapi import Response

from po_api.core.permissions import Permission
from po_api.organisations.dependencies import ListenersDep, OrganisationQueriesDep, OrganisationServiceDep
from po_api.organisations.schemas import OrganisationRead, OrganisationUpdate
from po_api.web.dependencies import ActorDep
from po_api.web.etags import IfMatch, set_version
from po_api.web.openapi import problems
from po_api.web.routing import api_router, requires

router = api_router(prefix="/organisations", tags=["organisations"])


@router.get(
    "/current",
    operation_id="getCurrentOrganisation",
    summary="Get the caller's organisation",
    responses=problems(403),
    openapi_extra=requires(Permission.ORGANISATIONS_READ),
)
async def get_current(response: Response, actor: ActorDep, organisations: OrganisationQueriesDep) -> OrganisationRead:
    organisation = await organisations.own(actor)
    set_version(response, organisation.version)
    return OrganisationRead.of(organisation)


@router.patch(
    "/current",
    operation_id="updateCurrentOrganisation",
    summary="Update the caller's organisation",
    responses=problems(403, 409, 412, 428),
    openapi_extra=requires(Permission.ORGANISATIONS_WRITE),
)
async def update_current(
    response: Response,
    actor: ActorDep,
    service: OrganisationServiceDep,
    listeners: ListenersDep,
    expected: IfMatch,
    body: OrganisationUpdate,
) -> OrganisationRead:
    """Update the settings of the caller's organisation. Requires the role `admin`.

    The base currency can be changed as long as there are no documents and no approval limits."""
    organisation = await service.update(actor, listeners, expected=expected, values=body.model_dump())
    set_version(response, organisation.version)
    return OrganisationRead.of(organisation)
