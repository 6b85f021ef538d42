"""/invitations: inviting to the caller's organisation."""

from typing import Annotated, Literal

from fastapi import Path, Query, Request, Response

from po_api.core.permissions import Permission
from po_api.members.dependencies import (
    InvitationFiltersDep,
    InvitationPaging,
    InvitationQueriesDep,
    InvitationServiceDep,
)
from po_api.members.schemas import InvitationCreate, InvitationPage, InvitationRead
from po_api.web.dependencies import DryRun, counts_of, link_next
from po_api.web.etags import IfMatch, set_version
from po_api.web.idempotency import IDEMPOTENT
from po_api.web.openapi import problems
from po_api.web.routing import api_router, requires
from po_api.web.schemas import MAX_ID, Counts

router = api_router(prefix="/invitations", tags=["invitations"])

InvitationId = Annotated[int, Path(ge=1, le=MAX_ID)]
GroupBy = Annotated[Literal["status"], Query(description="The value to count by")]


@router.get(
    "",
    operation_id="listInvitations",
    summary="List invitations",
    responses=problems(403),
    openapi_extra=requires(Permission.USERS_MANAGE),
)
async def list_invitations(
    request: Request,
    response: Response,
    invitations: InvitationQueriesDep,
    filters: InvitationFiltersDep,
    paging: InvitationPaging,
) -> InvitationPage:
    """List the invitations of the caller's organisation. Requires the role `admin`."""
    page = await invitations.page(filters, paging)
    items = [InvitationRead.of(row, invited_by_name=row.invited_by_name) for row in page.items]
    return InvitationPage(items=items, **link_next(request, response, page))


@router.get(
    "/counts",
    operation_id="countInvitations",
    summary="Count invitations",
    responses=problems(403),
    openapi_extra=requires(Permission.USERS_MANAGE),
)
async def count_invitations(
    invitations: InvitationQueriesDep, filters: InvitationFiltersDep, group_by: GroupBy
) -> Counts:
    """Count invitations by a value, with the filters of the list."""
    return counts_of(await invitations.counts(filters, group_by))


@router.post(
    "",
    operation_id="createInvitation",
    summary="Invite a person",
    status_code=201,
    dependencies=[IDEMPOTENT],
    responses=problems(403, 409),
    openapi_extra=requires(Permission.USERS_MANAGE),
)
async def create_invitation(
    response: Response, service: InvitationServiceDep, body: InvitationCreate
) -> InvitationRead:
    """Invite a person to the caller's organisation. Requires the role `admin`.

    The person who signs in with the verified address sees the invitation, and accepts or declines it. An earlier
    open invitation of the same address is revoked.
    """
    invitation, inviter = await service.invite(**body.model_dump())
    response.headers["Location"] = f"/api/v1/invitations/{invitation.id}"
    set_version(response, invitation.version)
    return InvitationRead.of(invitation, invited_by_name=inviter)


@router.get(
    "/{invitation_id}",
    operation_id="getInvitation",
    summary="Get an invitation",
    responses=problems(403, 404),
    openapi_extra=requires(Permission.USERS_MANAGE),
)
async def get_invitation(
    response: Response, invitations: InvitationQueriesDep, invitation_id: InvitationId
) -> InvitationRead:
    """Get an invitation of the caller's organisation. Requires the role `admin`."""
    row = await invitations.get(invitation_id)
    set_version(response, row.version)
    return InvitationRead.of(row, invited_by_name=row.invited_by_name)


@router.post(
    "/{invitation_id}/revoke",
    operation_id="revokeInvitation",
    summary="Revoke an invitation",
    dependencies=[IDEMPOTENT],
    responses=problems(403, 404, 409, 412, 428),
    openapi_extra=requires(Permission.USERS_MANAGE),
)
async def revoke_invitation(
    response: Response,
    service: InvitationServiceDep,
    invitation_id: InvitationId,
    expected: IfMatch,
    dry_run: DryRun,
) -> InvitationRead:
    """Revoke an open invitation. Requires the role `admin`."""
    invitation, inviter = await service.revoke(invitation_id, expected=expected)
    set_version(response, invitation.version)
    return InvitationRead.of(invitation, invited_by_name=inviter)
