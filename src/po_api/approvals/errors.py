"""Errors of approvals; their codes are also the reasons in `allowed_actions`."""

from po_api.core.errors import Conflict, Forbidden, Unprocessable


class OwnRequest(Forbidden):
    """Authors of a request may not decide on it unless the organisation allows self-approval: the member who raised it,
    everybody who has edited or submitted it, and its present and former requesters."""

    code = "own_request"
    title = "Self-approval is not allowed"


class OverApprovalLimit(Forbidden):
    """What can be ordered of the request at most exceeds the caller's approval limit: its total with the tolerance by
    which orders may exceed the quantities, in the base currency. A request without an amount in the base currency,
    which was submitted before the organisation had exchange rates, exceeds every limit: recall it, and submit it
    again."""

    code = "over_approval_limit"
    title = "Total exceeds the approval limit"


class LimitInOtherCurrency(Forbidden):
    """The approval limit is in the organisation's base currency, and the organisation has no exchange rates: a request
    in another currency requires an approver without a limit."""

    code = "limit_in_other_currency"
    title = "Another currency requires an approver without a limit"


class ApproverInactive(Forbidden):
    """The caller was deactivated or lost the role `approver` before the decision was recorded."""

    code = "approver_inactive"
    title = "No longer entitled to decide"


class NotEligible(Forbidden):
    """No step of the approval asks the caller, or somebody who has delegated to them."""

    code = "not_eligible"
    title = "Not asked for approval"


class NotYourTurn(Conflict):
    """The step that asks the caller waits for the steps before it."""

    code = "not_your_turn"
    title = "Earlier steps are not decided"


class AlreadyDecided(Conflict):
    """The steps that ask the caller are decided, by the caller or by others."""

    code = "already_decided"
    title = "Already decided"


class RunClosed(Conflict):
    """No approval of the request is open, or the step is not one of it: read `/porfs/{porf_id}/approval` again."""

    code = "run_closed"
    title = "Not in the open approval"


class OverrideDisabled(Forbidden):
    """The organisation does not allow admins to approve against the rules (`allow_override`)."""

    code = "override_disabled"
    title = "Overriding is not allowed"


class TooManyAddedApprovers(Conflict):
    """Approvers have been added as often as possible since the submission: 50 times, removed ones included."""

    code = "too_many_added_approvers"
    title = "Too many added approvers"


class StepNotRemovable(Conflict):
    """Only steps that were added, and that nobody has decided, are removed: by who has added them, or by an admin."""

    code = "step_not_removable"
    title = "The step cannot be removed"


class StepNotReassignable(Conflict):
    """Only open steps of people are reassigned, from a person who has not decided: pools have members instead."""

    code = "step_not_reassignable"
    title = "The step cannot be reassigned"


class UnknownApprover(Unprocessable):
    """The organisation has no active approver with this id, or they are an author of the request, or a person of the
    step already."""

    code = "unknown_approver"
    title = "Not a member who may be asked for approval"
