"""/porfs: purchase order requests, their lines, comments and history."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Path, Request, Response

from po_api.porfs.dependencies import (
    EventPaging,
    LinePaging,
    PorfActionsDep,
    PorfFiltersDep,
    PorfPaging,
    PorfServiceDep,
)
from po_api.porfs.domain import MACHINE, PorfAction
from po_api.porfs.schemas import (
    ActionNote,
    CommentCreate,
    CommentPage,
    CommentRead,
    HistoryEvent,
    HistoryPage,
    PorfCreate,
    PorfLineCreate,
    PorfLinePage,
    PorfLineRead,
    PorfLineUpdate,
    PorfPage,
    PorfRead,
    PorfSummary,
    PorfUpdate,
    Reassignment,
)
from po_api.porfs.service import LineInput, PorfInput, PorfView
from po_api.users.service import UserService
from po_api.web.dependencies import DryRun, SessionDep, link_next
from po_api.web.etags import IfMatch, set_version
from po_api.web.idempotency import IDEMPOTENT
from po_api.web.openapi import problems, tagged
from po_api.web.routing import api_router, takes
from po_api.web.schemas import MAX_ID

router = api_router(prefix="/porfs", tags=["porfs"])

PorfId = Annotated[int, Path(ge=1, le=MAX_ID)]
LineId = Annotated[int, Path(ge=1, le=MAX_ID)]
NO_NOTE = ActionNote()

_READING = problems(403, 404)
_CHANGING = problems(403, 404, 409, 412, 428)


def read(response: Response, view: PorfView, *, dry_run: bool = False) -> PorfRead:
    """A request as a whole; what a dry run shows has no version to refer to."""
    if not dry_run:
        set_version(response, view.header.version)
    return PorfRead.of(view)


def created(response: Response, view: PorfView) -> PorfRead:
    response.headers["Location"] = f"/api/v1/porfs/{view.header.id}"
    return read(response, view)


@router.get("", operation_id="listPorfs", summary="List requests", responses=problems(403))
async def list_porfs(
    request: Request, response: Response, service: PorfServiceDep, filters: PorfFiltersDep, paging: PorfPaging
) -> PorfPage:
    page = await service.page(filters, paging)
    items = [PorfSummary.of(view) for view in page.items]
    return PorfPage(items=items, **link_next(request, response, page))


@router.post(
    "",
    operation_id="createPorf",
    summary="Raise a request",
    status_code=201,
    dependencies=[IDEMPOTENT],
    responses=problems(403, 409),
)
async def create_porf(response: Response, service: PorfServiceDep, body: PorfCreate) -> PorfRead:
    lines = [LineInput(**line.model_dump()) for line in body.lines]
    return created(response, await service.create(PorfInput(**body.model_dump(exclude={"lines"}), lines=lines)))


@router.get("/{porf_id}", operation_id="getPorf", summary="One request with its lines", responses=_READING)
async def get_porf(response: Response, service: PorfServiceDep, porf_id: PorfId) -> PorfRead:
    return read(response, await service.view(porf_id))


@router.patch("/{porf_id}", operation_id="updatePorf", summary="Change a draft's header", responses=_CHANGING)
async def update_porf(
    response: Response, service: PorfServiceDep, porf_id: PorfId, expected: IfMatch, body: PorfUpdate
) -> PorfRead:
    return read(response, await service.update(porf_id, expected=expected, values=body.model_dump()))


@router.delete(
    "/{porf_id}",
    operation_id="deletePorf",
    summary="Delete a draft that was never submitted",
    status_code=204,
    responses=_CHANGING,
)
async def delete_porf(service: PorfServiceDep, porf_id: PorfId, expected: IfMatch) -> None:
    await service.delete(porf_id, expected=expected)


@router.post(
    "/{porf_id}/copy",
    operation_id="copyPorf",
    summary="A new draft with the same content",
    status_code=201,
    dependencies=[IDEMPOTENT],
    responses=problems(403, 404, 409),
)
async def copy_porf(response: Response, service: PorfServiceDep, porf_id: PorfId, dry_run: DryRun) -> PorfRead:
    view = await service.copy(porf_id)
    return read(response, view, dry_run=True) if dry_run else created(response, view)


Handler = Callable[..., Awaitable[PorfRead]]

_SUMMARIES = {
    PorfAction.SUBMIT: "Put a draft before the approvers",
    PorfAction.RECALL: "Take a pending request back",
    PorfAction.RETURN: "Give a pending request back to its requester",
    PorfAction.APPROVE: "Approve a pending request",
    PorfAction.REJECT: "Reject a pending request",
    PorfAction.REVISE: "Make a rejected request a draft again",
    PorfAction.CANCEL: "Cancel a request of which nothing is ordered",
    PorfAction.REOPEN: "Make an approved request a draft again",
    PorfAction.CLOSE: "Close a request; what is left of it will not be ordered",
}


def _handler(action: PorfAction) -> Handler:
    async def perform(
        response: Response,
        actions: PorfActionsDep,
        porf_id: PorfId,
        expected: IfMatch,
        dry_run: DryRun,
        body: ActionNote = NO_NOTE,
    ) -> PorfRead:
        view = await actions.perform(action, porf_id, expected=expected, comment=body.comment)
        return read(response, view, dry_run=dry_run)

    return perform


for _action, _summary in _SUMMARIES.items():
    router.add_api_route(
        f"/{{porf_id}}/{_action}",
        _handler(_action),
        methods=["POST"],
        operation_id=f"{_action}Porf",
        summary=_summary,
        dependencies=[IDEMPOTENT],
        responses=_CHANGING,
        openapi_extra=takes(MACHINE.scope_of(_action)),
    )


@router.post(
    "/{porf_id}/reassign",
    operation_id="reassignPorf",
    summary="Give a request to another requester (admins)",
    dependencies=[IDEMPOTENT],
    responses=_CHANGING,
)
async def reassign_porf(
    response: Response, actions: PorfActionsDep, porf_id: PorfId, expected: IfMatch, dry_run: DryRun, body: Reassignment
) -> PorfRead:
    view = await actions.reassign(porf_id, requester_id=body.requester_id, expected=expected)
    return read(response, view, dry_run=dry_run)


@router.get("/{porf_id}/lines", operation_id="listPorfLines", summary="The lines of a request", responses=_READING)
async def list_lines(
    request: Request, response: Response, service: PorfServiceDep, porf_id: PorfId, paging: LinePaging
) -> PorfLinePage:
    page = await service.lines_page(porf_id, paging)
    items = [PorfLineRead.of(line) for line in page.items]
    return PorfLinePage(items=items, **link_next(request, response, page))


@router.post(
    "/{porf_id}/lines",
    operation_id="addPorfLine",
    summary="Append a line to a draft",
    status_code=201,
    dependencies=[IDEMPOTENT],
    responses=_CHANGING | tagged(201),
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
    summary="One line; the ETag is its request's",
    responses=_READING | tagged(),
)
async def get_line(response: Response, service: PorfServiceDep, porf_id: PorfId, line_id: LineId) -> PorfLineRead:
    line, version = await service.line(porf_id, line_id)
    set_version(response, version)
    return PorfLineRead.of(line)


@router.patch(
    "/{porf_id}/lines/{line_id}",
    operation_id="updatePorfLine",
    summary="Change a draft's line",
    responses=_CHANGING | tagged(),
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
    summary="Take a line out of a draft",
    status_code=204,
    responses=_CHANGING,
)
async def delete_line(service: PorfServiceDep, porf_id: PorfId, line_id: LineId, expected: IfMatch) -> None:
    await service.delete_line(porf_id, line_id, expected=expected)


@router.get("/{porf_id}/comments", operation_id="listPorfComments", summary="What was said", responses=_READING)
async def list_comments(
    request: Request, response: Response, service: PorfServiceDep, porf_id: PorfId, paging: EventPaging
) -> CommentPage:
    page = await service.comments(porf_id, paging)
    items = [
        CommentRead.model_validate({name: getattr(row, name) for name in CommentRead.model_fields})
        for row in page.items
    ]
    return CommentPage(items=items, **link_next(request, response, page))


@router.post(
    "/{porf_id}/comments",
    operation_id="addPorfComment",
    summary="Say something about a request",
    status_code=201,
    dependencies=[IDEMPOTENT],
    responses=_READING | problems(409),
)
async def add_comment(
    session: SessionDep, service: PorfServiceDep, porf_id: PorfId, body: CommentCreate
) -> CommentRead:
    comment = await service.comment(porf_id, body.text)
    author = await UserService(session).get(comment.author_id)
    return CommentRead(
        id=comment.id,
        author_id=author.id,
        author_name=author.name,
        text=comment.text,
        created_at=comment.created_at,
    )


@router.get("/{porf_id}/history", operation_id="listPorfHistory", summary="What happened", responses=_READING)
async def list_history(
    request: Request, response: Response, service: PorfServiceDep, porf_id: PorfId, paging: EventPaging
) -> HistoryPage:
    page = await service.history(porf_id, paging)
    items = [
        HistoryEvent.model_validate({name: getattr(row, name) for name in HistoryEvent.model_fields})
        for row in page.items
    ]
    return HistoryPage(items=items, **link_next(request, response, page))
