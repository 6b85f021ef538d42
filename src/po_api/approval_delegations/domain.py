"""The rules of delegations: half-open periods [start, end) of at most 366 days, which may be revoked."""

from datetime import datetime, timedelta
from enum import StrEnum

from po_api.approval_delegations.errors import InvalidDelegationPeriod

LONGEST = timedelta(days=366)
# Of one delegator, not ended: the inbox of a delegate looks at the work of all their delegators.
MOST_DELEGATIONS = 20


class DelegationWarning(StrEnum):
    """Why a delegation has no effect: its delegate is not an active approver now."""

    DELEGATE_MAY_NOT_DECIDE = "delegate_may_not_decide"


def require_period(starts_at: datetime, ends_at: datetime, now: datetime) -> None:
    """Raise InvalidDelegationPeriod unless the period can be that of a new delegation."""
    if ends_at <= max(starts_at, now):
        raise _invalid("must be after the start, and after now")
    if ends_at - starts_at > LONGEST:
        raise _invalid(f"must be at most {LONGEST.days} days after the start")


def _invalid(detail: str) -> InvalidDelegationPeriod:
    return InvalidDelegationPeriod.at("/ends_at", detail=detail)
