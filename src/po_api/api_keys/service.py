"""API keys: created, rotated and revoked by users in a session."""

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
from po_api.members.events import MembershipEnded
from po_api.users.service import UserService


class ApiKeyService:
    """Creates, rotates and revokes keys; it flushes, the caller commits."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session
        self._repository = ApiKeyRepository(session)

    async def create(
        self, principal: Principal, *, name: str, scopes: Collection[Scope], lifetime: timedelta
    ) -> tuple[ApiKey, str]:
        """Create a key of the caller; returns its row and the key, which is not stored."""
        row, key = await self._add(principal, name, sorted(scopes), lifetime)
        await self._record(principal, "api_key.create", row)
        return row, key

    async def rotate(
        self, principal: Principal, key_id: int, *, overlap: timedelta, lifetime: timedelta
    ) -> tuple[ApiKey, str]:
        """Create the successor of one of the caller's own keys, which stays valid for `overlap`. Raises ApiKeyNotFound.

        Admins may revoke, but not rotate, the keys of other members: they would get a key that acts as the member.
        """
        old = await self._found(principal, key_id, None)
        now = utc_now()
        row, key = await self._add(principal, old.name, old.scopes, lifetime)
        old.expires_at = min(old.expires_at, now + overlap)
        await self._record(principal, "api_key.rotate", old, successor=row.id)
        return row, key

    async def revoke(self, principal: Principal, key_id: int) -> None:
        """Revoke a key of the caller or, for an admin, of any member, with immediate effect. Raises ApiKeyNotFound."""
        row = await self._found(principal, key_id, administered(principal))
        row.revoked_at = utc_now()
        await self._record(principal, "api_key.revoke", row)

    async def _found(self, principal: Principal, key_id: int, organisation_id: int | None) -> ApiKey:
        row = await self._repository.get(key_id, utc_now(), user_id=principal.user_id, organisation_id=organisation_id)
        if row is None:
            raise ApiKeyNotFound
        return row

    async def _add(self, principal: Principal, name: str, scopes: list[str], lifetime: timedelta) -> tuple[ApiKey, str]:
        # A key that is inserted while its user leaves would not be ended, and be valid again when they come back.
        await UserService(self._session).require_unchanged(principal)
        now = utc_now()
        # The key contains the id of its row, and the row the digest of the key: the row is inserted first.
        row = ApiKey(
            user_id=principal.user_id,
            organisation_id=principal.organisation_id,
            credentials_version=principal.credentials_version,
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

    async def _record(self, principal: Principal, action: str, row: ApiKey, **details: object) -> None:
        """Flush the change of a key, with its event if the user is in an organisation."""
        await self._session.flush()
        if principal.organisation_id is not None:
            after = {"name": row.name, "scopes": row.scopes, "expires_at": row.expires_at, **details}
            change = audit.Change(action, "api_key", row.id, None, after)
            await audit.record(self._session, principal.actor(), change)


async def end_keys(session: AsyncSession, event: MembershipEnded) -> Iterable[ChangeWarning]:
    """End all keys of a user in the organisation that they are no longer a member of."""
    await ApiKeyRepository(session).end_all(event.organisation_id, event.user_id, event.at)
    return ()
