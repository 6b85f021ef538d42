"""/users: the members of the caller's organisation."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import Path, Request, Response

from po_api.core.permissions import Permission
from po_api.db.listeners import ChangeWarning
from po_api.users.dependencies import MemberServiceDep, UserFiltersDep, UserPaging, UserQueriesDep
from po_api.users.models import User
from po_api.users.queries import UserRow
from po_api.users.schemas import Me, PorfReference, UserInvite, UserNotice, UserPage, UserRead, UserUpdate
from po_api.web.dependencies import ActorDep, DryRun, PrincipalDep, link_next
from po_api.web.etags import IfMatch, set_version
from po_api.web.idempotency import IDEMPOTENT
from po_api.web.openapi import problems
from po_api.web.routing import api_router, requires
from po_api.web.schemas import MAX_ID

router = api_router(prefix="/users", tags=["users"])

UserId = Annotated[int, Path(ge=1, le=MAX_ID)]


def _read(response: Response, user: User | UserRow, warnings: Sequence[ChangeWarning] = ()) -> UserRead:
    set_version(response, user.version)
    notices = [
        UserNotice(
            code=warning.code,
            detail=warning.detail,
            porfs=[PorfReference(id=porf_id, number=number) for porf_id, number in warning.porfs],
        )
        for warning in warnings
    ]
    fields = {name: getattr(user, name) for name in UserRead.model_fields if name != "warnings"}
    return UserRead.model_validate({**fields, "warnings": notices})


@router.get(
    "/me",
    operation_id="getMe",
    summary="Get the signed-in user",
    openapi_extra=requires(Permission.USERS_READ),
)
async def get_me(response: Response, principal: PrincipalDep, users: UserQueriesDep) -> Me:
    user = await users.me(principal)
    set_version(response, user.version)
    return Me.model_validate({name: getattr(user, name) for name in Me.model_fields if name != "warnings"})


@router.get(
    "",
    operation_id="listUsers",
    summary="List members",
    responses=problems(403),
    openapi_extra=requires(Permission.USERS_READ),
)
async def list_users(
    request: Request,
    response: Response,
    actor: ActorDep,
    users: UserQueriesDep,
    filters: UserFiltersDep,
    paging: UserPaging,
) -> UserPage:
    page = await users.page(actor, filters, paging)
    items = [UserRead.model_validate(row) for row in page.items]
    return UserPage(items=items, **link_next(request, response, page))


@router.post(
    "",
    operation_id="inviteUser",
    summary="Invite a member",
    status_code=201,
    dependencies=[IDEMPOTENT],
    responses=problems(403, 409),
    openapi_extra=requires(Permission.USERS_MANAGE),
)
async def invite_user(response: Response, members: MemberServiceDep, body: UserInvite) -> UserRead:
    """Invite a member to the caller's organisation. Requires the role `admin`."""
    user = await members.invite(**body.model_dump())
    response.headers["Location"] = f"/api/v1/users/{user.id}"
    return _read(response, user)


@router.get(
    "/{user_id}",
    operation_id="getUser",
    summary="Get a member",
    responses=problems(403, 404),
    openapi_extra=requires(Permission.USERS_READ),
)
async def get_user(response: Response, actor: ActorDep, users: UserQueriesDep, user_id: UserId) -> UserRead:
    return _read(response, await users.member(actor, user_id))


@router.patch(
    "/{user_id}",
    operation_id="updateUser",
    summary="Update a member",
    responses=problems(403, 404, 409, 412, 428),
    openapi_extra=requires(Permission.USERS_WRITE),
)
async def update_user(
    response: Response,
    members: MemberServiceDep,
    user_id: UserId,
    expected: IfMatch,
    body: UserUpdate,
) -> UserRead:
    """Update a member. Requires the role `admin`; every member may change their own name."""
    user, warnings = await members.update(user_id, expected=expected, values=body.model_dump())
    return _read(response, user, warnings)


@router.post(
    "/{user_id}/deactivate",
    operation_id="deactivateUser",
    summary="Deactivate a member",
    dependencies=[IDEMPOTENT],
    responses=problems(403, 404, 409, 412, 428),
    openapi_extra=requires(Permission.USERS_MANAGE),
)
async def deactivate_user(
    response: Response, members: MemberServiceDep, user_id: UserId, expected: IfMatch, dry_run: DryRun
) -> UserRead:
    """Deactivate a member and end their sessions and API keys. Requires the role `admin`."""
    user, warnings = await members.set_active(user_id, active=False, expected=expected)
    return _read(response, user, warnings)


@router.post(
    "/{user_id}/activate",
    operation_id="activateUser",
    summary="Reactivate a member",
    dependencies=[IDEMPOTENT],
    responses=problems(403, 404, 409, 412, 428),
    openapi_extra=requires(Permission.USERS_MANAGE),
)
async def activate_user(
    response: Response, members: MemberServiceDep, user_id: UserId, expected: IfMatch, dry_run: DryRun
) -> UserRead:
    """Reactivate a deactivated member. Requires the role `admin`."""
    user, warnings = await members.set_active(user_id, active=True, expected=expected)
    return _read(response, user, warnings)
