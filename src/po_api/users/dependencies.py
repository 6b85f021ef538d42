"""Dependencies of the users' handlers."""

from typing import Annotated

from fastapi import Depends, Query, Request

from po_api.core.email import comparable_email
from po_api.core.permissions import Role
from po_api.db.pagination import PageRequest
from po_api.db.query import TransactionExecutor
from po_api.organisations.queries import SORTS as ORGANISATION_SORTS
from po_api.users.membership_service import MembershipService
from po_api.users.queries import SORTS, UserFilters, UserQueries
from po_api.users.service import UserService
from po_api.web.cookies import SAFE_METHODS
from po_api.web.dependencies import executor_of, paging, session_of
from po_api.web.schemas import Search


async def _queries(request: Request) -> UserQueries:
    """The result of a change is read in its transaction."""
    is_safe = request.method in SAFE_METHODS
    return UserQueries(executor_of(request) if is_safe else TransactionExecutor(session_of(request)))


async def _service(request: Request) -> UserService:
    return UserService(session_of(request))


async def _memberships(request: Request) -> MembershipService:
    return MembershipService(session_of(request), request.app.state.listeners)


async def _filters(
    email: Annotated[Search | None, Query(description="The exact e-mail address", examples=["ada@example.com"])] = None,
    role: Annotated[list[Role], Query(description="Any of these roles")] = [],  # noqa: B006
    is_active: Annotated[bool | None, Query()] = None,
    q: Annotated[Search | None, Query(description="Part of the name or the e-mail address", examples=["ada"])] = None,
) -> UserFilters:
    return UserFilters(comparable_email(email) if email is not None else None, tuple(role), is_active, q)


UserQueriesDep = Annotated[UserQueries, Depends(_queries)]
UserServiceDep = Annotated[UserService, Depends(_service)]
MembershipServiceDep = Annotated[MembershipService, Depends(_memberships)]
UserFiltersDep = Annotated[UserFilters, Depends(_filters)]
UserPaging = Annotated[PageRequest, Depends(paging(*SORTS))]
OrganisationPaging = Annotated[PageRequest, Depends(paging(*ORGANISATION_SORTS))]
