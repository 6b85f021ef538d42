"""What the users' handlers ask for."""

from typing import Annotated

from fastapi import Depends, Query, Request

from po_api.core.permissions import Role
from po_api.core.text import canonical
from po_api.db.pagination import PageRequest
from po_api.users.queries import SORTS, UserFilters
from po_api.users.reading import UserReading
from po_api.users.service import UserService
from po_api.web.dependencies import executor_of, paging, session_of
from po_api.web.schemas import Search


async def _reading(request: Request) -> UserReading:
    return UserReading(executor_of(request))


async def _service(request: Request) -> UserService:
    return UserService(session_of(request), request.app.state.left_behind)


async def _filters(
    email: Annotated[Search | None, Query(description="The exact e-mail address", examples=["ada@example.com"])] = None,
    role: Annotated[list[Role], Query(description="Any of these roles")] = [],  # noqa: B006
    is_active: Annotated[bool | None, Query()] = None,
    q: Annotated[Search | None, Query(description="Part of the name or the e-mail address", examples=["ada"])] = None,
) -> UserFilters:
    return UserFilters(canonical(email) if email is not None else None, tuple(role), is_active, q)


UserReadingDep = Annotated[UserReading, Depends(_reading)]
UserServiceDep = Annotated[UserService, Depends(_service)]
UserFiltersDep = Annotated[UserFilters, Depends(_filters)]
UserPaging = Annotated[PageRequest, Depends(paging(*SORTS))]
