"""/porfs: purchase order requests, their lines and history."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Literal

from fastapi import Path, Query, Request, Response

from po_api.core.offload import offload
from po_api.core.permissions import Permission
from po_api.history.dependencies import HistoryPaging
from po_api.history.schemas import HistoryPage
from po_api.porfs.content import LineInput, PorfInput
from po_api.porfs.dependencies import (
    LinePaging,
    PorfActionsDep,
    PorfFiltersDep,
    PorfPaging,
    PorfReadServiceDep,
    PorfServiceDep,
)
from po_api.porfs.domain import DECISIONS, MACHINE, PorfAction
from po_api.porfs.schemas import (
    ActionNote,
    DecisionNote,
    PorfCreate,
    PorfLineCreate,
    PorfLinePage,
    PorfLineRead,
    PorfLineUpdate,
    PorfPage,
    PorfRead,
    PorfUpdate,
    Reassignment,
)
from po_api.web.dependencies import DryRun, counts_of, page_of_json
from po_api.web.etags import IfMatch, created, set_version, shown
from po_api.web.idempotency import IDEMPOTENT
from po_api.web.openapi import problems, tagged
from po_api.web.routing import api_router, requires
from po_api.web.schemas import MAX_ID, Counts

router = api_router(prefix="/porfs", tags=["porfs"])

PorfId = Annotated[int, Path(ge=1, le=MAX_ID)]
LineId = Annotated[int, Path(ge=1, le=MAX_ID)]
GroupBy = Annotated[
    Literal["status", "requester_id", "supplier_id", "cost_centre", "currency"],
    Query(description="The value to count by"),
]
NO_NOTE, NO_DECISION = ActionNote(), DecisionNote()

_READING = problems(403, 404)
_CHANGING = problems(403, 404, 409, 412, 428)


@router.get(
    "",
    operation_id="listPorfs",
    summary="List purchase order requests",
    response_model=PorfPage,
    responses=problems(403),
    openapi_extra=requires(Permission.PORFS_READ),
)
async def list_porfs(
    request: Request, porfs: PorfReadServiceDep, filters: PorfFiltersDep, paging: PorfPaging
) -> Response:
    return page_of_json(request, await porfs.page(filters, paging))


@router.get(
    "/counts",
    operation_id="countPorfs",
    summary="Count purchase order requests",
    responses=problems(403),
    openapi_extra=requires(Permission.PORFS_READ),
)
async def count_porfs(porfs: PorfReadServiceDep, filters: PorfFiltersDep, group_by: GroupBy) -> Counts:
    """Count purchase order requests by a value, with the filters of the list."""
    return counts_of(await porfs.counts(filters, group_by))


@router.post(
    "",
    operation_id="createPorf",
    summary="Create a purchase order request",
    status_code=201,
    response_model=PorfRead,
    dependencies=[IDEMPOTENT],
    responses=problems(403, 409),
    openapi_extra=requires(Permission.PORFS_WRITE),
)
async def create_porf(service: PorfServiceDep, body: PorfCreate) -> Response:
    return created(await service.create(await offload(len(body.lines), _requested, body)), router.prefix)


def _requested(body: PorfCreate) -> PorfInput:
    lines = [LineInput(**line.model_dump()) for line in body.lines]
    return PorfInput(**body.model_dump(exclude={"lines"}), lines=lines)


@router.get(
    "/{porf_id}",
    operation_id="getPorf",
    summary="Get a purchase order request",
    response_model=PorfRead,
    responses=_READING,
    openapi_extra=requires(Permission.PORFS_READ),
)
async def get_porf(porfs: PorfReadServiceDep, porf_id: PorfId) -> Response:
    return shown(await porfs.whole(porf_id))


@router.patch(
    "/{porf_id}",
    operation_id="updatePorf",
    summary="Update the header of a draft",
    response_model=PorfRead,
    responses=_CHANGING,
    openapi_extra=requires(Permission.PORFS_WRITE),
)
async def update_porf(service: PorfServiceDep, porf_id: PorfId, expected: IfMatch, body: PorfUpdate) -> Response:
    return shown(await service.update(porf_id, expected=expected, values=body.model_dump()))


@router.delete(
    "/{porf_id}",
    operation_id="deletePorf",
    summary="Delete a draft",
    status_code=204,
    responses=_CHANGING,
    openapi_extra=requires(Permission.PORFS_WRITE),
)
async def delete_porf(service: PorfServiceDep, porf_id: PorfId, expected: IfMatch) -> None:
    """Delete a draft that was never submitted."""
    await service.delete(porf_id, expected=expected)


@router.post(
    "/{porf_id}/copy",
    operation_id="copyPorf",
    summary="Copy a purchase order request",
    status_code=201,
    response_model=PorfRead,
    dependencies=[IDEMPOTENT],
    responses=problems(403, 404, 409),
    openapi_extra=requires(Permission.PORFS_WRITE),
)
async def copy_porf(service: PorfServiceDep, porf_id: PorfId, dry_run: DryRun) -> Response:
    """Create a draft with the content of an existing request."""
    return created(await service.copy(porf_id), router.prefix, dry_run=dry_run)


Handler = Callable[..., Awaitable[Response]]

_SUMMARIES = {
    PorfAction.SUBMIT: "Submit a draft for approval",
    PorfAction.RECALL: "Recall a pending request",
    PorfAction.RETURN: "Return a pending request to its requester",
    PorfAction.APPROVE: "Approve a pending request",
    PorfAction.REJECT: "Reject a pending request",
    PorfAction.REVISE: "Revise a rejected request",
    PorfAction.CANCEL: "Cancel a request",
    PorfAction.REOPEN: "Reopen an approved request",
    PorfAction.CLOSE: "Close a request without ordering the remaining quantities",
}


def _handler(action: PorfAction) -> Handler:
    async def decide(
        actions: PorfActionsDep,
        porf_id: PorfId,
        expected: IfMatch,
        dry_run: DryRun,
        body: DecisionNote = NO_DECISION,
    ) -> Response:
        porf = await actions.perform(action, porf_id, expected=expected, comment=body.comment, step_id=body.step_id)
        return shown(porf, dry_run=dry_run)

    async def perform(
        actions: PorfActionsDep, porf_id: PorfId, expected: IfMatch, dry_run: DryRun, body: ActionNote = NO_NOTE
    ) -> Response:
        porf = await actions.perform(action, porf_id, expected=expected, comment=body.comment)
        return shown(porf, dry_run=dry_run)

    return decide if action in DECISIONS else perform


for _action, _summary in _SUMMARIES.items():
    router.add_api_route(
        f"/{{porf_id}}/{_action}",
        _handler(_action),
        methods=["POST"],
        operation_id=f"{_action}Porf",
        summary=_summary,
        response_model=PorfRead,
        dependencies=[IDEMPOTENT],
        responses=_CHANGING,
        openapi_extra=requires(MACHINE.rules[_action].permission),
    )


@router.post(
    "/{porf_id}/reassign",
    operation_id="reassignPorf",
    summary="Reassign a request",
    response_model=PorfRead,
    dependencies=[IDEMPOTENT],
    responses=_CHANGING,
    openapi_extra=requires(Permission.PORFS_WRITE_ALL),
)
async def reassign_porf(
    actions: PorfActionsDep, porf_id: PorfId, expected: IfMatch, dry_run: DryRun, body: Reassignment
) -> Response:
    """Assign a request to another requester. Requires the role `admin`."""
    porf = await actions.reassign(porf_id, requester_id=body.requester_id, expected=expected)
    return shown(porf, dry_run=dry_run)


@router.get(
    "/{porf_id}/lines",
    operation_id="listPorfLines",
    summary="List lines",
    response_model=PorfLinePage,
    responses=_READING,
    openapi_extra=requires(Permission.PORFS_READ),
)
async def list_lines(request: Request, porfs: PorfReadServiceDep, porf_id: PorfId, paging: LinePaging) -> Response:
    return page_of_json(request, await porfs.lines_page(porf_id, paging))


@router.post(
    "/{porf_id}/lines",
    operation_id="addPorfLine",
    summary="Add a line to a draft",
    status_code=201,
    dependencies=[IDEMPOTENT],
    responses=_CHANGING | tagged(201),
    openapi_extra=requires(Permission.PORFS_WRITE),
)
async def add_line(
    response: Response, service: PorfServiceDep, porf_id: PorfId, expected: IfMatch, body: PorfLineCreate
) -> PorfLineRead:
    line, version = await service.add_line(porf_id, LineInput(**body.model_dump()), expected=expected)
    response.headers["Location"] = f"/api/v1/porfs/{porf_id}/lines/{line.id}"
    set_version(response, version)
    return PorfLineRead.of(line)


@router.get(
    "/{porf_id}/lines/{line_id}",
    operation_id="getPorfLine",
    summary="Get a line",
    response_model=PorfLineRead,
    responses=_READING | tagged(),
    openapi_extra=requires(Permission.PORFS_READ),
)
async def get_line(porfs: PorfReadServiceDep, porf_id: PorfId, line_id: LineId) -> Response:
    """Get a line. Its ETag is the ETag of the request."""
    return shown(await porfs.line(porf_id, line_id))


@router.patch(
    "/{porf_id}/lines/{line_id}",
    operation_id="updatePorfLine",
    summary="Update a line of a draft",
    responses=_CHANGING | tagged(),
    openapi_extra=requires(Permission.PORFS_WRITE),
)
async def update_line(
    response: Response,
    service: PorfServiceDep,
    porf_id: PorfId,
    line_id: LineId,
    expected: IfMatch,
    body: PorfLineUpdate,
) -> PorfLineRead:
    line, version = await service.update_line(porf_id, line_id, expected=expected, values=body.model_dump())
    set_version(response, version)
    return PorfLineRead.of(line)


@router.delete(
    "/{porf_id}/lines/{line_id}",
    operation_id="deletePorfLine",
    summary="Delete a line of a draft",
    status_code=204,
    responses=_CHANGING,
    openapi_extra=requires(Permission.PORFS_WRITE),
)
async def delete_line(service: PorfServiceDep, porf_id: PorfId, line_id: LineId, expected: IfMatch) -> None:
    await service.delete_line(porf_id, line_id, expected=expected)


@router.get(
    "/{porf_id}/history",
    operation_id="listPorfHistory",
    summary="List history",
    response_model=HistoryPage,
    responses=_READING,
    openapi_extra=requires(Permission.PORFS_READ),
)
async def list_history(request: Request, porfs: PorfReadServiceDep, porf_id: PorfId, paging: HistoryPaging) -> Response:
    return page_of_json(request, await porfs.history(porf_id, paging))
