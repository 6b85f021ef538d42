"""What one request does with the database."""

from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.database import Database
from po_api.core.errors import AppError
from po_api.core.replica_reading import reader_of


class UnitOfWork:
    """A safe request reads; any other has one transaction, which nobody else ends."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._session: AsyncSession | None = None
        self.reader = reader_of(database)
        self.is_dry_run = False

    @property
    def session(self) -> AsyncSession:
        """The transaction; it begins with its first statement."""
        if self._session is None:
            self._session = self._database.sessions()
        return self._session

    async def complete(self) -> None:
        """The request's only commit. It comes before the response is sent: one that fails is an error, and no lie."""
        await self.reader.close()
        if self._session is not None:
            async with self._session as session:
                await (session.rollback() if self.is_dry_run else session.commit())

    async def abandon(self, error: BaseException) -> None:
        """Undo what was done, unless the error is what the request came to."""
        if isinstance(error, Exception):
            await self.reader.close()
        else:
            self.reader.discard()
        if self._session is not None:
            async with self._session as session:
                is_outcome = isinstance(error, AppError) and error.is_outcome
                await (session.commit() if is_outcome else session.rollback())
