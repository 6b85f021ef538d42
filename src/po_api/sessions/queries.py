"""Reading sessions. A session is live until it is revoked, expires or has not been used for too long."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Text, and_, bindparam, func, or_, select, update

from po_api.core.actor import Principal
from po_api.core.clock import utc_now
from po_api.core.errors import Unauthenticated
from po_api.db.models import Timestamp
from po_api.db.pagination import Listing, PageOf, PageRequest
from po_api.db.query import USER_ID, AnySelect, NoRow, Query, QueryExecutor, columns_for
from po_api.sessions import tokens
from po_api.sessions.domain import Device, Lifetimes
from po_api.sessions.errors import SessionNotFound
from po_api.sessions.models import UserSession
from po_api.users.projections import PRINCIPAL_COLUMNS, are_valid, principal_of, with_rights

SORTS = ("created_at",)
# How often `last_seen_at` is written.
SEEN_INTERVAL = timedelta(minutes=1)


class SessionRow(NamedTuple):
    """A session of a user."""

    id: int
    created_at: datetime
    expires_at: datetime
    last_seen_at: datetime | None
    ip_address: str | None
    user_agent: str | None


class _Check(NamedTuple):
    """A live session of an active user; `stale` if `last_seen_at` has to be written."""

    id: int
    stale: bool
    user_id: int
    organisation_id: int | None
    roles: list[str] | None
    approval_limit: Decimal | None
    is_operator: bool
    credentials_version: int
    tenant: str | None
    plans: str


_SESSIONS = UserSession.__table__
_LIST = Listing("sessions.list", _SESSIONS, SessionRow, sorts=SORTS, default="-created_at")
_NOW = bindparam("now", type_=Timestamp)
_SESSION_ID = bindparam("session_id", type_=BigInteger)
_IDLE_SINCE = bindparam("idle_since", type_=Timestamp)


def live(
    now: datetime | ColumnElement[datetime], idle_since: datetime | ColumnElement[datetime]
) -> ColumnElement[bool]:
    """Whether a session is live."""
    last_used = func.coalesce(UserSession.last_seen_at, UserSession.created_at)
    return and_(UserSession.revoked_at.is_(None), UserSession.expires_at > now, last_used > idle_since)


_LIVE = live(_NOW, _IDLE_SINCE)


def _of_user() -> AnySelect:
    return select(_SESSIONS).where(UserSession.user_id == USER_ID, _LIVE)


def _check() -> Query[_Check]:
    seen_before = bindparam("seen_before", type_=Timestamp)
    stale = or_(UserSession.last_seen_at.is_(None), UserSession.last_seen_at < seen_before)
    return Query(
        "sessions.check",
        select(UserSession.id, stale.label("stale"), *PRINCIPAL_COLUMNS)
        .select_from(with_rights(_SESSIONS))
        .where(UserSession.id == _SESSION_ID, UserSession.user_id == USER_ID, _LIVE, are_valid(_SESSIONS)),
        _Check,
    )


def _seen() -> Query[NoRow]:
    """Skips a session that another request has locked: otherwise all requests of a session would wait for the slowest
    transaction."""
    free = select(UserSession.id).where(UserSession.id == _SESSION_ID)
    unless_locked = free.with_for_update(skip_locked=True, key_share=True).scalar_subquery()
    seen = {
        "last_seen_at": _NOW,
        "updated_at": _NOW,
        **{name: bindparam(name, type_=Text) for name in ("ip_address", "user_agent")},
    }
    return Query("sessions.seen", update(UserSession).where(UserSession.id == unless_locked).values(seen), NoRow)


_CHECK, _SEEN = _check(), _seen()
_ONE = Query(
    "sessions.get",
    _of_user().where(UserSession.id == _SESSION_ID).with_only_columns(*columns_for(SessionRow, _SESSIONS)),
    SessionRow,
)


class SessionQueries:
    """Reads live sessions: checks access tokens, and lists a user's own sessions."""

    def __init__(self, executor: QueryExecutor, *, key: str, lifetimes: Lifetimes) -> None:
        self._executor = executor
        self._key = key
        self._idle = lifetimes.idle

    async def authenticate(self, token: str, device: Device) -> Principal:
        """The user that an access token was issued to, in one indexed query, which also enters the tenant.

        Raises Unauthenticated unless the token is valid, its session live and the user active.
        """
        claims = tokens.verify(token, key=self._key)
        now = utc_now()
        found = await self._executor.row(
            _CHECK,
            session_id=claims.session_id,
            user_id=claims.user_id,
            seen_before=now - SEEN_INTERVAL,
            **self._live(now),
        )
        if found is None:
            raise Unauthenticated
        if found.stale:
            await self._executor.execute(
                _SEEN, session_id=found.id, now=now, ip_address=device.address, user_agent=device.user_agent
            )
        return principal_of(found, session_id=found.id)

    async def page(self, principal: Principal, request: PageRequest) -> PageOf[SessionRow]:
        """The caller's live sessions."""
        parameters = {"user_id": principal.user_id, **self._live(utc_now())}
        return await _LIST.page(self._executor, _of_user, request, parameters)

    async def current(self, principal: Principal) -> SessionRow:
        """The session that the request was authenticated by. Raises SessionNotFound."""
        # Operations on sessions take no API keys.
        assert principal.session_id is not None
        found = await self._executor.row(
            _ONE, user_id=principal.user_id, session_id=principal.session_id, **self._live(utc_now())
        )
        if found is None:
            raise SessionNotFound
        return found

    def _live(self, now: datetime) -> dict[str, datetime]:
        """The parameters of `_LIVE`."""
        return {"now": now, "idle_since": now - self._idle}
