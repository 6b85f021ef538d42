"""Dependencies of the users' handlers."""

from typing import Annotated

from fastapi import Depends, Request
from pydantic import AfterValidator

from po_api.core.email import comparable_email
from po_api.core.permissions import Role
from po_api.db.filters import Filters
from po_api.db.pagination import PageRequest
from po_api.db.query import TransactionExecutor
from po_api.organisations.queries import SORTS as ORGANISATION_SORTS
from po_api.users.membership_service import MembershipService
from po_api.users.queries import SORTS, UserQueries
from po_api.users.service import UserService
from po_api.web.cookies import SAFE_METHODS
from po_api.web.dependencies import executor_of, paging, session_of
from po_api.web.filters import CREATED_AT, UPDATED_AT, any_of, filters, moments, one, search
from po_api.web.schemas import Id, Search


async def _queries(request: Request) -> UserQueries:
    """The result of a change is read in its transaction."""
    is_safe = request.method in SAFE_METHODS
    return UserQueries(executor_of(request) if is_safe else TransactionExecutor(session_of(request)))


async def _service(request: Request) -> UserService:
    return UserService(session_of(request))


async def _memberships(request: Request) -> MembershipService:
    return MembershipService(session_of(request), request.app.state.listeners)


_filters = filters(
    one("email", Annotated[Search, AfterValidator(comparable_email)], "The exact e-mail address", "ada@example.com"),
    any_of("role", Role, "Any of these roles"),
    one("is_active", bool, "Only active or only inactive members"),
    any_of("team_id", Id, "Any of these teams"),
    any_of("manager_id", Id, "Any of these managers"),
    one("manager_is_active", bool, "Only members whose manager is active, or inactive"),
    *CREATED_AT,
    *UPDATED_AT,
    *moments("joined_at"),
    search("Part of the name or the e-mail address", "ada"),
)


UserQueriesDep = Annotated[UserQueries, Depends(_queries)]
UserServiceDep = Annotated[UserService, Depends(_service)]
MembershipServiceDep = Annotated[MembershipService, Depends(_memberships)]
UserFiltersDep = Annotated[Filters, Depends(_filters)]
UserPaging = Annotated[PageRequest, Depends(paging(*SORTS))]
OrganisationPaging = Annotated[PageRequest, Depends(paging(*ORGANISATION_SORTS))]
