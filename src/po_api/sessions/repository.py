"""Locks and changes rows of sessions and of sign-ins in progress."""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Row, and_, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.sessions.models import RotatedToken, SignInAttempt, SignInCode, UsedIdToken, UserSession
from po_api.sessions.queries import live
from po_api.users.models import User

_IS_VALID = and_(User.is_active, User.credentials_version == UserSession.credentials_version)


class SessionRepository:
    """The rows of sessions. A session is live until it is revoked, expires or was not used for `idle`."""

    def __init__(self, session: AsyncSession, *, idle: timedelta) -> None:
        self._session = session
        self._idle = idle

    def _live(self, now: datetime) -> ColumnElement[bool]:
        return live(now, now - self._idle)

    async def get(self, user_id: int, session_id: int, now: datetime) -> UserSession | None:
        statement = select(UserSession).where(
            UserSession.user_id == user_id, UserSession.id == session_id, self._live(now)
        )
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def refreshed_by(self, token: str, now: datetime) -> UserSession | None:
        """The live session of an active user that has this refresh token (a digest) as the current one, locked.

        Of two concurrent requests, the one that waited for the lock gets None: the token is no longer current.
        """
        statement = (
            select(UserSession)
            .join(User, User.id == UserSession.user_id)
            .where(UserSession.token == token, self._live(now), _IS_VALID)
            .with_for_update(of=UserSession, key_share=True)
        )
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def rotated(self, token: str, now: datetime) -> Row[UserSession, RotatedToken, int | None] | None:
        """The live session of an active user that had this refresh token (a digest) before, locked; the record of the
        used token; and the user's organisation."""
        statement = (
            select(UserSession, RotatedToken, User.organisation_id)
            .join(RotatedToken, RotatedToken.session_id == UserSession.id)
            .join(User, User.id == UserSession.user_id)
            .where(RotatedToken.token == token, self._live(now), _IS_VALID)
            .with_for_update(of=UserSession, key_share=True)
        )
        return (await self._session.execute(statement)).one_or_none()

    async def revoke_all(self, user_id: int, now: datetime) -> int:
        """Revoke the user's live sessions; returns their number."""
        statement = (
            update(UserSession)
            .where(UserSession.user_id == user_id, self._live(now))
            .values(revoked_at=now)
            .returning(UserSession.id)
            .execution_options(synchronize_session=False)
        )
        return len((await self._session.execute(statement)).all())

    async def end_outdated(self, user_id: int, now: datetime) -> None:
        """Revoke the sessions of a user that are not of their present `credentials_version`.

        They are not valid anyway; after this they are in no list, and are deleted with the others.
        """
        present = select(User.credentials_version).where(User.id == user_id).scalar_subquery()
        statement = update(UserSession).where(
            UserSession.user_id == user_id,
            UserSession.revoked_at.is_(None),
            UserSession.credentials_version < present,
        )
        await self._session.execute(statement.values(revoked_at=now).execution_options(synchronize_session=False))

    async def purge(self, before: datetime, *, most: int | None = None) -> int:
        """Delete the sessions that ended before `before`, at most so many; returns their number."""
        ended = select(UserSession.id).where(func.coalesce(UserSession.revoked_at, UserSession.expires_at) < before)
        statement = (
            delete(UserSession)
            .where(UserSession.id.in_(ended.limit(most)))
            .returning(UserSession.id)
            .execution_options(synchronize_session=False)
        )
        return len((await self._session.execute(statement)).all())


class SignInRepository:
    """The state of sign-ins in progress; each row is used once."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def take_attempt(self, state: str, browser: str | None, now: datetime) -> SignInAttempt | None:
        """Delete and return the attempt with these digests, if it has not expired; with a challenge, of any browser."""
        its_browser = or_(SignInAttempt.code_challenge.is_not(None), SignInAttempt.browser == browser)
        statement = (
            delete(SignInAttempt)
            .where(SignInAttempt.state == state, its_browser, SignInAttempt.expires_at > now)
            .returning(SignInAttempt)
        )
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def take_code(self, code: str, now: datetime) -> SignInCode | None:
        """Delete and return the code with this digest, if it has not expired."""
        statement = delete(SignInCode).where(SignInCode.code == code, SignInCode.expires_at > now).returning(SignInCode)
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def use_id_token(self, token: str, until: datetime) -> bool:
        """Note that an ID token (a digest) is used; returns False if it was before.

        Of two transactions, one waits for the end of the other.
        """
        statement = insert(UsedIdToken).values(token=token, expires_at=until).on_conflict_do_nothing()
        return (await self._session.execute(statement.returning(UsedIdToken.token))).scalar_one_or_none() is not None

    async def purge(self, now: datetime) -> None:
        """Delete expired rows."""
        for table in (SignInAttempt, SignInCode, UsedIdToken):
            await self._session.execute(delete(table).where(table.expires_at < now))
