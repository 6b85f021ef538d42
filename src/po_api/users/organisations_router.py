"""/organisations with their members: create an organisation, list all, get one with its members."""

from enum import StrEnum
from typing import Annotated

from fastapi import Path, Query, Request, Response

from po_api.core.permissions import Permission
from po_api.organisations.dependencies import OrganisationQueriesDep
from po_api.organisations.schemas import (
    Member,
    OrganisationCreate,
    OrganisationPage,
    OrganisationRead,
    OrganisationSummary,
)
from po_api.users.dependencies import MembershipServiceDep, OrganisationPaging, UserQueriesDep
from po_api.users.schemas import fields_of
from po_api.web.dependencies import PrincipalDep, link_next
from po_api.web.etags import set_version
from po_api.web.idempotency import IDEMPOTENT_FOR_USER
from po_api.web.openapi import problems
from po_api.web.routing import api_router, requires
from po_api.web.schemas import MAX_ID, Moment

# `router` has the collection; /organisations/current has to be matched before /organisations/{organisation_id}.
router = api_router(prefix="/organisations", tags=["organisations"])
single_router = api_router(prefix="/organisations", tags=["organisations"])

OrganisationId = Annotated[int, Path(ge=1, le=MAX_ID)]


class Include(StrEnum):
    """Related data to include."""

    USERS = "users"


@router.post(
    "",
    operation_id="createOrganisation",
    summary="Create an organisation",
    status_code=201,
    dependencies=[IDEMPOTENT_FOR_USER],
    responses=problems(409),
    openapi_extra=requires(Permission.ORGANISATIONS_FOUND),
)
async def create_organisation(
    response: Response, principal: PrincipalDep, memberships: MembershipServiceDep, body: OrganisationCreate
) -> OrganisationRead:
    """Create an organisation. The caller becomes its admin, approver, buyer and requester."""
    organisation = await memberships.found_organisation(principal.user_id, **body.model_dump())
    set_version(response, organisation.version)
    response.headers["Location"] = f"/api/v1/organisations/{organisation.id}"
    return OrganisationRead.of(organisation)


@router.get(
    "",
    operation_id="listOrganisations",
    summary="List organisations",
    responses=problems(403),
    openapi_extra=requires(Permission.ORGANISATIONS_READ),
)
async def list_organisations(
    request: Request,
    response: Response,
    principal: PrincipalDep,
    users: UserQueriesDep,
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
    page = await users.organisations(principal, paging, active_since=active_since)
    items = [OrganisationSummary.model_validate(row) for row in page.items]
    return OrganisationPage(items=items, **link_next(request, response, page))


@single_router.get(
    "/{organisation_id}",
    operation_id="getOrganisation",
    summary="Get an organisation",
    responses=problems(404),
    openapi_extra=requires(Permission.ORGANISATIONS_READ),
)
async def get_organisation(
    response: Response,
    principal: PrincipalDep,
    organisations: OrganisationQueriesDep,
    users: UserQueriesDep,
    organisation_id: OrganisationId,
    include: Annotated[list[Include], Query(description="Related data to include")] = [],  # noqa: B006
) -> OrganisationRead:
    organisation = await organisations.visible(principal, organisation_id)
    set_version(response, organisation.version)
    shown = OrganisationRead.of(organisation)
    if Include.USERS not in include:
        return shown
    principal.require_scope(Permission.USERS_READ)
    members = [Member.model_validate(fields_of(row, Member)) for row in await users.members(principal, organisation_id)]
    return shown.model_copy(update={"users": members})
