"""What people read of users: themselves, and the members of their organisation."""

from typing import Any

from po_api.core.actor import Principal, Tenant
from po_api.db.pagination import PageOf, PageRequest
from po_api.db.query import QueryExecutor
from po_api.users.errors import UserNotFound
from po_api.users.queries import UserFilters, UserQueries


class UserReading:
    """The users whom somebody may see; UserNotFound for all others."""

    def __init__(self, executor: QueryExecutor) -> None:
        self._queries = UserQueries(executor)

    async def me(self, principal: Principal) -> Any:
        """The caller's own columns."""
        return _found(await self._queries.get(principal.user_id))

    async def member(self, tenant: Tenant, user_id: int) -> Any:
        """The columns of a member of the caller's organisation."""
        return _found(await self._queries.member(tenant.organisation_id, user_id))

    async def page(self, tenant: Tenant, filters: UserFilters, request: PageRequest) -> PageOf[Any]:
        return await self._queries.page(tenant.organisation_id, filters, request)


def _found(user: Any) -> Any:
    if user is None:
        raise UserNotFound
    return user
