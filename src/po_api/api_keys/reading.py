"""Whom a key speaks for, and what people read of keys."""

from typing import Any

from po_api.api_keys.domain import administered, digest, id_of
from po_api.api_keys.errors import ApiKeyNotFound
from po_api.api_keys.queries import ApiKeyQueries
from po_api.core.actor import Principal
from po_api.core.clock import utc_now
from po_api.core.errors import Unauthenticated
from po_api.core.permissions import Scope
from po_api.db.pagination import PageOf, PageRequest
from po_api.db.query import QueryExecutor
from po_api.users.service import principal_of


class ApiKeyReading:
    """The live keys."""

    def __init__(self, executor: QueryExecutor) -> None:
        self._queries = ApiKeyQueries(executor)

    async def authenticate(self, key: str) -> Principal:
        """The user whom the key speaks for; Unauthenticated unless key and user are live. Opens the tenant."""
        key_id = id_of(key)
        now = utc_now()
        found = None if key_id is None else await self._queries.check(key_id, digest(key), now)
        if found is None:
            raise Unauthenticated
        if found.stale:
            await self._queries.used(found.id, now)
        return principal_of(found, scopes=frozenset(Scope(scope) for scope in found.scopes))

    async def page(self, principal: Principal, request: PageRequest) -> PageOf[Any]:
        """The caller's live keys; for an admin, those of the whole organisation."""
        return await self._queries.page(
            request, utc_now(), user_id=principal.user_id, organisation_id=administered(principal)
        )

    async def get(self, principal: Principal, key_id: int) -> Any:
        """One of those keys' columns; ApiKeyNotFound."""
        found = await self._queries.get(
            key_id, utc_now(), user_id=principal.user_id, organisation_id=administered(principal)
        )
        if found is None:
            raise ApiKeyNotFound
        return found
