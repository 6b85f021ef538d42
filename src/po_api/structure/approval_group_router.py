"""/approval-groups"""

from typing import Annotated

from fastapi import Path, Request, Response

from po_api.core.permissions import Permission
from po_api.history.dependencies import HistoryPaging, HistoryQueriesDep
from po_api.history.schemas import HistoryPage
from po_api.structure.dependencies import (
    ApprovalGroupFiltersDep,
    ApprovalGroupQueriesDep,
    ApprovalGroupServiceDep,
    NamedPaging,
    StructureQueriesDep,
)
from po_api.structure.schemas import (
    ApprovalGroupCreate,
    ApprovalGroupPage,
    ApprovalGroupRead,
    ApprovalGroupSummary,
    ApprovalGroupUpdate,
    GroupMember,
)
from po_api.web.dependencies import DryRun, link_next, page_of_json
from po_api.web.etags import IfMatch, set_version
from po_api.web.idempotency import IDEMPOTENT
from po_api.web.openapi import problems
from po_api.web.routing import api_router, requires
from po_api.web.schemas import MAX_ID

router = api_router(prefix="/approval-groups", tags=["approval groups"])

ApprovalGroupId = Annotated[int, Path(ge=1, le=MAX_ID)]
_CHANGING = problems(403, 404, 409, 412, 428)


async def _read(
    response: Response, groups: ApprovalGroupQueriesDep, structure: StructureQueriesDep, group_id: int
) -> ApprovalGroupRead:
    row = await groups.get(group_id)
    members = [GroupMember.model_validate(member) for member in await structure.members_of(group_id)]
    set_version(response, row.version)
    return ApprovalGroupRead(**row._asdict(), members=members)


@router.get(
    "",
    operation_id="listApprovalGroups",
    summary="List approval groups",
    responses=problems(403),
    openapi_extra=requires(Permission.STRUCTURE_READ),
)
async def list_approval_groups(
    request: Request,
    response: Response,
    approval_groups: ApprovalGroupQueriesDep,
    filters: ApprovalGroupFiltersDep,
    paging: NamedPaging,
) -> ApprovalGroupPage:
    page = await approval_groups.page(filters, paging)
    items = [ApprovalGroupSummary.model_validate(row) for row in page.items]
    return ApprovalGroupPage(items=items, **link_next(request, response, page))


@router.post(
    "",
    operation_id="createApprovalGroup",
    summary="Add an approval group",
    status_code=201,
    dependencies=[IDEMPOTENT],
    responses=problems(403, 409),
    openapi_extra=requires(Permission.STRUCTURE_WRITE),
)
async def create_approval_group(
    response: Response,
    service: ApprovalGroupServiceDep,
    approval_groups: ApprovalGroupQueriesDep,
    structure: StructureQueriesDep,
    body: ApprovalGroupCreate,
) -> ApprovalGroupRead:
    """Add an approval group. Requires the role `admin`."""
    approval_group_id = await service.create(body.model_dump())
    response.headers["Location"] = f"/api/v1/approval-groups/{approval_group_id}"
    return await _read(response, approval_groups, structure, approval_group_id)


@router.get(
    "/{approval_group_id}",
    operation_id="getApprovalGroup",
    summary="Get an approval group",
    responses=problems(403, 404),
    openapi_extra=requires(Permission.STRUCTURE_READ),
)
async def get_approval_group(
    response: Response,
    approval_groups: ApprovalGroupQueriesDep,
    structure: StructureQueriesDep,
    approval_group_id: ApprovalGroupId,
) -> ApprovalGroupRead:
    return await _read(response, approval_groups, structure, approval_group_id)


@router.patch(
    "/{approval_group_id}",
    operation_id="updateApprovalGroup",
    summary="Update an approval group",
    responses=_CHANGING,
    openapi_extra=requires(Permission.STRUCTURE_WRITE),
)
async def update_approval_group(
    response: Response,
    service: ApprovalGroupServiceDep,
    approval_groups: ApprovalGroupQueriesDep,
    structure: StructureQueriesDep,
    approval_group_id: ApprovalGroupId,
    expected: IfMatch,
    body: ApprovalGroupUpdate,
) -> ApprovalGroupRead:
    """Update an approval group. Requires the role `admin`."""
    await service.update(approval_group_id, expected=expected, values=body.model_dump())
    return await _read(response, approval_groups, structure, approval_group_id)


@router.post(
    "/{approval_group_id}/deactivate",
    operation_id="deactivateApprovalGroup",
    summary="Deactivate an approval group",
    dependencies=[IDEMPOTENT],
    responses=_CHANGING,
    openapi_extra=requires(Permission.STRUCTURE_WRITE),
)
async def deactivate_approval_group(
    response: Response,
    service: ApprovalGroupServiceDep,
    approval_groups: ApprovalGroupQueriesDep,
    structure: StructureQueriesDep,
    approval_group_id: ApprovalGroupId,
    expected: IfMatch,
    dry_run: DryRun,
) -> ApprovalGroupRead:
    """Deactivate an approval group: nothing new refers to it. Requires the role `admin`."""
    await service.set_active(approval_group_id, active=False, expected=expected)
    return await _read(response, approval_groups, structure, approval_group_id)


@router.post(
    "/{approval_group_id}/activate",
    operation_id="activateApprovalGroup",
    summary="Reactivate an approval group",
    dependencies=[IDEMPOTENT],
    responses=_CHANGING,
    openapi_extra=requires(Permission.STRUCTURE_WRITE),
)
async def activate_approval_group(
    response: Response,
    service: ApprovalGroupServiceDep,
    approval_groups: ApprovalGroupQueriesDep,
    structure: StructureQueriesDep,
    approval_group_id: ApprovalGroupId,
    expected: IfMatch,
    dry_run: DryRun,
) -> ApprovalGroupRead:
    """Reactivate a deactivated approval group. Requires the role `admin`."""
    await service.set_active(approval_group_id, active=True, expected=expected)
    return await _read(response, approval_groups, structure, approval_group_id)


@router.get(
    "/{approval_group_id}/history",
    operation_id="listApprovalGroupHistory",
    summary="List the history of an approval group",
    response_model=HistoryPage,
    responses=problems(403, 404),
    openapi_extra=requires(Permission.STRUCTURE_READ),
)
async def list_approval_group_history(
    request: Request,
    approval_groups: ApprovalGroupQueriesDep,
    history: HistoryQueriesDep,
    approval_group_id: ApprovalGroupId,
    paging: HistoryPaging,
) -> Response:
    await approval_groups.get(approval_group_id)
    return page_of_json(request, await history.of("approval_group", approval_group_id, paging))
