"""What is read of keys; a live one is neither revoked nor expired."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, Text, bindparam, or_, select, update

from po_api.api_keys.models import ApiKey
from po_api.db.models import Timestamp
from po_api.db.pagination import Listing, PageOf, PageRequest, all_columns
from po_api.db.query import ORGANISATION_ID, USER_ID, Query, QueryExecutor
from po_api.users.models import User
from po_api.users.service import WHO

SORTS = ("created_at",)
USED_AT_MOST_EVERY = timedelta(minutes=1)

_KEYS = ApiKey.__table__
_LIST = Listing("api_keys.list", _KEYS, sorts=SORTS, default="-created_at", show=all_columns)
_NOW = bindparam("now", type_=Timestamp)
_KEY_ID = bindparam("key_id", type_=BigInteger)
_LIVE = ApiKey.revoked_at.is_(None) & (ApiKey.expires_at > _NOW)
_OWN = ApiKey.user_id == USER_ID
_MEMBERS = select(User.id).where(User.organisation_id == ORGANISATION_ID)


def live_keys(*, of_members: bool) -> ColumnElement[bool]:
    """The live keys of a user, or those of all members of an organisation.

    The parameters are `now`, `user_id` and `organisation_id`.
    """
    return _LIVE & (ApiKey.user_id.in_(_MEMBERS) if of_members else _OWN)


def _check() -> Query:
    used_before = bindparam("used_before", type_=Timestamp)
    stale = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < used_before)
    is_key = (ApiKey.id == _KEY_ID) & (ApiKey.token == bindparam("token", type_=Text))
    return Query(
        "api_keys.check",
        select(ApiKey.id, ApiKey.scopes, stale.label("stale"), *WHO)
        .join(User, User.id == ApiKey.user_id)
        .where(is_key, _LIVE, User.is_active),
    )


def _used() -> Query:
    free = select(ApiKey.id).where(ApiKey.id == _KEY_ID).with_for_update(skip_locked=True, key_share=True)
    return Query(
        "api_keys.used",
        update(ApiKey).where(ApiKey.id == free.scalar_subquery()).values(last_used_at=_NOW, updated_at=_NOW),
    )


def _own() -> Select[Any]:
    return select(_KEYS).where(live_keys(of_members=False))


def _of_members() -> Select[Any]:
    return select(_KEYS).where(live_keys(of_members=True))


_CHECK, _USED = _check(), _used()
_ONE = {chosen: Query("api_keys.get", chosen().where(ApiKey.id == _KEY_ID)) for chosen in (_own, _of_members)}


class ApiKeyQueries:
    """Named questions about keys: a user's, or with `organisation_id` those of all its members."""

    def __init__(self, executor: QueryExecutor) -> None:
        self._executor = executor

    async def check(self, key_id: int, token: str, now: datetime) -> Any:
        """The live key of an active user, or None, in one indexed query that also opens the tenant's rows."""
        used_before = now - USED_AT_MOST_EVERY
        return await self._executor.row(_CHECK, key_id=key_id, token=token, now=now, used_before=used_before)

    async def used(self, key_id: int, now: datetime) -> None:
        """Note when a key was last used, unless another request is doing so: that one is not waited for."""
        await self._executor.rows(_USED, key_id=key_id, now=now)

    async def page(
        self, request: PageRequest, now: datetime, *, user_id: int, organisation_id: int | None
    ) -> PageOf[Any]:
        """The live keys."""
        parameters = {"now": now, "user_id": user_id, "organisation_id": organisation_id}
        return await _LIST.page(self._executor, _chosen(organisation_id), request, parameters)

    async def get(self, key_id: int, now: datetime, *, user_id: int, organisation_id: int | None) -> Any:
        """One live key's columns, or None."""
        question = _ONE[_chosen(organisation_id)]
        return await self._executor.row(
            question, key_id=key_id, now=now, user_id=user_id, organisation_id=organisation_id
        )


def _chosen(organisation_id: int | None) -> Any:
    return _own if organisation_id is None else _of_members
