"""Dependencies of the handlers about members and invitations."""

from typing import Annotated

from fastapi import Depends, Request
from pydantic import AfterValidator

from po_api.core.email import comparable_email
from po_api.core.permissions import Role
from po_api.db.filters import Filters
from po_api.db.pagination import PageRequest
from po_api.members.domain import InvitationStatus
from po_api.members.invitation_service import InvitationService
from po_api.members.queries import SORTS, InvitationQueries
from po_api.members.service import MemberService
from po_api.web.dependencies import ActorDep, executor_of, paging, session_of
from po_api.web.filters import CREATED_AT, UPDATED_AT, any_of, filters, moments, one
from po_api.web.schemas import Id, Search


async def _members(request: Request, actor: ActorDep) -> MemberService:
    return MemberService(session_of(request), actor, request.app.state.listeners)


async def _queries(request: Request, actor: ActorDep) -> InvitationQueries:
    return InvitationQueries(executor_of(request), actor)


async def _service(request: Request, actor: ActorDep) -> InvitationService:
    return InvitationService(session_of(request), actor)


_filters = filters(
    any_of("status", InvitationStatus, "Any of these states"),
    one("email", Annotated[Search, AfterValidator(comparable_email)], "The exact e-mail address", "ada@example.com"),
    any_of("role", Role, "Any of these roles"),
    any_of("invited_by_id", Id, "Any of these inviting members"),
    *CREATED_AT,
    *UPDATED_AT,
    *moments("expires_at"),
)


MemberServiceDep = Annotated[MemberService, Depends(_members)]
InvitationQueriesDep = Annotated[InvitationQueries, Depends(_queries)]
InvitationServiceDep = Annotated[InvitationService, Depends(_service)]
InvitationFiltersDep = Annotated[Filters, Depends(_filters)]
InvitationPaging = Annotated[PageRequest, Depends(paging(*SORTS))]
