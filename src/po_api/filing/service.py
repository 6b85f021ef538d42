"""What administrators do about filing: verify the folder, and try again what could not be filed."""

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.core.actor import Actor
from po_api.core.permissions import Permission
from po_api.db.query import TransactionExecutor
from po_api.db.wakeups import notify_after_commit
from po_api.filing.domain import FilingStatus
from po_api.filing.errors import FilingNotFound, FilingNotPossible
from po_api.filing.queries import FilingQueries, FilingRow
from po_api.filing.repository import FilingRepository
from po_api.organisations.service import OrganisationService
from po_api.purchase_orders.domain import FILING_WORK


class FilingService:
    """Changes the filings of the actor's organisation (admins); the caller commits."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor
        executor = TransactionExecutor(session)
        self._repository = FilingRepository(executor, actor.organisation_id)
        self._queries = FilingQueries(executor, actor)

    async def checked(self, folder_id: str | None) -> None:
        """Record that the organisation's documents can be filed, in a directory or in this folder, and queue all that
        are not. Raises FolderUnverified."""
        self._actor.require(Permission.FILINGS_MANAGE)
        organisations = OrganisationService(self._session)
        is_new = folder_id is not None and await organisations.verify_folder(self._actor, folder_id)
        number = await self._repository.retry_all()
        if number and not is_new:
            organisation_id = self._actor.organisation_id
            change = audit.Change(
                "organisation.retry_filings", "organisation", organisation_id, None, {"count": number}
            )
            await audit.record(self._session, self._actor, change)
        notify_after_commit(self._session, FILING_WORK)

    async def retry(self, filing_id: int) -> FilingRow:
        """Queue a filing again that is held or has failed. Raises FilingNotFound or FilingNotPossible."""
        self._actor.require(Permission.FILINGS_MANAGE)
        filing = await self._repository.lock(filing_id)
        if filing is None:
            raise FilingNotFound
        if filing.status not in (FilingStatus.FAILED, FilingStatus.HELD):
            raise FilingNotPossible
        await self._repository.retry(filing_id)
        before = {"status": filing.status, "error_code": filing.error_code}
        change = audit.Change("filing.retry", "filing", filing_id, before, {"status": str(FilingStatus.QUEUED)})
        await audit.record(self._session, self._actor, change)
        notify_after_commit(self._session, FILING_WORK)
        return await self._queries.get(filing_id)
