"""Whom a session's token speaks for, and what people read of their sessions."""

from typing import Any

from po_api.core.actor import Principal
from po_api.core.clock import utc_now
from po_api.core.errors import Unauthenticated
from po_api.db.pagination import PageOf, PageRequest
from po_api.db.query import QueryExecutor
from po_api.sessions import tokens
from po_api.sessions.domain import Device, Lifetimes
from po_api.sessions.errors import SessionNotFound
from po_api.sessions.queries import SessionQueries
from po_api.users.service import principal_of


class SessionReading:
    """The live sessions."""

    def __init__(self, executor: QueryExecutor, *, key: str, lifetimes: Lifetimes) -> None:
        self._key = key
        self._queries = SessionQueries(executor, idle=lifetimes.idle)

    async def authenticate(self, token: str, device: Device) -> Principal:
        """The user whom the token speaks for; Unauthenticated unless session and user are live. Opens the tenant."""
        claims = tokens.verify(token, key=self._key)
        now = utc_now()
        found = await self._queries.check(claims.session_id, claims.user_id, now)
        if found is None:
            raise Unauthenticated
        if found.stale:
            await self._queries.seen(found.id, now, device.address, device.user_agent)
        return principal_of(found, session_id=found.id)

    async def page(self, principal: Principal, request: PageRequest) -> PageOf[Any]:
        """The caller's live sessions."""
        return await self._queries.page(principal.user_id, request, utc_now())

    async def current(self, principal: Principal) -> Any:
        """The columns of the session that the caller came with; SessionNotFound."""
        # Operations on sessions take no API keys.
        assert principal.session_id is not None
        found = await self._queries.get(principal.user_id, principal.session_id, utc_now())
        if found is None:
            raise SessionNotFound
        return found
