"""Dependencies of the handlers about filing."""

from typing import Annotated

from fastapi import Depends, Request

from po_api.core.permissions import Permission
from po_api.db.filters import Filters
from po_api.db.pagination import PageRequest
from po_api.filing.destinations import Destination, GoogleDrive
from po_api.filing.domain import FilingProblem, FilingStatus, NotFiled, verification_name
from po_api.filing.errors import FilingNotConfigured, FilingUnavailable, FolderMissing
from po_api.filing.queries import SORTS, FilingQueries
from po_api.filing.service import FilingService
from po_api.organisations.errors import FolderUnverified
from po_api.organisations.queries import OrganisationQueries
from po_api.web.dependencies import SIGNED_IN, PrincipalDep, executor_of, paging, session_of, unit_of
from po_api.web.filters import CREATED_AT, any_of, filters
from po_api.web.schemas import Id, ShortText


def destination_of(request: Request) -> Destination | None:
    destination: Destination | None = request.app.state.filing
    return destination


async def _queries(request: Request, principal: PrincipalDep) -> FilingQueries:
    return FilingQueries(executor_of(request), principal.actor())


async def _service(request: Request, principal: PrincipalDep) -> FilingService:
    return FilingService(session_of(request), principal.actor())


async def _checked_folder(request: Request) -> str | None:
    """The folder in which the organisation's proof was found; None for a directory that is writable.

    It is looked up before the transaction of the request begins, which would wait for another system.
    """
    destination = destination_of(request)
    actor = (await SIGNED_IN.before_its_turn(request)).actor()
    actor.require(Permission.FILINGS_MANAGE)
    if destination is None:
        raise FilingNotConfigured
    executor = unit_of(request).executor
    organisation = await OrganisationQueries(executor).own(actor)
    await executor.close()
    folder_id = organisation.workspace_folder_id if isinstance(destination, GoogleDrive) else None
    if isinstance(destination, GoogleDrive) and folder_id is None:
        raise FolderMissing
    key: str = request.app.state.secret_key
    try:
        await destination.check(folder_id, verification_name(actor.organisation_id, folder_id or "", key=key))
    except NotFiled as error:
        raise _refusal(error) from None
    return folder_id


# Only an organisation that has proved that the folder is its own gets one of these.
_DETAILS = {
    FilingProblem.FOLDER_TRASHED: "the folder is in the trash",
    FilingProblem.FOLDER_READ_ONLY: "the account cannot add files to the folder",
}


def _refusal(error: NotFiled) -> Exception:
    if error.awaits_administrator:
        return FolderUnverified(_DETAILS.get(error.problem, ""))
    return FilingUnavailable(str(error.problem), headers={"Retry-After": "60"})


_filters = filters(
    any_of("status", FilingStatus, "Any of these statuses"),
    any_of("purchase_order_id", Id, "Of any of these orders"),
    any_of("error_code", ShortText, "With any of these errors", ["folder_trashed"]),
    *CREATED_AT,
)

# The first dependency of its route, so that it comes before the transaction.
CHECKED_FOLDER = Depends(_checked_folder)
CheckedFolderDep = Annotated[str | None, CHECKED_FOLDER]
FilingQueriesDep = Annotated[FilingQueries, Depends(_queries)]
FilingServiceDep = Annotated[FilingService, Depends(_service)]
FilingFiltersDep = Annotated[Filters, Depends(_filters)]
FilingPaging = Annotated[PageRequest, Depends(paging(*SORTS))]
