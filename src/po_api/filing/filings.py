"""Filing in the background: a worker files the documents of orders soon after they are stored."""

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from po_api.db.database import Database, enter_tenant
from po_api.db.leases import Job
from po_api.db.query import TransactionExecutor
from po_api.db.work import Failure, Hold, Queue, Record, Retry
from po_api.filing.destinations import Destination, Filed, Task
from po_api.filing.domain import FilingProblem, NotFiled
from po_api.filing.repository import FilingRepository
from po_api.observability import metrics
from po_api.organisations.queries import OrganisationQueries, in_each_organisation
from po_api.purchase_orders.domain import FILING_WORK
from po_api.purchase_orders.models import DocumentFiling

# What an operator has to mend is tried for a week: the folder's owner cannot do anything about it.
FILINGS = Queue(
    FILING_WORK,
    DocumentFiling.__table__,
    seconds=300,
    delays=(
        timedelta(seconds=10),
        timedelta(minutes=1),
        timedelta(minutes=5),
        timedelta(minutes=30),
        timedelta(hours=2),
        timedelta(hours=6),
    ),
    attempts=30,
    at_once=2,
    leaves_the_house=True,
)
# Exported as 0 from the start, or Prometheus would miss the first increase.
for _problem in FilingProblem:
    metrics.FILING_PROBLEMS.labels(_problem)
# They wait for somebody to act, who then asks for them.
_HELD = {FilingProblem.FOLDER_UNVERIFIED, FilingProblem.NOT_CONFIGURED}


class FilingHandler:
    """Files the documents of the queue; None as the destination holds them."""

    def __init__(self, database: Database, destination: Destination | None) -> None:
        self._database = database
        self._destination = destination

    async def perform(self, job: Job) -> Record:
        try:
            filed = await self._file(job)
        except NotFiled as error:
            metrics.FILING_PROBLEMS.labels(error.problem).inc()
            raise _outcome(error) from None

        async def record(session: AsyncSession) -> None:
            rows = FilingRepository(TransactionExecutor(session), job.organisation_id)
            await rows.filed(job.id, drive_id=filed.drive_id, url=filed.url)

        return record

    async def failed(self, session: AsyncSession, job: Job, code: str) -> None:
        """The list of filings shows it."""

    async def _file(self, job: Job) -> Filed:
        if self._destination is None:
            raise NotFiled(FilingProblem.NOT_CONFIGURED)
        async with self._database.sessions.begin() as session:
            await enter_tenant(session, job.organisation_id)
            executor = TransactionExecutor(session)
            organisation = await OrganisationQueries(executor).own(job.actor)
            document = await FilingRepository(executor, job.organisation_id).document(job.id)
        return await self._destination.file(Task(job, organisation, document, self._database.sessions.begin))


def _outcome(error: NotFiled) -> Exception:
    if error.problem in _HELD:
        return Hold(error.problem, error.detail)
    if error.awaits_administrator:
        return Failure(error.problem, error.detail)
    return Retry(error.problem, error.detail, after=error.after)


async def queue_missing(database: Database) -> int:
    """Queue the stored documents of all organisations that were never queued; returns their number.

    These are from the time before filing was configured.
    """

    async def queue(session: AsyncSession, organisation_id: int) -> int:
        return await FilingRepository(TransactionExecutor(session), organisation_id).queue_missing()

    return await in_each_organisation(database, queue)


async def retry_all(session: AsyncSession) -> int:
    """Queue what is not filed again, of all organisations; returns the number."""
    executor, found = TransactionExecutor(session), 0
    for organisation_id in await OrganisationQueries(executor).ids():
        await enter_tenant(session, organisation_id)
        found += await FilingRepository(executor, organisation_id).retry_all()
    return found
