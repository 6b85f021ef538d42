"""/porfs/{porf_id}/override, /add-approver, /remove-approver, /reassign-step: who is asked for approval."""

from fastapi import Response

from po_api.core.permissions import Permission
from po_api.porfs.dependencies import PorfStepActionsDep
from po_api.porfs.router import NO_NOTE, PorfId
from po_api.porfs.schemas import ActionNote, PorfRead
from po_api.porfs.step_actions import NewApprover, Replacement
from po_api.porfs.step_schemas import AddedApproverInput, RemovedApproverInput, StepReassignment
from po_api.web.dependencies import DryRun
from po_api.web.etags import IfMatch, shown
from po_api.web.idempotency import IDEMPOTENT
from po_api.web.openapi import problems
from po_api.web.routing import api_router, requires

router = api_router(prefix="/porfs", tags=["porfs"])

_CHANGING = problems(403, 404, 409, 412, 428)


@router.post(
    "/{porf_id}/override",
    operation_id="overridePorf",
    summary="Approve a pending request against the rules",
    response_model=PorfRead,
    dependencies=[IDEMPOTENT],
    responses=_CHANGING,
    openapi_extra=requires(Permission.PORFS_WRITE_ALL),
)
async def override_porf(
    actions: PorfStepActionsDep, porf_id: PorfId, expected: IfMatch, dry_run: DryRun, body: ActionNote = NO_NOTE
) -> Response:
    """Skip all open steps of the approval. Requires the role `admin`, a comment, and the organisation's setting
    `allow_override`; authors of the request may not."""
    return shown(await actions.override(porf_id, comment=body.comment, expected=expected), dry_run=dry_run)


@router.post(
    "/{porf_id}/add-approver",
    operation_id="addPorfApprover",
    summary="Add an approver to a draft or a pending request",
    response_model=PorfRead,
    dependencies=[IDEMPOTENT],
    responses=_CHANGING,
    openapi_extra=requires(Permission.PORFS_ADD_APPROVERS),
)
async def add_porf_approver(
    actions: PorfStepActionsDep, porf_id: PorfId, expected: IfMatch, dry_run: DryRun, body: AddedApproverInput
) -> Response:
    """Ask one more approver before, with or after those who are asked now. For the requester, approvers whom a step
    asks, buyers and admins. Each submission of a draft asks whom they have added to it."""
    added = NewApprover(body.user_id, body.placement)
    return shown(await actions.add_approver(porf_id, added, expected=expected), dry_run=dry_run)


@router.post(
    "/{porf_id}/remove-approver",
    operation_id="removePorfApprover",
    summary="Remove an added approver",
    response_model=PorfRead,
    dependencies=[IDEMPOTENT],
    responses=_CHANGING,
    openapi_extra=requires(Permission.PORFS_ADD_APPROVERS),
)
async def remove_porf_approver(
    actions: PorfStepActionsDep, porf_id: PorfId, expected: IfMatch, dry_run: DryRun, body: RemovedApproverInput
) -> Response:
    """Remove a step that was added and is not decided, or an approver from a draft: for who has added it, and admins.
    If no other step is open, the request is approved."""
    removed = await actions.remove_approver(porf_id, step_id=body.step_id, user_id=body.user_id, expected=expected)
    return shown(removed, dry_run=dry_run)


@router.post(
    "/{porf_id}/reassign-step",
    operation_id="reassignPorfStep",
    summary="Reassign a step of an approval",
    response_model=PorfRead,
    dependencies=[IDEMPOTENT],
    responses=_CHANGING,
    openapi_extra=requires(Permission.PORFS_WRITE_ALL),
)
async def reassign_porf_step(
    actions: PorfStepActionsDep, porf_id: PorfId, expected: IfMatch, dry_run: DryRun, body: StepReassignment
) -> Response:
    """Ask another approver instead of one who has not decided; with the same `replaced_id` and `user_id`, one whose
    place is vacant, and who may decide again. Requires the role `admin`."""
    new = Replacement(body.step_id, body.user_id, body.replaced_id)
    return shown(await actions.reassign_step(porf_id, new, expected=expected), dry_run=dry_run)
