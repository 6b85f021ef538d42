"""Keys: made and looked after by people, used by scripts in their name."""

import secrets
from collections.abc import Collection, Iterable
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.api_keys.domain import administered, digest, new_key
from po_api.api_keys.errors import ApiKeyNotFound
from po_api.api_keys.models import ApiKey
from po_api.api_keys.repository import ApiKeyRepository
from po_api.core.actor import Principal
from po_api.core.clock import utc_now
from po_api.core.permissions import Scope
from po_api.db.listeners import ChangeWarning
from po_api.users.events import CredentialsRevoked


class ApiKeyService:
    """What can be done with keys; it flushes, the caller commits."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session
        self._repository = ApiKeyRepository(session)

    async def create(
        self, principal: Principal, *, name: str, scopes: Collection[Scope], lifetime: timedelta
    ) -> tuple[ApiKey, str]:
        """A new key of the caller's; returns its row and the key, which is shown this once."""
        row, key = await self._add(principal.user_id, name, sorted(scopes), lifetime)
        self._record(principal, "api_key.create", row)
        await self._session.flush()
        return row, key

    async def rotate(
        self, principal: Principal, key_id: int, *, overlap: timedelta, lifetime: timedelta
    ) -> tuple[ApiKey, str]:
        """A successor of one of the caller's own keys, which itself goes on for `overlap`; ApiKeyNotFound.

        An admin may end another's key, but not hold one that speaks for them.
        """
        old = await self._found(principal, key_id, None)
        now = utc_now()
        row, key = await self._add(principal.user_id, old.name, old.scopes, lifetime)
        old.expires_at = min(old.expires_at, now + overlap)
        self._record(principal, "api_key.rotate", old, successor=row.id)
        await self._session.flush()
        return row, key

    async def revoke(self, principal: Principal, key_id: int) -> None:
        """End a key of the caller's, or for an admin any member's, from the next request on; ApiKeyNotFound."""
        row = await self._found(principal, key_id, administered(principal))
        row.revoked_at = utc_now()
        self._record(principal, "api_key.revoke", row)
        await self._session.flush()

    async def _found(self, principal: Principal, key_id: int, organisation_id: int | None) -> ApiKey:
        row = await self._repository.get(key_id, utc_now(), user_id=principal.user_id, organisation_id=organisation_id)
        if row is None:
            raise ApiKeyNotFound
        return row

    async def _add(self, user_id: int, name: str, scopes: list[str], lifetime: timedelta) -> tuple[ApiKey, str]:
        now = utc_now()
        # The key names its row and the row keeps the key's digest: the row comes first.
        row = ApiKey(
            user_id=user_id,
            name=name,
            scopes=list(scopes),
            token=digest(secrets.token_hex()),
            created_at=now,
            expires_at=now + lifetime,
        )
        self._session.add(row)
        await self._session.flush()
        key = new_key(row.id)
        row.token = digest(key)
        return row, key

    def _record(self, principal: Principal, action: str, row: ApiKey, **details: object) -> None:
        # The audit trail is an organisation's.
        if principal.organisation_id is not None:
            after = {"name": row.name, "scopes": row.scopes, "expires_at": row.expires_at, **details}
            audit.record(self._session, principal.actor(), audit.Change(action, "api_key", row.id, None, after))


async def end_keys(session: AsyncSession, event: CredentialsRevoked) -> Iterable[ChangeWarning]:
    """End all keys of a user whose credentials were revoked."""
    await ApiKeyRepository(session).end_all(event.user_id, event.at)
    return ()
