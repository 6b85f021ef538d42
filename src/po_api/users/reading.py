"""What people read of users: themselves, and the members of their organisation."""

from typing import Any

from po_api.core.actor import Actor, Principal
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

    async def member(self, actor: Actor, user_id: int) -> Any:
        """The columns of a member of the caller's organisation."""
        return _found(await self._queries.member(actor.organisation_id, user_id))

    async def page(self, actor: Actor, filters: UserFilters, request: PageRequest) -> PageOf[Any]:
        return await self._queries.page(actor.organisation_id, filters, request)


def _found(user: Any) -> Any:
    if user is None:
        raise UserNotFound
    return user
