"""/filings, and /organisations/current/filing: the documents in the organisation's folder."""

from typing import Annotated

from fastapi import Path, Request, Response

from po_api.core.actor import Actor
from po_api.core.permissions import Permission
from po_api.db.query import QueryExecutor, TransactionExecutor
from po_api.filing.dependencies import (
    CHECKED_FOLDER,
    CheckedFolderDep,
    FilingFiltersDep,
    FilingPaging,
    FilingQueriesDep,
    FilingServiceDep,
    destination_of,
)
from po_api.filing.destinations import GoogleDrive
from po_api.filing.domain import FilingStatus, verification_name
from po_api.filing.queries import FilingQueries
from po_api.filing.schemas import FilingPage, FilingRead, FilingSettings, FolderVerification
from po_api.organisations.queries import OrganisationQueries
from po_api.web.dependencies import ActorDep, DryRun, executor_of, link_next, session_of
from po_api.web.idempotency import IDEMPOTENT
from po_api.web.openapi import problems
from po_api.web.routing import api_router, requires
from po_api.web.schemas import MAX_ID

router = api_router(prefix="/filings", tags=["filing"])
settings_router = api_router(prefix="/organisations", tags=["filing"])

FilingId = Annotated[int, Path(ge=1, le=MAX_ID)]


async def _settings(request: Request, executor: QueryExecutor, actor: Actor) -> FilingSettings:
    actor.require(Permission.FILINGS_MANAGE)
    destination = destination_of(request)
    organisation = await OrganisationQueries(executor).own(actor)
    unfiled = await FilingQueries(executor, actor).unfiled()
    folder_id, verification = organisation.workspace_folder_id, None
    if isinstance(destination, GoogleDrive) and folder_id is not None:
        name = verification_name(organisation.id, folder_id, key=request.app.state.secret_key)
        verification = FolderVerification(account=destination.account, file_name=name)
    needs_folder = isinstance(destination, GoogleDrive)
    return FilingSettings(
        destination=None if destination is None else destination.kind,
        is_ready=destination is not None and (organisation.workspace_folder_verified or not needs_folder),
        folder_id=folder_id if needs_folder else None,
        verification=verification,
        queued=unfiled.get(FilingStatus.QUEUED, 0),
        held=unfiled.get(FilingStatus.HELD, 0),
        failed=unfiled.get(FilingStatus.FAILED, 0),
    )


@settings_router.get(
    "/current/filing",
    operation_id="getFilingSettings",
    summary="Get where documents are filed",
    responses=problems(403),
    openapi_extra=requires(Permission.FILINGS_MANAGE),
)
async def get_settings(request: Request, actor: ActorDep) -> FilingSettings:
    """Get where the documents of orders are filed, and how the folder is verified. Requires the role `admin`."""
    return await _settings(request, executor_of(request), actor)


@settings_router.post(
    "/current/filing/check",
    operation_id="checkFiling",
    summary="Verify the folder for documents",
    dependencies=[CHECKED_FOLDER, IDEMPOTENT],
    responses=problems(403, 409),
    openapi_extra=requires(Permission.FILINGS_MANAGE),
)
async def check(
    request: Request, actor: ActorDep, service: FilingServiceDep, folder_id: CheckedFolderDep, dry_run: DryRun
) -> FilingSettings:
    """Verify that the folder is the organisation's, and file all documents that are not. Requires the role `admin`.

    The folder has to contain the file that `GET /organisations/current/filing` names. Repeat the check after the
    organisation's `workspace_folder_id` has changed, and after a problem with the folder is solved."""
    await service.checked(folder_id)
    return await _settings(request, TransactionExecutor(session_of(request)), actor)


@router.get(
    "",
    operation_id="listFilings",
    summary="List filed documents",
    responses=problems(403),
    openapi_extra=requires(Permission.FILINGS_READ),
)
async def list_filings(
    request: Request, response: Response, filings: FilingQueriesDep, filters: FilingFiltersDep, paging: FilingPaging
) -> FilingPage:
    """List the documents that are filed, or are to be. Requires the role `buyer`, `admin` or `auditor`."""
    page = await filings.page(filters, paging)
    items = [FilingRead.model_validate(row) for row in page.items]
    return FilingPage(items=items, **link_next(request, response, page))


@router.post(
    "/{filing_id}/retry",
    operation_id="retryFiling",
    summary="File a document again",
    dependencies=[IDEMPOTENT],
    responses=problems(403, 404, 409),
    openapi_extra=requires(Permission.FILINGS_MANAGE),
)
async def retry(service: FilingServiceDep, filing_id: FilingId, dry_run: DryRun) -> FilingRead:
    """Try again to file a document that is held or has failed. Requires the role `admin`."""
    return FilingRead.model_validate(await service.retry(filing_id))
