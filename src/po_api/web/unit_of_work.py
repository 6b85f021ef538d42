"""The database work of one request: one transaction, committed once, retried after conflicts."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import asyncpg
from fastapi import Request, Response
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.datastructures import UploadFile

from po_api.core.actor import Principal
from po_api.core.errors import AppError
from po_api.core.sqlstate import DEADLOCK, SERIALISATION_FAILURE, sqlstate_of
from po_api.db.database import Database
from po_api.db.replica.executor import executor_of
from po_api.observability.logging import get_logger

# The longest delays in seconds before the second and the third attempt. They are random, so that conflicting requests
# do not conflict again.
PAUSES = (0.05, 0.2)
_RETRIED = {SERIALISATION_FAILURE, DEADLOCK}
_READ_ONLY = "25006"
_log = get_logger(__name__)


class UnitOfWork:
    """A safe request only reads; any other has one transaction, which only this class ends."""

    def __init__(self, database: Database, *, is_counted: bool = False) -> None:
        self._database = database
        self._session: AsyncSession | None = None
        self.executor = executor_of(database)
        self.is_dry_run = False
        # Whether the rate limits have counted the request.
        self.is_counted = is_counted
        # Whether it has effects that a rollback does not undo.
        self.has_lasting_effects = False
        # Who is signed in, if that was checked before the dependencies of the handler.
        self.principal: Principal | None = None

    @property
    def session(self) -> AsyncSession:
        """The session, whose transaction begins with the first statement."""
        if self._session is None:
            self._session = self._database.sessions()
        return self._session

    async def pause(self) -> None:
        """Undo what was done so far and return the connection: the request is about to wait."""
        await self.executor.close()
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def complete(self) -> None:
        """The request's only commit, before the response is sent, so that a failed commit is an error response."""
        await self.executor.close()
        if self._session is not None:
            async with self._session as session:
                await (session.rollback() if self.is_dry_run else session.commit())

    async def abandon(self, error: BaseException) -> None:
        """Roll back, unless the error is the result of a completed request."""
        if sqlstate_of(error) == _READ_ONLY:
            # The server has become a standby: the next connection goes to the one that accepts writes.
            self.executor.discard()
            if self._session is not None:
                await self._session.invalidate()
            return
        if isinstance(error, Exception):
            await self.executor.close()
        else:
            self.executor.discard()
        if self._session is not None:
            async with self._session as session:
                is_outcome = isinstance(error, AppError) and error.is_outcome
                await (session.commit() if is_outcome else session.rollback())


async def in_unit_of_work(request: Request, respond: Callable[[Request], Awaitable[Response]]) -> Response:
    """The response to a request, whose unit of work is complete.

    Retries serialization failures and deadlocks from the beginning. That is safe for all requests: the transaction was
    rolled back, the Idempotency-Key is free, and no response has been sent.
    """
    for attempt, pause in enumerate(PAUSES):
        try:
            return await _once(request, respond, attempt)
        except (DBAPIError, asyncpg.PostgresError) as error:
            if request.state.unit_of_work.has_lasting_effects or sqlstate_of(error) not in _RETRIED:
                raise
            _log.warning("request_retried", sqlstate=sqlstate_of(error))
        await asyncio.sleep(random.uniform(0, pause))  # noqa: S311
        await _rewind(request)
    return await _once(request, respond, len(PAUSES))


async def _once(request: Request, respond: Callable[[Request], Awaitable[Response]], attempt: int) -> Response:
    unit = request.state.unit_of_work = UnitOfWork(request.app.state.database, is_counted=attempt > 0)
    try:
        response = await respond(request)
    except BaseException as error:
        await unit.abandon(error)
        raise
    await unit.complete()
    return response


async def _rewind(request: Request) -> None:
    """Rewind uploaded files; any other body is kept in memory."""
    if request.headers.get("content-type", "").startswith("multipart/"):
        for value in (await request.form()).values():
            if isinstance(value, UploadFile):
                await value.seek(0)
