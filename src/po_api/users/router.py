"""/users: the members of the caller's organisation. Creating an organisation makes its creator an admin."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Path, Request, Response

from po_api.organisations.schemas import OrganisationCreate, OrganisationRead
from po_api.users.dependencies import UserFiltersDep, UserPaging, UserReadingDep, UserServiceDep
from po_api.users.schemas import Me, PorfReference, UserInvite, UserNotice, UserPage, UserRead, UserUpdate
from po_api.users.service import Leftover
from po_api.web.dependencies import ActorDep, DryRun, PrincipalDep, link_next
from po_api.web.etags import IfMatch, set_version
from po_api.web.idempotency import IDEMPOTENT
from po_api.web.openapi import problems
from po_api.web.routing import api_router
from po_api.web.schemas import MAX_ID

router = api_router(prefix="/users", tags=["users"])
founding_router = api_router(prefix="/organisations", tags=["organisations"])

UserId = Annotated[int, Path(ge=1, le=MAX_ID)]


def _read(response: Response, user: Any, leftovers: Sequence[Leftover] = ()) -> UserRead:
    set_version(response, user.version)
    warnings = [
        UserNotice(
            code=leftover.code,
            detail=leftover.detail,
            porfs=[PorfReference(id=porf_id, number=number) for porf_id, number in leftover.porfs],
        )
        for leftover in leftovers
    ]
    fields = {name: getattr(user, name) for name in UserRead.model_fields if name != "warnings"}
    return UserRead.model_validate({**fields, "warnings": warnings})


@router.get("/me", operation_id="getMe", summary="Get the signed-in user")
async def get_me(response: Response, principal: PrincipalDep, reading: UserReadingDep) -> Me:
    user = await reading.me(principal)
    set_version(response, user.version)
    return Me.model_validate({name: getattr(user, name) for name in Me.model_fields if name != "warnings"})


@router.get("", operation_id="listUsers", summary="List members", responses=problems(403))
async def list_users(
    request: Request,
    response: Response,
    actor: ActorDep,
    reading: UserReadingDep,
    filters: UserFiltersDep,
    paging: UserPaging,
) -> UserPage:
    page = await reading.page(actor, filters, paging)
    items = [UserRead.model_validate(row) for row in page.items]
    return UserPage(items=items, **link_next(request, response, page))


@router.post(
    "",
    operation_id="inviteUser",
    summary="Invite a member",
    status_code=201,
    dependencies=[IDEMPOTENT],
    responses=problems(403, 409),
)
async def invite_user(response: Response, actor: ActorDep, service: UserServiceDep, body: UserInvite) -> UserRead:
    """Invite a member to the caller's organisation. Requires the role `admin`."""
    user = await service.invite(actor, **body.model_dump())
    response.headers["Location"] = f"/api/v1/users/{user.id}"
    return _read(response, user)


@router.get("/{user_id}", operation_id="getUser", summary="Get a member", responses=problems(403, 404))
async def get_user(response: Response, actor: ActorDep, reading: UserReadingDep, user_id: UserId) -> UserRead:
    return _read(response, await reading.member(actor, user_id))


@router.patch(
    "/{user_id}",
    operation_id="updateUser",
    summary="Update a member",
    responses=problems(403, 404, 409, 412, 428),
)
async def update_user(
    response: Response,
    actor: ActorDep,
    service: UserServiceDep,
    user_id: UserId,
    expected: IfMatch,
    body: UserUpdate,
) -> UserRead:
    """Update a member. Requires the role `admin`; every member may change their own name."""
    user, leftovers = await service.update(actor, user_id, expected=expected, values=body.model_dump())
    return _read(response, user, leftovers)


@router.post(
    "/{user_id}/deactivate",
    operation_id="deactivateUser",
    summary="Deactivate a member",
    dependencies=[IDEMPOTENT],
    responses=problems(403, 404, 409, 412, 428),
)
async def deactivate_user(
    response: Response, actor: ActorDep, service: UserServiceDep, user_id: UserId, expected: IfMatch, dry_run: DryRun
) -> UserRead:
    """Deactivate a member and end their sessions and API keys. Requires the role `admin`."""
    user, leftovers = await service.set_active(actor, user_id, active=False, expected=expected)
    return _read(response, user, leftovers)


@router.post(
    "/{user_id}/activate",
    operation_id="activateUser",
    summary="Reactivate a member",
    dependencies=[IDEMPOTENT],
    responses=problems(403, 404, 409, 412, 428),
)
async def activate_user(
    response: Response, actor: ActorDep, service: UserServiceDep, user_id: UserId, expected: IfMatch, dry_run: DryRun
) -> UserRead:
    """Reactivate a deactivated member. Requires the role `admin`."""
    user, leftovers = await service.set_active(actor, user_id, active=True, expected=expected)
    return _read(response, user, leftovers)


@founding_router.post(
    "",
    operation_id="createOrganisation",
    summary="Create an organisation",
    status_code=201,
    dependencies=[IDEMPOTENT],
    responses=problems(409),
)
async def create_organisation(
    response: Response, principal: PrincipalDep, service: UserServiceDep, body: OrganisationCreate
) -> OrganisationRead:
    """Create an organisation. The caller becomes its admin."""
    organisation = await service.found_organisation(principal, **body.model_dump())
    set_version(response, organisation.version)
    response.headers["Location"] = f"/api/v1/organisations/{organisation.id}"
    fields = {name: getattr(organisation, name) for name in OrganisationRead.model_fields if name != "users"}
    return OrganisationRead.model_validate(fields)
