"""Heavy requests wait for their turn, in a queue that organisations share fairly, without a connection of the pool.

Work of clients that have disconnected is not done: uvicorn lets handlers go on.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TypeVar

from anyio import CancelScope, CapacityLimiter
from anyio.lowlevel import RunVar
from fastapi import Request
from starlette.requests import ClientDisconnect

from po_api.core.actor import Principal
from po_api.core.errors import BadRequest
from po_api.core.fair_queue import FairQueue, Owner, Shares
from po_api.core.offload import limiter_of
from po_api.web.dependencies import SIGNED_IN, unit_of

T = TypeVar("T")
_limiter: RunVar[CapacityLimiter] = RunVar("po_api_checks_before_turns")

# In each worker process. A step of such a request may block its event loop for a few milliseconds: with fewer of them,
# the other requests wait less. Two in an organisation, so that its members do not wait for the import of one of them.
SHARES = Shares(running=6, running_per_organisation=2, running_per_user=1)
# Many requests may arrive at once: their credentials are checked a few at a time, for the same reason.
_CHECKS = 2

# A body of this size in bytes makes any request a heavy one.
HEAVY_BODY = 256 * 1024


def is_heavy_body(request: Request) -> bool:
    """Whether the body is large, or of unknown length."""
    headers = request.headers
    declared = headers.get("content-length", "")
    return "transfer-encoding" in headers or (declared.isdigit() and int(declared) >= HEAVY_BODY)


class ClientDisconnected(BadRequest):
    """The client closed the connection before the request's turn, or before its document was typeset. Nothing was
    changed."""

    code = "client_disconnected"
    title = "Client disconnected"


@asynccontextmanager
async def turn(request: Request, *, has_form: bool) -> AsyncIterator[None]:
    """Hold a turn of the signed-in user. The body is read before; a form has been read.

    Raises QueueFull, QueueTimeout, ClientDisconnected, and what the check of the credentials raises.
    """
    queue: FairQueue = request.app.state.heavy_requests
    try:
        if not has_form:
            await _read_body(request)
        async with limiter_of(_limiter, _CHECKS):
            may_be_at_once = not (has_form or queue.is_busy or is_heavy_body(request))
            principal = await (SIGNED_IN if may_be_at_once else SIGNED_IN.before_its_turn)(request)
        owner = Owner(principal.organisation_id or 0, principal.user_id)
        await _begin(request, principal if may_be_at_once else None, owner)
    except BaseException:
        if has_form:  # its files are temporary ones; the handler would close them
            await (await request.form()).close()
        raise
    try:
        yield
    finally:
        queue.release(owner)


async def _begin(request: Request, principal: Principal | None, owner: Owner) -> None:
    """Take a turn. A `principal` who was authenticated in the request's transaction is not again, unless it has to
    wait: then without the transaction, whose connection others need."""
    queue: FairQueue = request.app.state.heavy_requests
    unit = unit_of(request)
    unit.is_counted = True
    if principal is not None:
        if queue.try_acquire(owner):
            unit.principal = principal
            return
        await unit.pause()
    await while_connected(request, queue.acquire(owner))


async def while_connected(request: Request, work: Awaitable[T]) -> T:
    """The result of the work, which is cancelled when the client disconnects. Raises ClientDisconnected then.

    The body has been read: its parts would be lost.
    """
    with CancelScope() as scope:
        watch = asyncio.create_task(_cancel_when_gone(request, scope))
        try:
            return await work
        finally:
            watch.cancel()
    raise ClientDisconnected


async def _read_body(request: Request) -> None:
    try:
        await request.body()
    except ClientDisconnect:
        raise ClientDisconnected from None


async def _cancel_when_gone(request: Request, scope: CancelScope) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
