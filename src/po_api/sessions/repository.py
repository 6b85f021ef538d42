"""The sessions' rows."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.database import tenant_setting
from po_api.core.pagination import Keyset, PageOf, PageRequest
from po_api.sessions.models import UserSession
from po_api.users.models import User

SORTS = ("created_at",)
_KEYSET = Keyset({"created_at": UserSession.created_at}, id_column=UserSession.id, default="-created_at")
SEEN_AT_MOST_EVERY = timedelta(minutes=1)


class SessionRepository:
    """Named questions about sessions; all but the check are about one user's own."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def check(self, session_id: int, user_id: int, token: str, now: datetime) -> Any:
        """The live session of an active user, or None, in one indexed query that also opens the tenant's rows."""
        statement = (
            select(
                UserSession.id,
                User.id.label("user_id"),
                User.organisation_id,
                User.roles,
                User.approval_limit,
                User.is_operator,
                or_(UserSession.last_seen_at.is_(None), UserSession.last_seen_at < now - SEEN_AT_MOST_EVERY).label(
                    "stale"
                ),
                tenant_setting(User.organisation_id),
            )
            .join(User, User.id == UserSession.user_id)
            .where(
                UserSession.id == session_id,
                UserSession.user_id == user_id,
                UserSession.token == token,
                UserSession.revoked_at.is_(None),
                UserSession.expires_at > now,
                User.is_active,
            )
        )
        return (await self._session.execute(statement)).one_or_none()

    async def seen(self, session_id: int, now: datetime, address: str | None, user_agent: str | None) -> None:
        """Note when and from where a session was last used, unless another request is doing so.

        Waiting for that one's transaction would queue up all requests of a session behind its slowest.
        """
        free = select(UserSession.id).where(UserSession.id == session_id)
        await self._session.execute(
            update(UserSession)
            .where(UserSession.id == free.with_for_update(skip_locked=True, key_share=True).scalar_subquery())
            .values(last_seen_at=now, ip_address=address, user_agent=user_agent)
            .execution_options(synchronize_session=False)
        )

    async def page(self, user_id: int, request: PageRequest, now: datetime) -> PageOf[Row[Any]]:
        """The user's live sessions."""
        statement = select(*UserSession.__table__.columns).where(
            UserSession.user_id == user_id, UserSession.revoked_at.is_(None), UserSession.expires_at > now
        )
        return await _KEYSET.page(self._session, statement, request)

    async def get(self, user_id: int, session_id: int, now: datetime) -> UserSession | None:
        statement = select(UserSession).where(
            UserSession.user_id == user_id,
            UserSession.id == session_id,
            UserSession.revoked_at.is_(None),
            UserSession.expires_at > now,
        )
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def revoke_all(self, user_id: int, now: datetime) -> int:
        """Revoke the user's live sessions; returns how many there were."""
        statement = (
            update(UserSession)
            .where(UserSession.user_id == user_id, UserSession.revoked_at.is_(None), UserSession.expires_at > now)
            .values(revoked_at=now)
            .returning(UserSession.id)
            .execution_options(synchronize_session=False)
        )
        return len((await self._session.execute(statement)).all())

    async def purge(self, before: datetime) -> int:
        """Delete the sessions that ended before `before`; returns how many."""
        statement = (
            delete(UserSession)
            .where(func.coalesce(UserSession.revoked_at, UserSession.expires_at) < before)
            .returning(UserSession.id)
            .execution_options(synchronize_session=False)
        )
        return len((await self._session.execute(statement)).all())
