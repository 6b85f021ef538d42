"""/porfs/{porf_id}/comments and /porfs/{porf_id}/files."""

from typing import Annotated

from fastapi import Form, Request, Response

from po_api.comments.dependencies import CommentId, CommentPaging
from po_api.comments.schemas import CommentCreate, CommentPage, CommentRead, CommentUpdate
from po_api.core.permissions import Permission
from po_api.files.dependencies import CHECKED_FILE, FILES, CheckedFileDep, FileId, FilePaging, attached, download
from po_api.files.schemas import FileBody, FilePage, FileRead
from po_api.porfs.dependencies import PorfCollaborationDep, PorfReadServiceDep
from po_api.porfs.router import PorfId
from po_api.web.dependencies import ActorDep, page_of_json
from po_api.web.etags import IfMatch, shown
from po_api.web.idempotency import IDEMPOTENT
from po_api.web.openapi import problems
from po_api.web.routing import api_router, requires

router = api_router(prefix="/porfs", tags=["porfs"])

_READING = problems(403, 404)
_CHANGING = problems(403, 404, 409, 412, 428)


@router.get(
    "/{porf_id}/comments",
    operation_id="listPorfComments",
    summary="List comments",
    response_model=CommentPage,
    responses=_READING,
    openapi_extra=requires(Permission.PORFS_READ),
)
async def list_comments(
    request: Request, porfs: PorfReadServiceDep, porf_id: PorfId, paging: CommentPaging
) -> Response:
    return page_of_json(request, await porfs.comments(porf_id, paging))


@router.post(
    "/{porf_id}/comments",
    operation_id="addPorfComment",
    summary="Add a comment",
    status_code=201,
    response_model=CommentRead,
    dependencies=[IDEMPOTENT],
    responses=_READING | problems(409),
    openapi_extra=requires(Permission.PORFS_COMMENT),
)
async def add_comment(service: PorfCollaborationDep, porf_id: PorfId, body: CommentCreate) -> Response:
    """Add a comment. Auditors cannot."""
    return shown(await service.comment(porf_id, body.text), status=201)


@router.patch(
    "/{porf_id}/comments/{comment_id}",
    operation_id="updatePorfComment",
    summary="Edit a comment",
    response_model=CommentRead,
    responses=_CHANGING,
    openapi_extra=requires(Permission.PORFS_COMMENT),
)
async def update_comment(
    service: PorfCollaborationDep, porf_id: PorfId, comment_id: CommentId, expected: IfMatch, body: CommentUpdate
) -> Response:
    """Edit one's own comment within 15 minutes."""
    return shown(await service.edit_comment(porf_id, comment_id, body.text, expected=expected))


@router.delete(
    "/{porf_id}/comments/{comment_id}",
    operation_id="deletePorfComment",
    summary="Delete a comment",
    status_code=204,
    responses=_CHANGING,
    openapi_extra=requires(Permission.PORFS_COMMENT),
)
async def delete_comment(
    service: PorfCollaborationDep, porf_id: PorfId, comment_id: CommentId, expected: IfMatch
) -> None:
    """Delete one's own comment within 15 minutes, or any with the role `admin`. It is listed without its text."""
    await service.delete_comment(porf_id, comment_id, expected=expected)


@router.get(
    "/{porf_id}/files",
    operation_id="listPorfFiles",
    summary="List files",
    response_model=FilePage,
    responses=_READING,
    openapi_extra=requires(Permission.PORFS_READ),
)
async def list_files(request: Request, porfs: PorfReadServiceDep, porf_id: PorfId, paging: FilePaging) -> Response:
    """List the files of a request and of the comments on it."""
    return page_of_json(request, await porfs.files(porf_id, paging))


@router.post(
    "/{porf_id}/files",
    operation_id="addPorfFile",
    summary="Upload a file",
    status_code=201,
    response_model=FileRead,
    # The file is scanned before the transaction begins, with the second one.
    dependencies=[CHECKED_FILE, IDEMPOTENT],
    responses=_READING | problems(409, 413, 415, 503),
    openapi_extra=requires(Permission.PORFS_COMMENT, is_heavy=True),
)
async def add_file(
    service: PorfCollaborationDep,
    porf_id: PorfId,
    file: CheckedFileDep,
    body: Annotated[FileBody, Form(media_type="multipart/form-data")],
) -> Response:
    """Attach a file to a request, or with `comment_id` to one's own comment on it; each has at most 50. Auditors
    cannot."""
    assert file is not None  # the form has one
    return attached(*await service.attach(porf_id, file, comment_id=body.comment), f"{router.prefix}/{porf_id}")


@router.get(
    "/{porf_id}/files/{file_id}/content",
    operation_id="getPorfFile",
    summary="Download a file",
    response_class=Response,
    responses=FILES | _READING,
    openapi_extra=requires(Permission.PORFS_READ),
)
async def get_file(
    request: Request, actor: ActorDep, porfs: PorfReadServiceDep, porf_id: PorfId, file_id: FileId
) -> Response:
    return await download(request, actor, await porfs.file(porf_id, file_id))


@router.delete(
    "/{porf_id}/files/{file_id}",
    operation_id="deletePorfFile",
    summary="Delete a file",
    status_code=204,
    responses=_READING | problems(409),
    openapi_extra=requires(Permission.PORFS_COMMENT),
)
async def delete_file(service: PorfCollaborationDep, porf_id: PorfId, file_id: FileId) -> None:
    """Delete a file that one has uploaded, or any with the role `admin`."""
    await service.delete_file(porf_id, file_id)
