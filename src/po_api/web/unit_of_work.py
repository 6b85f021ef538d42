"""What one request does with the database."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import asyncpg
from fastapi import Request, Response
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.datastructures import UploadFile

from po_api.core.errors import AppError
from po_api.core.sqlstate import DEADLOCK, SERIALISATION_FAILURE, sqlstate_of
from po_api.db.database import Database
from po_api.db.replica.executor import executor_of
from po_api.observability.logging import get_logger

# The longest pauses, in seconds, before a request is tried a second and a third time. They are random: those who got
# in each other's way shall not meet again.
PAUSES = (0.05, 0.2)
_UNDONE = {SERIALISATION_FAILURE, DEADLOCK}
_READ_ONLY = "25006"
_log = get_logger(__name__)


class UnitOfWork:
    """A safe request reads; any other has one transaction, which nobody else ends."""

    def __init__(self, database: Database, *, is_repetition: bool = False) -> None:
        self._database = database
        self._session: AsyncSession | None = None
        self.executor = executor_of(database)
        self.is_dry_run = False
        self.is_repetition = is_repetition
        # Whether something came of it that does not go when the transaction is rolled back.
        self.has_lasting_effects = False

    @property
    def session(self) -> AsyncSession:
        """The transaction; it begins with its first statement."""
        if self._session is None:
            self._session = self._database.sessions()
        return self._session

    async def complete(self) -> None:
        """The request's only commit. It comes before the response is sent: one that fails is an error, and no lie."""
        await self.executor.close()
        if self._session is not None:
            async with self._session as session:
                await (session.rollback() if self.is_dry_run else session.commit())

    async def abandon(self, error: BaseException) -> None:
        """Undo what was done, unless the error is what the request came to."""
        if sqlstate_of(error) == _READ_ONLY:
            # The server has become a standby: the next connection looks for the one that takes writes.
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


async def in_unit_of_work(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    """The answer to a request, whose unit of work is complete.

    What PostgreSQL undid for the sake of others is done again from its beginning: nothing has come of it yet, its
    Idempotency-Key is free, and nobody has been told anything. So this is safe even where a client must not ask twice.
    """
    for attempt, pause in enumerate(PAUSES):
        try:
            return await _once(request, answer, attempt)
        except (DBAPIError, asyncpg.PostgresError) as error:
            if request.state.unit_of_work.has_lasting_effects or sqlstate_of(error) not in _UNDONE:
                raise
            _log.warning("request_repeated", sqlstate=sqlstate_of(error))
        await asyncio.sleep(random.uniform(0, pause))  # noqa: S311
        await _rewind(request)
    return await _once(request, answer, len(PAUSES))


async def _once(request: Request, answer: Callable[[Request], Awaitable[Response]], attempt: int) -> Response:
    unit = request.state.unit_of_work = UnitOfWork(request.app.state.database, is_repetition=attempt > 0)
    try:
        response = await answer(request)
    except BaseException as error:
        await unit.abandon(error)
        raise
    await unit.complete()
    return response


async def _rewind(request: Request) -> None:
    """Have what was uploaded read from its beginning again; any other body has been kept as it was read."""
    if request.headers.get("content-type", "").startswith("multipart/"):
        for value in (await request.form()).values():
            if isinstance(value, UploadFile):
                await value.seek(0)
