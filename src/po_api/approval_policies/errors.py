"""Errors of approval policies."""

from po_api.core.errors import Conflict, NotFound


class ApprovalPolicyNotFound(NotFound):
    """The approval policy does not exist, or does not belong to the caller's organisation."""

    code = "approval_policy_not_found"
    title = "Approval policy not found"


class ApprovalRuleNotFound(NotFound):
    """The approval policy has no rule with this id."""

    code = "approval_rule_not_found"
    title = "Approval rule not found"


class NoApprover(Conflict):
    """No active member may approve this request. `detail` names the rules of the approval policy for which too few
    people may decide; without a policy, it says how many could with a higher limit, and how high the highest one is. An
    administrator has to change the policy, or grant the role or a higher limit."""

    code = "no_approver"
    title = "No eligible approver"
