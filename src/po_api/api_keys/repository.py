"""The keys' rows."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.api_keys.models import ApiKey
from po_api.core.pagination import Keyset, PageOf, PageRequest
from po_api.users.models import User
from po_api.users.service import WHO

SORTS = ("created_at",)
_KEYSET = Keyset({"created_at": ApiKey.created_at}, id_column=ApiKey.id, default="-created_at")
USED_AT_MOST_EVERY = timedelta(minutes=1)


def _live(now: datetime) -> ColumnElement[bool]:
    return ApiKey.revoked_at.is_(None) & (ApiKey.expires_at > now)


class ApiKeyRepository:
    """Named questions about keys; a live one is neither revoked nor expired."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def check(self, key_id: int, token: str, now: datetime) -> Any:
        """The live key of an active user, or None, in one indexed query that also opens the tenant's rows."""
        stale = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < now - USED_AT_MOST_EVERY)
        statement = (
            select(ApiKey.id, ApiKey.scopes, stale.label("stale"), *WHO)
            .join(User, User.id == ApiKey.user_id)
            .where(ApiKey.id == key_id, ApiKey.token == token, _live(now), User.is_active)
        )
        return (await self._session.execute(statement)).one_or_none()

    async def used(self, key_id: int, now: datetime) -> None:
        """Note when a key was last used, unless another request is doing so: that one is not waited for."""
        free = select(ApiKey.id).where(ApiKey.id == key_id).with_for_update(skip_locked=True, key_share=True)
        await self._session.execute(
            update(ApiKey)
            .where(ApiKey.id == free.scalar_subquery())
            .values(last_used_at=now)
            .execution_options(synchronize_session=False)
        )

    async def page(
        self, request: PageRequest, now: datetime, *, user_id: int, organisation_id: int | None
    ) -> PageOf[Row[Any]]:
        """The live keys of a user, or with `organisation_id` those of all its members."""
        statement = select(*ApiKey.__table__.columns).where(_live(now), _owner(user_id, organisation_id))
        return await _KEYSET.page(self._session, statement, request)

    async def get(self, key_id: int, now: datetime, *, user_id: int, organisation_id: int | None) -> ApiKey | None:
        """The live key, if it is the user's or, with `organisation_id`, one of its members'."""
        statement = select(ApiKey).where(ApiKey.id == key_id, _live(now), _owner(user_id, organisation_id))
        return (await self._session.execute(statement)).scalar_one_or_none()


def _owner(user_id: int, organisation_id: int | None) -> ColumnElement[bool]:
    if organisation_id is None:
        return ApiKey.user_id == user_id
    return ApiKey.user_id.in_(select(User.id).where(User.organisation_id == organisation_id))
