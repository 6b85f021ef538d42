"""Reading API keys. A key is live until it is revoked or expires."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Text, bindparam, or_, select, update

from po_api.api_keys.domain import administered, digest, id_of
from po_api.api_keys.errors import ApiKeyNotFound
from po_api.api_keys.models import ApiKey
from po_api.core.actor import Principal
from po_api.core.clock import utc_now
from po_api.core.errors import Unauthenticated
from po_api.core.permissions import Scope
from po_api.db.models import Timestamp
from po_api.db.pagination import Listing, PageOf, PageRequest
from po_api.db.query import ORGANISATION_ID, USER_ID, AnySelect, NoRow, Query, QueryExecutor, columns_for
from po_api.users.models import User
from po_api.users.projections import PRINCIPAL_COLUMNS, are_valid, principal_of, with_rights

SORTS = ("created_at",)
# How often `last_used_at` is written.
USED_INTERVAL = timedelta(minutes=1)


class ApiKeyRow(NamedTuple):
    """A key, without its digest."""

    id: int
    user_id: int
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None


class _Check(NamedTuple):
    """A live key of an active user; `stale` if `last_used_at` has to be written."""

    id: int
    scopes: list[str]
    stale: bool
    user_id: int
    organisation_id: int | None
    roles: list[str] | None
    approval_limit: Decimal | None
    is_operator: bool
    credentials_version: int
    tenant: str | None
    plans: str


_KEYS = ApiKey.__table__
_LIST = Listing("api_keys.list", _KEYS, ApiKeyRow, sorts=SORTS, default="-created_at")
_NOW = bindparam("now", type_=Timestamp)
_KEY_ID = bindparam("key_id", type_=BigInteger)
_LIVE = ApiKey.revoked_at.is_(None) & (ApiKey.expires_at > _NOW)
_OWN = ApiKey.user_id == USER_ID


def live_keys(*, of_members: bool) -> ColumnElement[bool]:
    """The live keys of a user, or all those of an organisation.

    The parameters are `now`, `user_id` and `organisation_id`.
    """
    return _LIVE & (ApiKey.organisation_id == ORGANISATION_ID if of_members else _OWN)


def _check() -> Query[_Check]:
    used_before = bindparam("used_before", type_=Timestamp)
    stale = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < used_before)
    return Query(
        "api_keys.check",
        select(ApiKey.id, ApiKey.scopes, stale.label("stale"), *PRINCIPAL_COLUMNS)
        .select_from(with_rights(_KEYS))
        .where(
            ApiKey.id == _KEY_ID,
            ApiKey.token == bindparam("token", type_=Text),
            _LIVE,
            are_valid(_KEYS),
            # A key belongs to the organisation in which it was created.
            ApiKey.organisation_id.is_not_distinct_from(User.organisation_id),
        ),
        _Check,
    )


def _used() -> Query[NoRow]:
    """Skips a key that another request has locked, instead of waiting for that request's transaction."""
    free = select(ApiKey.id).where(ApiKey.id == _KEY_ID).with_for_update(skip_locked=True, key_share=True)
    return Query(
        "api_keys.used",
        update(ApiKey).where(ApiKey.id == free.scalar_subquery()).values(last_used_at=_NOW, updated_at=_NOW),
        NoRow,
    )


def _own() -> AnySelect:
    return select(_KEYS).where(live_keys(of_members=False))


def _of_members() -> AnySelect:
    return select(_KEYS).where(live_keys(of_members=True))


def _one(chosen: AnySelect) -> Query[ApiKeyRow]:
    statement = chosen.where(ApiKey.id == _KEY_ID).with_only_columns(*columns_for(ApiKeyRow, _KEYS))
    return Query("api_keys.get", statement, ApiKeyRow)


_CHECK, _USED = _check(), _used()
_ONE_OWN, _ONE_OF_MEMBERS = _one(_own()), _one(_of_members())


class ApiKeyQueries:
    """Reads live keys: checks keys, and lists those that a user administers: their own, or for admins all members'."""

    def __init__(self, executor: QueryExecutor) -> None:
        self._executor = executor

    async def authenticate(self, key: str) -> Principal:
        """The user that a key belongs to, in one indexed query, which also enters the tenant.

        Raises Unauthenticated unless the key is live and the user active.
        """
        key_id = id_of(key)
        if key_id is None:
            raise Unauthenticated
        now = utc_now()
        found = await self._executor.row(
            _CHECK, key_id=key_id, token=digest(key), now=now, used_before=now - USED_INTERVAL
        )
        if found is None:
            raise Unauthenticated
        if found.stale:
            await self._executor.execute(_USED, key_id=found.id, now=now)
        return principal_of(found, scopes=frozenset(Scope(scope) for scope in found.scopes))

    async def page(self, principal: Principal, request: PageRequest) -> PageOf[ApiKeyRow]:
        """The caller's live keys; for an admin, those of the whole organisation."""
        chosen = _own if administered(principal) is None else _of_members
        return await _LIST.page(self._executor, chosen, request, _parameters(principal))

    async def get(self, principal: Principal, key_id: int) -> ApiKeyRow:
        """One of those keys. Raises ApiKeyNotFound."""
        query = _ONE_OWN if administered(principal) is None else _ONE_OF_MEMBERS
        found = await self._executor.row(query, key_id=key_id, **_parameters(principal))
        if found is None:
            raise ApiKeyNotFound
        return found


def _parameters(principal: Principal) -> dict[str, object]:
    """The parameters of `live_keys`."""
    return {"now": utc_now(), "user_id": principal.user_id, "organisation_id": administered(principal)}
