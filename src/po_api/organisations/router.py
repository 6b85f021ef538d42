"""/organisations: the caller's own, and all of them for operators."""

from enum import StrEnum
from typing import Annotated, Any

from fastapi import Path, Query, Request, Response

from po_api.core.permissions import Scope
from po_api.organisations.dependencies import OrganisationPaging, OrganisationReadingDep, OrganisationServiceDep
from po_api.organisations.schemas import (
    Member,
    OrganisationPage,
    OrganisationRead,
    OrganisationSummary,
    OrganisationUpdate,
)
from po_api.web.dependencies import ActorDep, PrincipalDep, link_next
from po_api.web.etags import IfMatch, set_version
from po_api.web.openapi import problems
from po_api.web.routing import api_router
from po_api.web.schemas import MAX_ID, Moment

router = api_router(prefix="/organisations", tags=["organisations"])

OrganisationId = Annotated[int, Path(ge=1, le=MAX_ID)]


class Include(StrEnum):
    """Related data to include."""

    USERS = "users"


def _read(response: Response, organisation: Any) -> OrganisationRead:
    set_version(response, organisation.version)
    fields = {name: getattr(organisation, name) for name in OrganisationRead.model_fields if name != "users"}
    return OrganisationRead.model_validate(fields)


@router.get("", operation_id="listOrganisations", summary="List organisations", responses=problems(403))
async def list_organisations(
    request: Request,
    response: Response,
    principal: PrincipalDep,
    reading: OrganisationReadingDep,
    paging: OrganisationPaging,
    active_since: Annotated[
        Moment | None,
        Query(
            description="Only organisations with a member who has signed in since this time",
            examples=["2026-01-01T00:00:00Z"],
        ),
    ] = None,
) -> OrganisationPage:
    """List all organisations of the installation. Requires an operator."""
    page = await reading.page(principal, paging, active_since=active_since)
    items = [OrganisationSummary.model_validate(row) for row in page.items]
    return OrganisationPage(items=items, **link_next(request, response, page))


@router.get(
    "/current", operation_id="getCurrentOrganisation", summary="Get the caller's organisation", responses=problems(403)
)
async def get_current(response: Response, actor: ActorDep, reading: OrganisationReadingDep) -> OrganisationRead:
    return _read(response, await reading.own(actor))


@router.patch(
    "/current",
    operation_id="updateCurrentOrganisation",
    summary="Update the caller's organisation",
    responses=problems(403, 409, 412, 428),
)
async def update_current(
    response: Response, actor: ActorDep, service: OrganisationServiceDep, expected: IfMatch, body: OrganisationUpdate
) -> OrganisationRead:
    """Update the settings of the caller's organisation. Requires the role `admin`."""
    organisation = await service.update(actor, expected=expected, values=body.model_dump())
    return _read(response, organisation)


@router.get(
    "/{organisation_id}", operation_id="getOrganisation", summary="Get an organisation", responses=problems(404)
)
async def get_organisation(
    response: Response,
    principal: PrincipalDep,
    reading: OrganisationReadingDep,
    organisation_id: OrganisationId,
    include: Annotated[list[Include], Query(description="Related data to include")] = [],  # noqa: B006
) -> OrganisationRead:
    representation = _read(response, await reading.visible(principal, organisation_id))
    if Include.USERS not in include:
        return representation
    principal.require(Scope.USERS_READ)
    users = [Member.model_validate(row) for row in await reading.members(organisation_id)]
    return representation.model_copy(update={"users": users})
