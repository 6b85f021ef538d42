"""Errors of approval policies."""

from po_api.core.errors import Conflict, NotFound, Unprocessable


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


class ApprovalPolicyNotDraft(Conflict):
    """A published version never changes, and requests that were submitted under it keep it: copy it to a new draft."""

    code = "approval_policy_not_draft"
    title = "Not a draft"


class ApprovalPolicyNotPublished(Conflict):
    """Only the published version can be retired."""

    code = "approval_policy_not_published"
    title = "Not published"


class ApprovalPolicyDraftExists(Conflict):
    """There is a draft of the next version already: change, publish or delete it."""

    code = "approval_policy_draft_exists"
    title = "A draft exists"
    constraint = "uq_approval_policies_draft"


class TooManyRules(Conflict):
    """A version of an approval policy has at most 100 rules."""

    code = "too_many_rules"
    title = "Too many rules"


class InvalidRule(Unprocessable):
    """The rule contradicts itself, or refers to something that the organisation does not have: `errors` has the
    places."""

    code = "invalid_rule"
    title = "Invalid rule"


class UnpublishablePolicy(Conflict):
    """The rules are not ready to be published: something they refer to is unknown or deactivated, people or groups
    cannot decide, or bands of amounts of one stage overlap or have a gap. `errors` has the places, in `policy`."""

    code = "unpublishable_policy"
    title = "Not ready to be published"
