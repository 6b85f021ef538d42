"""Delegations in the statements of other features; they have the parameters `organisation_id`, `user_id` and `now`."""

from datetime import datetime

from sqlalchemy import ColumnElement, FromClause, and_, select

from po_api.approval_delegations.models import ApprovalDelegation
from po_api.db.bulk_write import NOW
from po_api.db.query import ORGANISATION_ID, USER_ID, AnySelect

_DELEGATIONS = ApprovalDelegation.__table__


def delegators() -> AnySelect:
    """The members for whom the member may decide now. It is not transitive."""
    c = _DELEGATIONS.c
    return select(c.delegator_id).where(
        c.organisation_id == ORGANISATION_ID,
        c.delegate_id == USER_ID,
        # What is revoked is over: nothing is revoked in advance.
        c.revoked_at.is_(None),
        covers(_DELEGATIONS, NOW),
    )


def covers(delegations: FromClause, at: ColumnElement[datetime]) -> ColumnElement[bool]:
    """Whether a time is in the period of a delegation: from its start on, and before its end."""
    return and_(delegations.c.starts_at <= at, at < delegations.c.ends_at)
