"""Sessions: opened by a sign-in, refreshed, revoked with immediate effect."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.core.actor import Actor, Principal
from po_api.core.clock import utc_now
from po_api.db.database import enter_tenant
from po_api.db.listeners import ChangeWarning
from po_api.members.events import MembershipEnded
from po_api.observability.logging import get_logger
from po_api.sessions import tokens
from po_api.sessions.domain import REFRESH_GRACE, USUAL_LIFETIMES, Device, Lifetimes
from po_api.sessions.errors import InvalidRefreshToken, RefreshTokenReused, SessionNotFound
from po_api.sessions.models import RotatedToken, UserSession
from po_api.sessions.repository import SessionRepository, SignInRepository
from po_api.users.errors import UserDeactivated
from po_api.users.models import User
from po_api.users.service import UserService

_log = get_logger(__name__)


@dataclass(frozen=True)
class Credentials:
    """A session and its tokens, which are not stored: they are returned once."""

    session: UserSession
    access_token: str
    access_lifetime: timedelta
    refresh_token: str
    refresh_lifetime: timedelta


class SessionService:
    """Opens, refreshes and revokes sessions; it flushes, the caller commits."""

    def __init__(self, session: AsyncSession, *, key: str, lifetimes: Lifetimes = USUAL_LIFETIMES) -> None:
        self._session = session
        self._key = key
        self._lifetimes = lifetimes
        self._repository = SessionRepository(session, idle=lifetimes.idle)

    async def open(self, user: User, *, lifetime: timedelta) -> str:
        """Open a session that cannot be refreshed, with the lifetime of its only access token, which is returned."""
        row = await self._add(user, tokens.new_secret(), lifetime, Device())
        await UserService(self._session).signed_in(user)
        return self._access_token(row, lifetime)

    async def sign_in(self, user: User, device: Device) -> Credentials:
        """Open a session of a user who has just been authenticated. Raises UserDeactivated."""
        refresh_token = tokens.new_secret()
        row = await self._add(user, refresh_token, self._lifetimes.absolute, device)
        await UserService(self._session).signed_in(user)
        _log.info("signed_in", user_id=user.id, session_id=row.id)
        return self._credentials(row, refresh_token)

    async def refresh(self, refresh_token: str, device: Device) -> Credentials:
        """The next tokens of a session. Raises InvalidRefreshToken, or RefreshTokenReused, which ends the session.

        Within REFRESH_GRACE a used token returns the same successor again: tabs of one browser may refresh at once.
        """
        now = utc_now()
        used = tokens.digest(refresh_token)
        row = await self._repository.refreshed_by(used, now)
        if row is None:
            return await self._refresh_again(refresh_token, now)
        salt = tokens.new_salt()
        successor = tokens.successor(refresh_token, salt=salt, key=self._key)
        self._session.add(RotatedToken(token=used, session_id=row.id, salt=salt, rotated_at=now))
        row.token = tokens.digest(successor)
        row.last_seen_at, row.ip_address, row.user_agent = now, device.address, device.user_agent
        await self._session.flush()
        return self._credentials(row, successor)

    async def _refresh_again(self, refresh_token: str, now: datetime) -> Credentials:
        found = await self._repository.rotated(tokens.digest(refresh_token), now)
        if found is None:
            raise InvalidRefreshToken
        row, rotated, organisation_id = found
        if now - rotated.rotated_at <= REFRESH_GRACE:
            return self._credentials(row, tokens.successor(refresh_token, salt=rotated.salt, key=self._key))
        row.revoked_at = now
        if organisation_id is not None:
            await enter_tenant(self._session, organisation_id)
            await self._record(Actor(organisation_id, row.user_id, frozenset()), "session.refresh_token_reused", row.id)
        _log.warning("refresh_token_reused", user_id=row.user_id, session_id=row.id)
        await self._session.flush()
        raise RefreshTokenReused

    async def get(self, principal: Principal, session_id: int) -> UserSession:
        """One of the caller's live sessions. Raises SessionNotFound."""
        found = await self._repository.get(principal.user_id, session_id, utc_now())
        if found is None:
            raise SessionNotFound
        return found

    async def revoke(self, principal: Principal, session_id: int) -> None:
        """End one of the caller's sessions, from the next request on."""
        found = await self.get(principal, session_id)
        found.revoked_at = utc_now()
        await self._record_own(principal, "session.revoke", session_id)

    async def revoke_current(self, principal: Principal) -> None:
        """End the session of the request."""
        await self.revoke(principal, _session_id(principal))

    async def revoke_all(self, principal: Principal) -> None:
        """End all of the caller's sessions, this one included."""
        await self._repository.revoke_all(principal.user_id, utc_now())
        await self._record_own(principal, "session.revoke_all", _session_id(principal))

    async def purge(self, *, before: datetime, most: int | None = None) -> int:
        """Delete sessions that ended before `before`, at most so many, and abandoned sign-ins; returns the number of
        sessions."""
        await SignInRepository(self._session).purge(utc_now())
        return await self._repository.purge(before, most=most)

    async def _add(self, user: User, secret: str, lifetime: timedelta, device: Device) -> UserSession:
        if not user.is_active:
            raise UserDeactivated
        row = UserSession(
            user_id=user.id,
            credentials_version=user.credentials_version,
            token=tokens.digest(secret),
            expires_at=utc_now() + lifetime,
            ip_address=device.address,
            user_agent=device.user_agent,
        )
        self._session.add(row)
        await self._session.flush()
        return row

    def _credentials(self, row: UserSession, refresh_token: str) -> Credentials:
        """The access token expires with the session at the latest."""
        remaining = row.expires_at - utc_now()
        lifetime = min(self._lifetimes.access, remaining)
        return Credentials(row, self._access_token(row, lifetime), lifetime, refresh_token, remaining)

    def _access_token(self, row: UserSession, lifetime: timedelta) -> str:
        owner = tokens.AccessToken(row.user_id, row.id)
        return tokens.sign(owner, key=self._key, issued_at=utc_now(), lifetime=lifetime)

    async def _record_own(self, principal: Principal, action: str, session_id: int) -> None:
        """Flush the change of a session, with its event if the user is in an organisation."""
        await self._session.flush()
        if principal.organisation_id is not None:
            await self._record(principal.actor(), action, session_id)

    async def _record(self, actor: Actor, action: str, session_id: int) -> None:
        await audit.record(self._session, actor, audit.Change(action, "session", session_id))


async def end_sessions(session: AsyncSession, event: MembershipEnded) -> Iterable[ChangeWarning]:
    """End the sessions of a user whose credentials ended with the membership."""
    if event.is_deactivated:
        await SessionRepository(session, idle=USUAL_LIFETIMES.idle).end_outdated(event.user_id, event.at)
    return ()


def _session_id(principal: Principal) -> int:
    """Operations on sessions take no API keys."""
    assert principal.session_id is not None
    return principal.session_id
