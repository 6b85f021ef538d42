"""Sessions: opened once, checked on every request, revoked at once."""

import secrets
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core import audit
from po_api.core.clock import utc_now
from po_api.core.errors import Unauthenticated
from po_api.core.pagination import PageOf, PageRequest
from po_api.core.tenancy import Principal, Role
from po_api.sessions import tokens
from po_api.sessions.errors import SessionNotFound
from po_api.sessions.models import UserSession
from po_api.sessions.repository import SessionRepository
from po_api.users.models import User
from po_api.users.service import UserService

MAX_USER_AGENT = 500


class SessionService:
    """What can be done with sessions; it flushes, the caller commits."""

    def __init__(self, session: AsyncSession, *, key: str) -> None:
        self._session = session
        self._key = key
        self._repository = SessionRepository(session)

    async def open(self, user: User, *, lifetime: timedelta) -> str:
        """A new session of an active user; returns its access token, which is shown this once."""
        if not user.is_active:
            raise Unauthenticated("the user is deactivated")
        now = utc_now()
        # The token names the session and the session keeps the token's digest: the row comes first.
        row = UserSession(user_id=user.id, token=tokens.digest(secrets.token_hex()), expires_at=now + lifetime)
        self._session.add(row)
        await self._session.flush()
        token = tokens.sign(tokens.AccessToken(user.id, row.id), key=self._key, issued_at=now, lifetime=lifetime)
        row.token = tokens.digest(token)
        await UserService(self._session).signed_in(user)
        return token

    async def authenticate(self, token: str, *, address: str | None, user_agent: str | None) -> Principal:
        """The user whom the token speaks for; Unauthenticated unless session and user are live. Opens the tenant."""
        claims = tokens.verify(token, key=self._key)
        now = utc_now()
        found = await self._repository.check(claims.session_id, claims.user_id, tokens.digest(token), now)
        if found is None:
            raise Unauthenticated
        if found.stale:
            agent = user_agent[:MAX_USER_AGENT].replace("\x00", "") if user_agent else None
            await self._repository.seen(found.id, now, address, agent)
        return Principal(
            user_id=found.user_id,
            session_id=found.id,
            organisation_id=found.organisation_id,
            roles=frozenset(Role(role) for role in found.roles),
            approval_limit=found.approval_limit,
            is_operator=found.is_operator,
        )

    async def page(self, principal: Principal, request: PageRequest) -> PageOf[Row[Any]]:
        """The caller's live sessions."""
        return await self._repository.page(principal.user_id, request, utc_now())

    async def get(self, principal: Principal, session_id: int) -> UserSession:
        """One of the caller's live sessions; SessionNotFound."""
        found = await self._repository.get(principal.user_id, session_id, utc_now())
        if found is None:
            raise SessionNotFound
        return found

    async def revoke(self, principal: Principal, session_id: int) -> None:
        """End one of the caller's sessions, from the next request on."""
        found = await self.get(principal, session_id)
        found.revoked_at = utc_now()
        self._record(principal, "session.revoke", session_id)
        await self._session.flush()

    async def revoke_all(self, principal: Principal) -> None:
        """End all of the caller's sessions, this one included."""
        await self._repository.revoke_all(principal.user_id, utc_now())
        self._record(principal, "session.revoke_all", principal.session_id)
        await self._session.flush()

    async def purge(self, *, before: datetime) -> int:
        """Delete sessions that ended before `before`; returns how many."""
        return await self._repository.purge(before)

    def _record(self, principal: Principal, action: str, session_id: int) -> None:
        if principal.organisation_id is not None:
            change = audit.Change(action, "session", session_id)
            audit.record(
                self._session, organisation_id=principal.organisation_id, actor_id=principal.user_id, change=change
            )
