"""/users/me: the signed-in user, their invitations, and leaving their organisation."""

from typing import Annotated

from fastapi import Path, Response

from po_api.core.permissions import Permission
from po_api.members.dependencies import MemberServiceDep
from po_api.users.dependencies import MembershipServiceDep, UserQueriesDep
from po_api.users.queries import AccountRow, MemberRow
from po_api.users.schemas import InvitationAnswer, Me, MyInvitation, MyInvitations
from po_api.web.dependencies import DryRun, PrincipalDep
from po_api.web.etags import IfMatch, set_version
from po_api.web.idempotency import IDEMPOTENT_FOR_USER
from po_api.web.openapi import problems
from po_api.web.routing import api_router, requires
from po_api.web.schemas import MAX_ID

router = api_router(prefix="/users", tags=["users"])

# The body may be omitted.
STAYING = InvitationAnswer()

InvitationId = Annotated[int, Path(ge=1, le=MAX_ID)]


def _read(response: Response, account: AccountRow, member: MemberRow | None) -> Me:
    me = Me.of(account, member)
    set_version(response, me.version)
    return me


@router.get(
    "/me",
    operation_id="getMe",
    summary="Get the signed-in user",
    openapi_extra=requires(Permission.USERS_READ),
)
async def get_me(response: Response, principal: PrincipalDep, users: UserQueriesDep) -> Me:
    return _read(response, *await users.me(principal))


@router.post(
    "/me/leave",
    operation_id="leaveOrganisation",
    summary="Leave the organisation",
    dependencies=[IDEMPOTENT_FOR_USER],
    responses=problems(403, 409, 412, 428),
    openapi_extra=requires(Permission.MEMBERSHIP),
)
async def leave_organisation(
    response: Response,
    principal: PrincipalDep,
    members: MemberServiceDep,
    users: UserQueriesDep,
    expected: IfMatch,
    dry_run: DryRun,
) -> Me:
    """Leave the organisation. API keys end; documents and history keep the member. The last admin cannot leave."""
    await members.leave(expected=expected)
    return _read(response, *await users.me(principal))


@router.get(
    "/me/invitations",
    operation_id="listMyInvitations",
    summary="List the signed-in user's open invitations",
    openapi_extra=requires(Permission.MEMBERSHIP),
)
async def list_my_invitations(principal: PrincipalDep, users: UserQueriesDep) -> MyInvitations:
    """List the open invitations of the user's verified e-mail address, the latest 100."""
    return MyInvitations(items=[MyInvitation.of(row) for row in await users.invitations(principal)])


@router.post(
    "/me/invitations/{invitation_id}/accept",
    operation_id="acceptInvitation",
    summary="Accept an invitation",
    dependencies=[IDEMPOTENT_FOR_USER],
    responses=problems(404, 409, 412, 428),
    openapi_extra=requires(Permission.MEMBERSHIP),
)
async def accept_invitation(
    response: Response,
    principal: PrincipalDep,
    memberships: MembershipServiceDep,
    users: UserQueriesDep,
    invitation_id: InvitationId,
    expected: IfMatch,
    dry_run: DryRun,
    body: InvitationAnswer = STAYING,
) -> Me:
    """Join the organisation with the rights of the invitation.

    A user is in one organisation at a time: for a member of another one, accepting means leaving it, which requires
    `"leave": true`.
    """
    await memberships.accept(principal, invitation_id, leave=body.leave, expected=expected)
    return _read(response, *await users.me(principal))


@router.post(
    "/me/invitations/{invitation_id}/decline",
    operation_id="declineInvitation",
    summary="Decline an invitation",
    status_code=204,
    dependencies=[IDEMPOTENT_FOR_USER],
    responses=problems(404, 409, 412, 428),
    openapi_extra=requires(Permission.MEMBERSHIP),
)
async def decline_invitation(
    principal: PrincipalDep,
    memberships: MembershipServiceDep,
    invitation_id: InvitationId,
    expected: IfMatch,
    dry_run: DryRun,
) -> None:
    """Decline the invitation, which ends it."""
    await memberships.decline(principal, invitation_id, expected=expected)
