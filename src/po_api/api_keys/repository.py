"""Locks and changes rows of API keys."""

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.api_keys.models import ApiKey
from po_api.api_keys.queries import live_keys


class ApiKeyRepository:
    """The rows of API keys. A key is live until it is revoked or expires."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, key_id: int, now: datetime, *, user_id: int, organisation_id: int | None) -> ApiKey | None:
        """The live key, if it is the user's or, with `organisation_id`, one of its members'."""
        parameters = {"now": now, "user_id": user_id, "organisation_id": organisation_id}
        statement = select(ApiKey).where(ApiKey.id == key_id, live_keys(of_members=organisation_id is not None))
        return (await self._session.execute(statement.params(parameters))).scalar_one_or_none()

    async def end_all(self, organisation_id: int, user_id: int, now: datetime) -> None:
        """Revoke all keys of a user in an organisation."""
        statement = update(ApiKey).where(
            ApiKey.user_id == user_id, ApiKey.organisation_id == organisation_id, ApiKey.revoked_at.is_(None)
        )
        await self._session.execute(statement.values(revoked_at=now).execution_options(synchronize_session=False))
