"""/users: the members of the caller's organisation."""

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import Path, Query, Request, Response
from pydantic import MISSING

from po_api.core.permissions import Permission
from po_api.db.listeners import ChangeWarning
from po_api.members.dependencies import MemberServiceDep
from po_api.users.dependencies import UserFiltersDep, UserPaging, UserQueriesDep, UserServiceDep
from po_api.users.queries import ShownMember
from po_api.users.schemas import UserPage, UserRead, UserUpdate
from po_api.web.dependencies import ActorDep, DryRun, counts_of, link_next
from po_api.web.etags import IfMatch, set_version
from po_api.web.idempotency import IDEMPOTENT
from po_api.web.openapi import problems
from po_api.web.routing import api_router, requires
from po_api.web.schemas import MAX_ID, Counts

router = api_router(prefix="/users", tags=["users"])

UserId = Annotated[int, Path(ge=1, le=MAX_ID)]
GroupBy = Annotated[Literal["is_active"], Query(description="The value to count by")]


def _read(response: Response, shown: ShownMember, warnings: Sequence[ChangeWarning] = ()) -> UserRead:
    set_version(response, shown.member.version)
    return UserRead.of(shown, warnings)


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
    items = [UserRead.of(shown) for shown in page.items]
    return UserPage(items=items, **link_next(request, response, page))


@router.get(
    "/counts",
    operation_id="countUsers",
    summary="Count members",
    responses=problems(403),
    openapi_extra=requires(Permission.USERS_READ),
)
async def count_users(actor: ActorDep, users: UserQueriesDep, filters: UserFiltersDep, group_by: GroupBy) -> Counts:
    """Count members by a value, with the filters of the list."""
    return counts_of(await users.counts(actor, filters, group_by))


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
    actor: ActorDep,
    members: MemberServiceDep,
    accounts: UserServiceDep,
    users: UserQueriesDep,
    user_id: UserId,
    expected: IfMatch,
    body: UserUpdate,
) -> UserRead:
    """Update a member. Requires the role `admin`; every member may change their own name and default cost centre.

    Nobody changes their own roles, limit, manager or team, but for the only active member of an organisation.
    """
    if user_id == actor.user_id and body.name is not MISSING:
        # First, since those who end a membership lock the account before the member, too.
        await accounts.rename(user_id, body.name)
    _, warnings = await members.update(user_id, expected=expected, values=body.model_dump())
    return _read(response, await users.member(actor, user_id), warnings)


@router.post(
    "/{user_id}/deactivate",
    operation_id="deactivateUser",
    summary="Deactivate a member",
    dependencies=[IDEMPOTENT],
    responses=problems(403, 404, 409, 412, 428),
    openapi_extra=requires(Permission.USERS_MANAGE),
)
async def deactivate_user(
    response: Response,
    actor: ActorDep,
    members: MemberServiceDep,
    users: UserQueriesDep,
    user_id: UserId,
    expected: IfMatch,
    dry_run: DryRun,
) -> UserRead:
    """Deactivate a member and end their sessions and API keys. Requires the role `admin`.

    The account stays: the person may be invited elsewhere, or found an organisation.
    """
    _, warnings = await members.deactivate(user_id, expected=expected)
    return _read(response, await users.member(actor, user_id), warnings)


@router.post(
    "/{user_id}/activate",
    operation_id="activateUser",
    summary="Reactivate a member",
    dependencies=[IDEMPOTENT],
    responses=problems(403, 404, 409, 412, 428),
    openapi_extra=requires(Permission.USERS_MANAGE),
)
async def activate_user(
    response: Response,
    actor: ActorDep,
    members: MemberServiceDep,
    users: UserQueriesDep,
    user_id: UserId,
    expected: IfMatch,
    dry_run: DryRun,
) -> UserRead:
    """Reactivate a deactivated member. Requires the role `admin`.

    A member who has left, or who belongs to another organisation now, has to be invited.
    """
    _, warnings = await members.activate(user_id, expected=expected)
    return _read(response, await users.member(actor, user_id), warnings)
