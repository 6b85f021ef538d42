"""What is read of sessions. One is live until it is revoked, expires or was not used for too long."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, Text, and_, bindparam, func, or_, select, update

from po_api.db.models import Timestamp
from po_api.db.pagination import Listing, PageOf, PageRequest, all_columns
from po_api.db.query import USER_ID, Query, QueryExecutor
from po_api.sessions.models import UserSession
from po_api.users.models import User
from po_api.users.service import WHO

SORTS = ("created_at",)
SEEN_AT_MOST_EVERY = timedelta(minutes=1)

_SESSIONS = UserSession.__table__
_LIST = Listing("sessions.list", _SESSIONS, sorts=SORTS, default="-created_at", show=all_columns)
_NOW = bindparam("now", type_=Timestamp)
_SESSION_ID = bindparam("session_id", type_=BigInteger)
_IDLE_SINCE = bindparam("idle_since", type_=Timestamp)


def live(now: Any, idle_since: Any) -> ColumnElement[bool]:
    """Whether a session is live."""
    last_used = func.coalesce(UserSession.last_seen_at, UserSession.created_at)
    return and_(UserSession.revoked_at.is_(None), UserSession.expires_at > now, last_used > idle_since)


_LIVE = live(_NOW, _IDLE_SINCE)


def _of_user() -> Select[Any]:
    return select(_SESSIONS).where(UserSession.user_id == USER_ID, _LIVE)


def _check() -> Query:
    seen_before = bindparam("seen_before", type_=Timestamp)
    stale = or_(UserSession.last_seen_at.is_(None), UserSession.last_seen_at < seen_before)
    is_session = UserSession.id == _SESSION_ID, UserSession.user_id == USER_ID
    return Query(
        "sessions.check",
        select(UserSession.id, stale.label("stale"), *WHO)
        .join(User, User.id == UserSession.user_id)
        .where(*is_session, _LIVE, User.is_active),
    )


def _seen() -> Query:
    free = select(UserSession.id).where(UserSession.id == _SESSION_ID)
    unless_locked = free.with_for_update(skip_locked=True, key_share=True).scalar_subquery()
    seen = {
        "last_seen_at": _NOW,
        "updated_at": _NOW,
        **{name: bindparam(name, type_=Text) for name in ("ip_address", "user_agent")},
    }
    return Query("sessions.seen", update(UserSession).where(UserSession.id == unless_locked).values(seen))


_CHECK, _SEEN = _check(), _seen()
_ONE = Query("sessions.get", _of_user().where(UserSession.id == _SESSION_ID))


class SessionQueries:
    """Named questions about sessions."""

    def __init__(self, executor: QueryExecutor, *, idle: timedelta) -> None:
        self._executor = executor
        self._idle = idle

    def _live(self, now: datetime) -> dict[str, datetime]:
        """The parameters of `_LIVE`."""
        return {"now": now, "idle_since": now - self._idle}

    async def check(self, session_id: int, user_id: int, now: datetime) -> Any:
        """The live session of an active user, or None, in one indexed query that also opens the tenant's rows."""
        seen_before = now - SEEN_AT_MOST_EVERY
        return await self._executor.row(
            _CHECK, session_id=session_id, user_id=user_id, seen_before=seen_before, **self._live(now)
        )

    async def seen(self, session_id: int, now: datetime, address: str | None, user_agent: str | None) -> None:
        """Note when and from where a session was last used, unless another request is doing so.

        Waiting for that one's transaction would queue up all requests of a session behind its slowest.
        """
        await self._executor.rows(_SEEN, session_id=session_id, now=now, ip_address=address, user_agent=user_agent)

    async def page(self, user_id: int, request: PageRequest, now: datetime) -> PageOf[Any]:
        """The user's live sessions."""
        return await _LIST.page(self._executor, _of_user, request, {"user_id": user_id, **self._live(now)})

    async def get(self, user_id: int, session_id: int, now: datetime) -> Any:
        """The columns of one of the user's live sessions, or None."""
        return await self._executor.row(_ONE, user_id=user_id, session_id=session_id, **self._live(now))
