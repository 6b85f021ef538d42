"""/audit-events, and the histories of members, invitations and the organisation; features above have their own."""

from fastapi import Request, Response

from po_api.core.permissions import Permission
from po_api.history.dependencies import AuditFiltersDep, HistoryPaging, HistoryQueriesDep
from po_api.history.queries import NOTHING, Redaction
from po_api.history.schemas import AuditEventPage, HistoryPage
from po_api.members.dependencies import InvitationQueriesDep
from po_api.members.router import InvitationId
from po_api.users.dependencies import UserQueriesDep
from po_api.users.router import UserId
from po_api.web.dependencies import ActorDep, page_of_json
from po_api.web.openapi import problems
from po_api.web.routing import api_router, requires

router = api_router(prefix="/audit-events", tags=["audit trail"])
users = api_router(prefix="/users", tags=["users"])
invitations = api_router(prefix="/invitations", tags=["invitations"])
organisations = api_router(prefix="/organisations", tags=["organisations"])

# What /users shows only to admins, auditors and the member. The first sign-in identifies an account.
_RIGHTS = Redaction(frozenset({"approval_limit"}), frozenset({"user.identify"}))


@router.get(
    "",
    operation_id="listAuditEvents",
    summary="List audit events",
    response_model=AuditEventPage,
    responses=problems(403),
    openapi_extra=requires(Permission.AUDIT_READ),
)
async def list_audit_events(
    request: Request, history: HistoryQueriesDep, filters: AuditFiltersDep, paging: HistoryPaging
) -> Response:
    """List the events of all entities of the organisation, newest first. Requires the role `admin` or `auditor`.

    There is an event for each accepted change, also of deleted drafts, revoked API keys and ended sessions.
    """
    return page_of_json(request, await history.events(filters, paging))


@users.get(
    "/{user_id}/history",
    operation_id="listUserHistory",
    summary="List the history of a member",
    response_model=HistoryPage,
    responses=problems(403, 404),
    openapi_extra=requires(Permission.USERS_READ),
)
async def list_user_history(
    request: Request,
    actor: ActorDep,
    members: UserQueriesDep,
    history: HistoryQueriesDep,
    user_id: UserId,
    paging: HistoryPaging,
) -> Response:
    """List the changes of a member. Approval limits are shown to admins, auditors and the member."""
    shown = await members.member(actor, user_id)
    redaction = NOTHING if shown.shows_rights else _RIGHTS
    return page_of_json(request, await history.of("user", user_id, paging, redaction))


@invitations.get(
    "/{invitation_id}/history",
    operation_id="listInvitationHistory",
    summary="List the history of an invitation",
    response_model=HistoryPage,
    responses=problems(403, 404),
    openapi_extra=requires(Permission.USERS_MANAGE),
)
async def list_invitation_history(
    request: Request,
    sent: InvitationQueriesDep,
    history: HistoryQueriesDep,
    invitation_id: InvitationId,
    paging: HistoryPaging,
) -> Response:
    """List the changes of an invitation. Requires the role `admin`."""
    await sent.get(invitation_id)
    return page_of_json(request, await history.of("invitation", invitation_id, paging))


@organisations.get(
    "/current/history",
    operation_id="listOrganisationHistory",
    summary="List the history of the caller's organisation",
    response_model=HistoryPage,
    responses=problems(403),
    openapi_extra=requires(Permission.ORGANISATIONS_READ),
)
async def list_organisation_history(
    request: Request, actor: ActorDep, history: HistoryQueriesDep, paging: HistoryPaging
) -> Response:
    """List the changes of the organisation's settings."""
    return page_of_json(request, await history.of("organisation", actor.organisation_id, paging))
