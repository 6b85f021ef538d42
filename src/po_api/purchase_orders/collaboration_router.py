"""/purchase-orders/{order_id}/comments and /purchase-orders/{order_id}/files."""

from typing import Annotated

from fastapi import Form, Request, Response

from po_api.comments.dependencies import CommentId, CommentPaging
from po_api.comments.schemas import CommentCreate, CommentPage, CommentRead, CommentUpdate
from po_api.core.permissions import Permission
from po_api.files.dependencies import CHECKED_FILE, FILES, CheckedFileDep, FileId, FilePaging, attached, download
from po_api.files.schemas import FilePage, FileRead, OrderFileBody
from po_api.purchase_orders.dependencies import OrderCollaborationDep, OrderCollaborationQueriesDep
from po_api.purchase_orders.router import OrderId
from po_api.web.dependencies import ActorDep, page_of_json
from po_api.web.etags import IfMatch, shown
from po_api.web.idempotency import IDEMPOTENT
from po_api.web.openapi import problems
from po_api.web.routing import api_router, requires

router = api_router(prefix="/purchase-orders", tags=["purchase orders"])

_READING = problems(403, 404)
_CHANGING = problems(403, 404, 409, 412, 428)


@router.get(
    "/{order_id}/comments",
    operation_id="listPurchaseOrderComments",
    summary="List comments",
    response_model=CommentPage,
    responses=_READING,
    openapi_extra=requires(Permission.PURCHASE_ORDERS_READ),
)
async def list_comments(
    request: Request, orders: OrderCollaborationQueriesDep, order_id: OrderId, paging: CommentPaging
) -> Response:
    """List the comments on an order. Requesters of a part of it see those that they have written or that mention
    them."""
    return page_of_json(request, await orders.comments(order_id, paging))


@router.post(
    "/{order_id}/comments",
    operation_id="addPurchaseOrderComment",
    summary="Add a comment",
    status_code=201,
    response_model=CommentRead,
    dependencies=[IDEMPOTENT],
    responses=_READING | problems(409),
    openapi_extra=requires(Permission.PURCHASE_ORDERS_COMMENT),
)
async def add_comment(service: OrderCollaborationDep, order_id: OrderId, body: CommentCreate) -> Response:
    """Add a comment. Auditors cannot."""
    return shown(await service.comment(order_id, body.text), status=201)


@router.patch(
    "/{order_id}/comments/{comment_id}",
    operation_id="updatePurchaseOrderComment",
    summary="Edit a comment",
    response_model=CommentRead,
    responses=_CHANGING,
    openapi_extra=requires(Permission.PURCHASE_ORDERS_COMMENT),
)
async def update_comment(
    service: OrderCollaborationDep, order_id: OrderId, comment_id: CommentId, expected: IfMatch, body: CommentUpdate
) -> Response:
    """Edit one's own comment within 15 minutes."""
    return shown(await service.edit_comment(order_id, comment_id, body.text, expected=expected))


@router.delete(
    "/{order_id}/comments/{comment_id}",
    operation_id="deletePurchaseOrderComment",
    summary="Delete a comment",
    status_code=204,
    responses=_CHANGING,
    openapi_extra=requires(Permission.PURCHASE_ORDERS_COMMENT),
)
async def delete_comment(
    service: OrderCollaborationDep, order_id: OrderId, comment_id: CommentId, expected: IfMatch
) -> None:
    """Delete one's own comment within 15 minutes, or any with the role `admin`. It is listed without its text."""
    await service.delete_comment(order_id, comment_id, expected=expected)


@router.get(
    "/{order_id}/files",
    operation_id="listPurchaseOrderFiles",
    summary="List files",
    response_model=FilePage,
    responses=_READING,
    openapi_extra=requires(Permission.PURCHASE_ORDERS_READ),
)
async def list_files(
    request: Request, orders: OrderCollaborationQueriesDep, order_id: OrderId, paging: FilePaging
) -> Response:
    """List the files of an order and of the comments on it.

    Requesters of a part of the order see the files that they have uploaded, and those of comments that they see."""
    return page_of_json(request, await orders.files(order_id, paging))


@router.post(
    "/{order_id}/files",
    operation_id="addPurchaseOrderFile",
    summary="Upload a file",
    status_code=201,
    response_model=FileRead,
    # The file is scanned before the transaction begins, with the second one.
    dependencies=[CHECKED_FILE, IDEMPOTENT],
    responses=_READING | problems(409, 413, 415, 503),
    openapi_extra=requires(Permission.PURCHASE_ORDERS_COMMENT, is_heavy=True),
)
async def add_file(
    service: OrderCollaborationDep,
    order_id: OrderId,
    file: CheckedFileDep,
    body: Annotated[OrderFileBody, Form(media_type="multipart/form-data")],
) -> Response:
    """Attach a file to an order, or with `comment_id` to one's own comment on it; each has at most 50. Auditors cannot.

    Buyers and admins may attach files for the supplier to a draft, with `visibility=supplier`, at most 10 MiB together:
    they are part of the order when it is issued, cannot be deleted afterwards, and are sent with its document.
    """
    assert file is not None  # the form has one
    added = await service.attach(order_id, file, comment_id=body.comment, visibility=body.visibility)
    return attached(*added, f"{router.prefix}/{order_id}")


@router.get(
    "/{order_id}/files/{file_id}/content",
    operation_id="getPurchaseOrderFile",
    summary="Download a file",
    response_class=Response,
    responses=FILES | _READING,
    openapi_extra=requires(Permission.PURCHASE_ORDERS_READ),
)
async def get_file(
    request: Request, actor: ActorDep, orders: OrderCollaborationQueriesDep, order_id: OrderId, file_id: FileId
) -> Response:
    return await download(request, actor, await orders.file(order_id, file_id))


@router.delete(
    "/{order_id}/files/{file_id}",
    operation_id="deletePurchaseOrderFile",
    summary="Delete a file",
    status_code=204,
    responses=_READING | problems(409),
    openapi_extra=requires(Permission.PURCHASE_ORDERS_COMMENT),
)
async def delete_file(service: OrderCollaborationDep, order_id: OrderId, file_id: FileId) -> None:
    """Delete a file that one has uploaded, or any with the role `admin`."""
    await service.delete_file(order_id, file_id)
