"""/porfs/{porf_id}/approval and /approval-runs: how a request is, or was, approved."""

from typing import Annotated

from fastapi import Depends, Request, Response

from po_api.approvals.schemas import ApprovalRunPage, ApprovalRunRead
from po_api.core.permissions import Permission
from po_api.db.pagination import PageRequest
from po_api.porfs.dependencies import PorfReadServiceDep
from po_api.porfs.queries import RUN_SORTS
from po_api.porfs.router import PorfId
from po_api.web.dependencies import page_of_json, paging
from po_api.web.openapi import problems
from po_api.web.routing import api_router, requires

router = api_router(prefix="/porfs", tags=["porfs"])

RunPaging = Annotated[PageRequest, Depends(paging(*RUN_SORTS))]


@router.get(
    "/{porf_id}/approval",
    operation_id="getPorfApproval",
    summary="Get the approval of a purchase order request",
    response_model=ApprovalRunRead,
    responses=problems(403, 404),
    openapi_extra=requires(Permission.PORFS_READ),
)
async def get_porf_approval(porfs: PorfReadServiceDep, porf_id: PorfId) -> Response:
    """The approval of the last submission, with its steps, people and decisions."""
    return Response(await porfs.approval(porf_id), media_type="application/json")


@router.get(
    "/{porf_id}/approval-runs",
    operation_id="listPorfApprovalRuns",
    summary="List the approvals of a purchase order request",
    response_model=ApprovalRunPage,
    responses=problems(403, 404),
    openapi_extra=requires(Permission.PORFS_READ),
)
async def list_porf_approval_runs(
    request: Request, porfs: PorfReadServiceDep, porf_id: PorfId, paging: RunPaging
) -> Response:
    """One for each submission, the last one first."""
    return page_of_json(request, await porfs.approval_runs(porf_id, paging))
