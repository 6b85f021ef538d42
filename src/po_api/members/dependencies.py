"""Dependencies of the handlers about members and invitations."""

from typing import Annotated

from fastapi import Depends, Query, Request

from po_api.core.email import comparable_email
from po_api.db.pagination import PageRequest
from po_api.members.domain import InvitationStatus
from po_api.members.invitation_service import InvitationService
from po_api.members.queries import SORTS, InvitationFilters, InvitationQueries
from po_api.members.service import MemberService
from po_api.web.dependencies import ActorDep, executor_of, paging, session_of
from po_api.web.schemas import Search


async def _members(request: Request, actor: ActorDep) -> MemberService:
    return MemberService(session_of(request), actor, request.app.state.listeners)


async def _queries(request: Request, actor: ActorDep) -> InvitationQueries:
    return InvitationQueries(executor_of(request), actor)


async def _service(request: Request, actor: ActorDep) -> InvitationService:
    return InvitationService(session_of(request), actor)


async def _filters(
    status: Annotated[list[InvitationStatus], Query(description="Any of these states")] = [],  # noqa: B006
    email: Annotated[Search | None, Query(description="The exact e-mail address", examples=["ada@example.com"])] = None,
) -> InvitationFilters:
    return InvitationFilters(tuple(status), comparable_email(email) if email is not None else None)


MemberServiceDep = Annotated[MemberService, Depends(_members)]
InvitationQueriesDep = Annotated[InvitationQueries, Depends(_queries)]
InvitationServiceDep = Annotated[InvitationService, Depends(_service)]
InvitationFiltersDep = Annotated[InvitationFilters, Depends(_filters)]
InvitationPaging = Annotated[PageRequest, Depends(paging(*SORTS))]
