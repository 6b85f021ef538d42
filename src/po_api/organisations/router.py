"""/organisations/current: the settings of the caller's organisation. The rest of /organisations is about members."""

from typing import Annotated

from fastapi import Form, Response

from po_api.core.offload import offload_file
from po_api.core.permissions import Permission
from po_api.organisations.dependencies import ListenersDep, OrganisationQueriesDep, OrganisationServiceDep
from po_api.organisations.models import MAX_LOGO_BYTES
from po_api.organisations.png import checked_png
from po_api.organisations.schemas import LogoBody, OrganisationRead, OrganisationUpdate
from po_api.web.dependencies import ActorDep
from po_api.web.etags import IfMatch, set_version
from po_api.web.openapi import binary, problems
from po_api.web.routing import api_router, requires

router = api_router(prefix="/organisations", tags=["organisations"])
PNG = "image/png"


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

    The base currency can be changed as long as there are no documents, no approval limits and no exchange rates."""
    organisation = await service.update(actor, listeners, expected=expected, values=body.model_dump())
    set_version(response, organisation.version)
    return OrganisationRead.of(organisation)


@router.get(
    "/current/logo",
    operation_id="getLogo",
    summary="Get the logo of the caller's organisation",
    response_class=Response,
    responses=binary(PNG) | problems(403, 404),
    openapi_extra=requires(Permission.ORGANISATIONS_READ),
)
async def get_logo(actor: ActorDep, organisations: OrganisationQueriesDep) -> Response:
    headers = {"Content-Disposition": 'attachment; filename="logo.png"'}
    return Response(await organisations.logo(actor), media_type=PNG, headers=headers)


@router.put(
    "/current/logo",
    operation_id="setLogo",
    summary="Upload the logo of the caller's organisation",
    responses=problems(403, 412, 413, 428),
    openapi_extra=requires(Permission.ORGANISATIONS_WRITE),
)
async def set_logo(
    response: Response,
    actor: ActorDep,
    service: OrganisationServiceDep,
    expected: IfMatch,
    body: Annotated[LogoBody, Form(media_type="multipart/form-data")],
) -> OrganisationRead:
    """Upload a PNG image of at most 512 kB, which replaces the present one. Requires the role `admin`.

    It is stored without metadata, animation and colour profile. The ETag is that of the organisation."""
    content = await offload_file(checked_png, await body.file.read(MAX_LOGO_BYTES + 1))
    organisation = await service.set_logo(actor, content, expected=expected)
    set_version(response, organisation.version)
    return OrganisationRead.of(organisation)


@router.delete(
    "/current/logo",
    operation_id="deleteLogo",
    summary="Delete the logo of the caller's organisation",
    responses=problems(403, 404, 412, 428),
    openapi_extra=requires(Permission.ORGANISATIONS_WRITE),
)
async def delete_logo(
    response: Response, actor: ActorDep, service: OrganisationServiceDep, expected: IfMatch
) -> OrganisationRead:
    """Delete the logo. Requires the role `admin`. The ETag is that of the organisation."""
    organisation = await service.set_logo(actor, None, expected=expected)
    set_version(response, organisation.version)
    return OrganisationRead.of(organisation)
