"""/approval-policies"""

from collections.abc import Mapping
from json import loads
from typing import Annotated

from fastapi import Path, Request, Response

from po_api.approval_policies.dependencies import (
    PolicyFiltersDep,
    PolicyPaging,
    PolicyQueriesDep,
    PolicyServiceDep,
    RulePaging,
)
from po_api.approval_policies.queries import RuleRow
from po_api.approval_policies.schemas import (
    ApprovalPolicyCreate,
    ApprovalPolicyPage,
    ApprovalPolicyPublished,
    ApprovalPolicyRead,
    ApprovalPolicySummary,
    ApprovalPolicyUpdate,
    ApprovalRuleCreate,
    ApprovalRulePage,
    ApprovalRuleRead,
    ApprovalRuleUpdate,
)
from po_api.core.permissions import Permission
from po_api.history.dependencies import HistoryPaging, HistoryQueriesDep
from po_api.history.schemas import HistoryPage
from po_api.web.dependencies import DryRun, link_next, page_of_json
from po_api.web.etags import IfMatch, set_version
from po_api.web.idempotency import IDEMPOTENT
from po_api.web.openapi import problems, tagged
from po_api.web.routing import api_router, requires
from po_api.web.schemas import MAX_ID

router = api_router(prefix="/approval-policies", tags=["approval policies"])

PolicyId = Annotated[int, Path(ge=1, le=MAX_ID)]
RuleId = Annotated[int, Path(ge=1, le=MAX_ID)]
_READ, _WRITE = requires(Permission.APPROVAL_POLICIES_READ), requires(Permission.APPROVAL_POLICIES_WRITE)
_CHANGING = problems(403, 404, 409, 412, 428)
_JSON = {"conditions", "approvers"}


def _rule(row: RuleRow) -> ApprovalRuleRead:
    values = row._asdict()
    return ApprovalRuleRead.model_validate(values | {name: loads(values[name]) for name in _JSON})


def _columns(body: ApprovalRuleCreate | ApprovalRuleUpdate) -> Mapping[str, object]:
    """The columns of a rule; conditions and approvers as JSON."""
    return body.model_dump() | body.model_dump(mode="json", include=_JSON)


async def _read(response: Response, policies: PolicyQueriesDep, policy_id: int) -> ApprovalPolicyRead:
    row = await policies.get(policy_id)
    rules = [_rule(rule) for rule in await policies.rules(policy_id)]
    set_version(response, row.version)
    return ApprovalPolicyRead(**row._asdict(), rules=rules)


async def _read_rule(response: Response, policies: PolicyQueriesDep, policy_id: int, rule_id: int) -> ApprovalRuleRead:
    set_version(response, (await policies.get(policy_id)).version)
    return _rule(await policies.rule(policy_id, rule_id))


@router.get(
    "",
    operation_id="listApprovalPolicies",
    summary="List approval policies",
    responses=problems(403),
    openapi_extra=_READ,
)
async def list_approval_policies(
    request: Request, response: Response, policies: PolicyQueriesDep, filters: PolicyFiltersDep, paging: PolicyPaging
) -> ApprovalPolicyPage:
    """List the versions of approval policies, newest first. Requires the role `admin` or `auditor`."""
    page = await policies.page(filters, paging)
    items = [ApprovalPolicySummary.model_validate(row) for row in page.items]
    return ApprovalPolicyPage(items=items, **link_next(request, response, page))


@router.post(
    "",
    operation_id="createApprovalPolicy",
    summary="Draft an approval policy",
    status_code=201,
    dependencies=[IDEMPOTENT],
    responses=problems(403, 404, 409),
    openapi_extra=_WRITE,
)
async def create_approval_policy(
    response: Response, service: PolicyServiceDep, policies: PolicyQueriesDep, body: ApprovalPolicyCreate
) -> ApprovalPolicyRead:
    """Add a draft of the next version: new, or a copy of another version. Requires the role `admin`."""
    policy_id = await service.create(
        body.model_dump(exclude={"from_id", "document_type", "rules"}),
        document_type=body.document_type,
        copied_from=body.from_id,
        rules=[_columns(rule) for rule in body.rules] if isinstance(body.rules, list) else None,
    )
    response.headers["Location"] = f"/api/v1/approval-policies/{policy_id}"
    return await _read(response, policies, policy_id)


@router.get(
    "/{policy_id}",
    operation_id="getApprovalPolicy",
    summary="Get an approval policy",
    responses=problems(403, 404),
    openapi_extra=_READ,
)
async def get_approval_policy(
    response: Response, policies: PolicyQueriesDep, policy_id: PolicyId
) -> ApprovalPolicyRead:
    """Get a version with its rules. Requires the role `admin` or `auditor`."""
    return await _read(response, policies, policy_id)


@router.patch(
    "/{policy_id}",
    operation_id="updateApprovalPolicy",
    summary="Update a draft of an approval policy",
    responses=_CHANGING,
    openapi_extra=_WRITE,
)
async def update_approval_policy(
    response: Response,
    service: PolicyServiceDep,
    policies: PolicyQueriesDep,
    policy_id: PolicyId,
    expected: IfMatch,
    body: ApprovalPolicyUpdate,
) -> ApprovalPolicyRead:
    """Update a draft. Requires the role `admin`."""
    await service.update(policy_id, expected=expected, values=body.model_dump())
    return await _read(response, policies, policy_id)


@router.delete(
    "/{policy_id}",
    operation_id="deleteApprovalPolicy",
    summary="Delete a draft of an approval policy",
    status_code=204,
    responses=_CHANGING,
    openapi_extra=_WRITE,
)
async def delete_approval_policy(service: PolicyServiceDep, policy_id: PolicyId, expected: IfMatch) -> None:
    """Delete a draft with its rules. Requires the role `admin`."""
    await service.delete(policy_id, expected=expected)


@router.post(
    "/{policy_id}/publish",
    operation_id="publishApprovalPolicy",
    summary="Publish an approval policy",
    dependencies=[IDEMPOTENT],
    responses=_CHANGING,
    openapi_extra=_WRITE,
)
async def publish_approval_policy(
    response: Response,
    service: PolicyServiceDep,
    policies: PolicyQueriesDep,
    policy_id: PolicyId,
    expected: IfMatch,
    dry_run: DryRun,
) -> ApprovalPolicyPublished:
    """Publish a draft: requests that are submitted from now on follow it. Requires the role `admin`.

    The version before is retired; pending requests keep it. With `dry_run`, what would be refused is reported.
    """
    open_runs = await service.publish(policy_id, expected=expected)
    shown = await _read(response, policies, policy_id)
    return ApprovalPolicyPublished(**dict(shown), open_runs=open_runs)


@router.post(
    "/{policy_id}/retire",
    operation_id="retireApprovalPolicy",
    summary="Retire an approval policy",
    dependencies=[IDEMPOTENT],
    responses=_CHANGING,
    openapi_extra=_WRITE,
)
async def retire_approval_policy(
    response: Response,
    service: PolicyServiceDep,
    policies: PolicyQueriesDep,
    policy_id: PolicyId,
    expected: IfMatch,
    dry_run: DryRun,
) -> ApprovalPolicyRead:
    """Retire the published version: any approver decides on requests submitted later. Requires the role `admin`."""
    await service.retire(policy_id, expected=expected)
    return await _read(response, policies, policy_id)


@router.get(
    "/{policy_id}/rules",
    operation_id="listApprovalRules",
    summary="List the rules of an approval policy",
    responses=problems(403, 404),
    openapi_extra=_READ,
)
async def list_approval_rules(
    request: Request, response: Response, policies: PolicyQueriesDep, policy_id: PolicyId, paging: RulePaging
) -> ApprovalRulePage:
    """List the rules by stage and position. Requires the role `admin` or `auditor`."""
    page = await policies.rules_page(policy_id, paging)
    return ApprovalRulePage(items=[_rule(row) for row in page.items], **link_next(request, response, page))


@router.post(
    "/{policy_id}/rules",
    operation_id="addApprovalRule",
    summary="Add a rule to a draft of an approval policy",
    status_code=201,
    dependencies=[IDEMPOTENT],
    responses=_CHANGING | tagged(201),
    openapi_extra=_WRITE,
)
async def add_approval_rule(
    response: Response,
    service: PolicyServiceDep,
    policies: PolicyQueriesDep,
    policy_id: PolicyId,
    expected: IfMatch,
    body: ApprovalRuleCreate,
) -> ApprovalRuleRead:
    """Add a rule to a draft; the ETag is that of the policy. Requires the role `admin`."""
    rule_id = await service.add_rule(policy_id, expected=expected, values=_columns(body))
    response.headers["Location"] = f"/api/v1/approval-policies/{policy_id}/rules/{rule_id}"
    return await _read_rule(response, policies, policy_id, rule_id)


@router.get(
    "/{policy_id}/rules/{rule_id}",
    operation_id="getApprovalRule",
    summary="Get a rule of an approval policy",
    responses=problems(403, 404) | tagged(),
    openapi_extra=_READ,
)
async def get_approval_rule(
    response: Response, policies: PolicyQueriesDep, policy_id: PolicyId, rule_id: RuleId
) -> ApprovalRuleRead:
    """Get a rule. Its ETag is the ETag of the policy. Requires the role `admin` or `auditor`."""
    return await _read_rule(response, policies, policy_id, rule_id)


@router.patch(
    "/{policy_id}/rules/{rule_id}",
    operation_id="updateApprovalRule",
    summary="Update a rule of a draft of an approval policy",
    responses=_CHANGING | tagged(),
    openapi_extra=_WRITE,
)
async def update_approval_rule(
    response: Response,
    service: PolicyServiceDep,
    policies: PolicyQueriesDep,
    policy_id: PolicyId,
    rule_id: RuleId,
    expected: IfMatch,
    body: ApprovalRuleUpdate,
) -> ApprovalRuleRead:
    """Update a rule of a draft; the ETag is that of the policy. Requires the role `admin`."""
    await service.update_rule(policy_id, rule_id, expected=expected, values=_columns(body))
    return await _read_rule(response, policies, policy_id, rule_id)


@router.delete(
    "/{policy_id}/rules/{rule_id}",
    operation_id="deleteApprovalRule",
    summary="Delete a rule of a draft of an approval policy",
    status_code=204,
    responses=_CHANGING,
    openapi_extra=_WRITE,
)
async def delete_approval_rule(
    service: PolicyServiceDep, policy_id: PolicyId, rule_id: RuleId, expected: IfMatch
) -> None:
    """Delete a rule of a draft. Requires the role `admin`."""
    await service.delete_rule(policy_id, rule_id, expected=expected)


@router.get(
    "/{policy_id}/history",
    operation_id="listApprovalPolicyHistory",
    summary="List the history of an approval policy",
    response_model=HistoryPage,
    responses=problems(403, 404),
    openapi_extra=_READ,
)
async def list_approval_policy_history(
    request: Request,
    policies: PolicyQueriesDep,
    history: HistoryQueriesDep,
    policy_id: PolicyId,
    paging: HistoryPaging,
) -> Response:
    """List the changes of a version. Requires the role `admin` or `auditor`."""
    await policies.get(policy_id)
    return page_of_json(request, await history.of("approval_policy", policy_id, paging))
