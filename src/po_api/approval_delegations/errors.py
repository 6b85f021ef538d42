"""Errors of delegations."""

from po_api.core.errors import Conflict, NotFound, Unprocessable


class DelegationNotFound(NotFound):
    """The delegation does not exist, or the caller may not see it: members see their own, admins and auditors all."""

    code = "delegation_not_found"
    title = "Delegation not found"


class DelegationEnded(Conflict):
    """The delegation has been revoked, or its time is over."""

    code = "delegation_ended"
    title = "Delegation ended"


class TooManyDelegations(Conflict):
    """The member has delegated to as many as possible: 20 delegations that have not ended."""

    code = "too_many_delegations"
    title = "Too many delegations"


class UnknownDelegator(Unprocessable):
    """The delegator is no active member of the organisation with the role `approver`."""

    code = "unknown_delegator"
    title = "The delegator is no active approver"


class UnknownDelegate(Unprocessable):
    """The delegate is no active member of the organisation, is an auditor, or is the delegator."""

    code = "unknown_delegate"
    title = "The delegate is no active member who may decide for others"


class InvalidDelegationPeriod(Unprocessable):
    """A delegation ends after it starts, after now, and at most 366 days after its start."""

    code = "invalid_delegation_period"
    title = "Invalid period of a delegation"
