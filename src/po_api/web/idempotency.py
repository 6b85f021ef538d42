"""Idempotency keys: a request that is repeated with its key gets the stored response and changes nothing.

The response is stored in the transaction of the request, so that neither exists without the other. Only responses of
committed requests are stored: a request that failed changed nothing and is processed anew. A repetition is only
answered inside the organisation that the request was about.
"""

import hashlib
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Header, Request, Response
from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.datastructures import UploadFile

from po_api.core.actor import Principal
from po_api.core.clock import utc_now
from po_api.core.errors import Conflict, Unprocessable
from po_api.web.dependencies import PrincipalDep, session_of
from po_api.web.models import IdempotencyRecord

_KEPT_HEADERS = ("etag", "location", "content-type", "cache-control")


class KeyInFlight(Conflict):
    """A request with this Idempotency-Key is in progress: repeat the request after it has completed."""

    code = "idempotency_key_in_flight"
    title = "Idempotency-Key in use"


class KeyReused(Unprocessable):
    """This Idempotency-Key was used for a different request: send a new key."""

    code = "idempotency_key_reused"
    title = "Idempotency-Key reused"


class Replay(Exception):
    def __init__(self, response: Response) -> None:
        self.response = response


class _Claim:
    """A key that this request holds; `remember` stores the response."""

    def __init__(
        self, session: AsyncSession, *, organisation_id: int, user_id: int, route: str, key: str, request_hash: str
    ) -> None:
        self._session = session
        self._identity = {"organisation_id": organisation_id, "user_id": user_id, "route": route, "key": key}
        self._record = {**self._identity, "request_hash": request_hash}

    async def acquire(self) -> None:
        """Lock the key until the end of the transaction. Raises Replay, KeyInFlight or KeyReused."""
        identity = "\x00".join(map(str, self._identity.values()))
        lock = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], signed=True)
        if not await self._session.scalar(select(func.pg_try_advisory_xact_lock(lock))):
            raise KeyInFlight
        # A statement of its own, after the lock: the lock's statement sees the state from before it waited.
        found = await self._session.get(IdempotencyRecord, tuple(self._identity.values()))
        if found is None:
            return
        if found.request_hash != self._record["request_hash"]:
            raise KeyReused
        raise Replay(Response(found.body, found.status, headers={**found.headers, "Idempotent-Replayed": "true"}))

    async def remember(self, response: Response) -> None:
        headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
        self._session.add(
            IdempotencyRecord(
                **self._record,
                status=response.status_code,
                headers=headers,
                body=bytes(response.body),
                created_at=utc_now(),
            )
        )
        await self._session.flush()


_Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="Makes the request safe to repeat: a repetition returns the stored response",
        examples=["5f3c6a2e-0b1d-4c8e-9a57-2f9d3b6c1e40"],
    ),
]


async def _in_organisation(request: Request, principal: PrincipalDep, idempotency_key: _Key = None) -> None:
    await _claim(request, principal, principal.organisation_id or 0, idempotency_key)


async def _of_user(request: Request, principal: PrincipalDep, idempotency_key: _Key = None) -> None:
    await _claim(request, principal, 0, idempotency_key)


async def _claim(request: Request, principal: Principal, organisation_id: int, idempotency_key: str | None) -> None:
    if idempotency_key is None:
        return
    # Without the prefix, as earlier releases stored them.
    route = f"{request.method} {request.scope['route'].path.removeprefix('/api/v1')}"
    claim = _Claim(
        session_of(request),
        organisation_id=organisation_id,
        user_id=principal.user_id,
        route=route,
        key=idempotency_key,
        request_hash=await _request_hash(request),
    )
    await claim.acquire()
    request.state.idempotency_claim = claim


async def _request_hash(request: Request) -> str:
    """The digest of the request's path, query and body."""
    digest = hashlib.sha256(f"{request.url.path}?{request.url.query}\n".encode())
    if request.headers.get("content-type", "").startswith("multipart/"):
        for name, value in (await request.form()).multi_items():
            digest.update(name.encode() + b"\x00")
            if isinstance(value, UploadFile):
                digest.update(await value.read())
                await value.seek(0)
            else:
                digest.update(value.encode())
    else:
        digest.update(await request.body())
    return digest.hexdigest()


IDEMPOTENT = Depends(_in_organisation)
# For requests that may change the user's organisation: the repetition comes from a member of another one.
IDEMPOTENT_FOR_USER = Depends(_of_user)


async def purge(session: AsyncSession, *, before: datetime, most: int | None = None) -> int:
    """Delete the responses stored before `before`, at most so many; returns their number."""
    record = IdempotencyRecord
    key = (record.organisation_id, record.user_id, record.route, record.key)
    old = select(*key).where(record.created_at < before).limit(most)
    statement = delete(record).where(tuple_(*key).in_(old))
    result = await session.execute(statement.returning(IdempotencyRecord.user_id))
    return len(result.all())


async def remember(request: Request, response: Response) -> None:
    """Store the response under the request's key, if it has one."""
    claim: _Claim | None = request.scope["state"].get("idempotency_claim")
    if claim is not None:
        await claim.remember(response)
