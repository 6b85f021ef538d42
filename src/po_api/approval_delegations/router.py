"""/approval-delegations"""

from typing import Annotated

from fastapi import Path, Request, Response

from po_api.approval_delegations.dependencies import (
    DelegationFiltersDep,
    DelegationPaging,
    DelegationQueriesDep,
    DelegationServiceDep,
)
from po_api.approval_delegations.schemas import DelegationCreate, DelegationPage, DelegationRead
from po_api.core.permissions import Permission
from po_api.web.dependencies import DryRun, link_next
from po_api.web.idempotency import IDEMPOTENT
from po_api.web.openapi import problems
from po_api.web.routing import api_router, requires
from po_api.web.schemas import MAX_ID

router = api_router(prefix="/approval-delegations", tags=["delegations"])

DelegationId = Annotated[int, Path(ge=1, le=MAX_ID)]


@router.get(
    "",
    operation_id="listApprovalDelegations",
    summary="List delegations",
    responses=problems(403),
    openapi_extra=requires(Permission.DELEGATIONS_READ),
)
async def list_delegations(
    request: Request,
    response: Response,
    delegations: DelegationQueriesDep,
    filters: DelegationFiltersDep,
    paging: DelegationPaging,
) -> DelegationPage:
    """List delegations by the caller and to the caller; all with the role `admin` or `auditor`."""
    page = await delegations.page(filters, paging)
    items = [DelegationRead.model_validate(row) for row in page.items]
    return DelegationPage(items=items, **link_next(request, response, page))


@router.post(
    "",
    operation_id="createApprovalDelegation",
    summary="Delegate approvals",
    status_code=201,
    dependencies=[IDEMPOTENT],
    responses=problems(403, 409),
    openapi_extra=requires(Permission.DELEGATIONS_WRITE),
)
async def create_delegation(
    response: Response,
    service: DelegationServiceDep,
    body: DelegationCreate,
    dry_run: DryRun,
) -> DelegationRead:
    """Let another member decide in the caller's place for some time. Requires the role `approver`; an admin may do so
    for any approver, but not name themselves as the delegate (403 `own_rights`).

    The delegate decides with the delegator's limit, and on nothing that either of them has written. Several delegates
    at a time are possible; what was delegated to somebody is not delegated further. The decisions name both."""
    delegation = await service.add(**body.model_dump())
    response.headers["Location"] = f"/api/v1/approval-delegations/{delegation.id}"
    return DelegationRead.model_validate(delegation)


@router.get(
    "/{delegation_id}",
    operation_id="getApprovalDelegation",
    summary="Get a delegation",
    responses=problems(403, 404),
    openapi_extra=requires(Permission.DELEGATIONS_READ),
)
async def get_delegation(delegations: DelegationQueriesDep, delegation_id: DelegationId) -> DelegationRead:
    return DelegationRead.model_validate(await delegations.get(delegation_id))


@router.post(
    "/{delegation_id}/revoke",
    operation_id="revokeApprovalDelegation",
    summary="Revoke a delegation",
    dependencies=[IDEMPOTENT],
    responses=problems(403, 404, 409),
    openapi_extra=requires(Permission.DELEGATIONS_WRITE),
)
async def revoke_delegation(
    service: DelegationServiceDep, delegation_id: DelegationId, dry_run: DryRun
) -> DelegationRead:
    """End a delegation now. The delegator and admins may do so."""
    return DelegationRead.model_validate(await service.revoke(delegation_id))
