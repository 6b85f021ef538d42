"""Previews of approvals: /porfs/{porf_id}/approval-preview and /approval-policies/{policy_id}/simulate."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import Path, Request

from po_api.approval_policies.domain import PlannedStep
from po_api.approval_policies.facts import People
from po_api.approval_policies.schemas import (
    ApprovalPlanRead,
    CarriedApproval,
    PlannedPerson,
    PlannedStepRead,
    PlanWarning,
)
from po_api.approvals.domain import StepStatus
from po_api.approvals.machine import Approval, Step, in_order
from po_api.core.permissions import Permission
from po_api.db.query import TransactionExecutor
from po_api.porfs.plan_schemas import ApprovalSimulation
from po_api.porfs.planning import PorfPlanning, PorfPreview
from po_api.porfs.router import PorfId
from po_api.porfs.simulation import PorfSimulation, RequestedPlan
from po_api.web.dependencies import ActorDep, PrincipalDep, executor_of, session_of
from po_api.web.idempotency import IDEMPOTENT
from po_api.web.openapi import problems
from po_api.web.routing import api_router, requires
from po_api.web.schemas import MAX_ID

router = api_router(prefix="/porfs", tags=["porfs"])
policies_router = api_router(prefix="/approval-policies", tags=["approval policies"])


def _read(preview: PorfPreview) -> ApprovalPlanRead:
    plan = preview.plan
    steps = zip(in_order(plan.steps), preview.steps, strict=True)
    return ApprovalPlanRead(
        policy_id=None if plan.policy is None else plan.policy.id,
        policy_version_no=None if plan.policy is None else plan.policy.version_no,
        steps=[_step(planned, step, plan.people, preview.names) for planned, step in steps],
        warnings=[PlanWarning.model_validate(warning) for warning in plan.warnings],
    )


def _step(planned: PlannedStep, step: Step, people: People, names: Mapping[int, str]) -> PlannedStepRead:
    known = {name: value for name, value in vars(planned).items() if name in PlannedStepRead.model_fields}
    asked = [
        PlannedPerson(user_id=slot.user_id, name=_name(slot.user_id, people, names), origin=slot.origin)
        for slot in planned.slots
    ]
    group_name = None if planned.pool_group_id is None else people.group_names[planned.pool_group_id]
    return PlannedStepRead(
        **known,
        pool_group_name=group_name,
        people=asked,
        carried=[_carried(approval, names) for approval in step.approvals],
        is_approved=step.status is StepStatus.APPROVED,
    )


def _name(user_id: int, people: People, names: Mapping[int, str]) -> str:
    return people.persons[user_id].name if user_id in people.persons else names[user_id]


def _carried(approval: Approval, names: Mapping[int, str]) -> CarriedApproval:
    assert approval.root_id is not None
    return CarriedApproval(
        decision_id=approval.root_id,
        approver_id=approval.approver_id,
        approver_name=names[approval.approver_id],
        on_behalf_of_id=None if approval.principal_id == approval.approver_id else approval.principal_id,
    )


@router.get(
    "/{porf_id}/approval-preview",
    operation_id="previewPorfApproval",
    summary="Preview the approval of a purchase order request",
    responses=problems(403, 404),
    openapi_extra=requires(Permission.PORFS_READ),
)
async def preview_porf_approval(request: Request, actor: ActorDep, porf_id: PorfId) -> ApprovalPlanRead:
    """Who would have to approve the request if its requester submitted it now, by the published policy.

    Approvals that an earlier submission has got, and that would count again, are in `carried`.
    """
    return _read(await PorfPlanning(executor_of(request), actor).preview(porf_id))


@policies_router.post(
    "/{policy_id}/simulate",
    operation_id="simulateApprovalPolicy",
    summary="Simulate an approval policy",
    dependencies=[IDEMPOTENT],
    responses=problems(403, 404, 409),
    openapi_extra=requires(Permission.APPROVAL_POLICIES_WRITE, is_heavy=True),
)
async def simulate_approval_policy(
    request: Request,
    principal: PrincipalDep,
    policy_id: Annotated[int, Path(ge=1, le=MAX_ID)],
    body: ApprovalSimulation,
) -> ApprovalPlanRead:
    """Who would have to approve a request by a version of the policy, which may be a draft. Nothing is changed.

    Requires the role `admin`, and of API keys also the scope `porfs:read` for a `porf_id`.
    """
    actor = principal.actor()
    actor.require(Permission.APPROVAL_POLICIES_WRITE)
    session = session_of(request)
    if body.porf_id is not None:
        principal.require_scope(Permission.PORFS_READ)
        planning = PorfPlanning(TransactionExecutor(session), actor)
        return _read(await planning.preview(body.porf_id, policy_id=policy_id))
    requested = RequestedPlan(**body.model_dump(exclude={"porf_id", "lines"}), lines=body.lines)
    return _read(await PorfSimulation(session, actor).simulate(requested, policy_id=policy_id))
