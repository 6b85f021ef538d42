"""Delegations in the statements of other features; they have the parameters `organisation_id` and `now`."""

from sqlalchemy import ColumnElement, FromClause, SQLColumnExpression, and_, select, true

from po_api.approval_delegations.models import ApprovalDelegation
from po_api.db.bulk_write import NOW
from po_api.db.query import ORGANISATION_ID

_DELEGATIONS = ApprovalDelegation.__table__


def is_in_effect(delegations: FromClause, at: ColumnElement[object] = NOW) -> ColumnElement[bool]:
    """Whether a delegation is in effect at a time: from its start on, before its end, and not revoked by then."""
    c = delegations.c
    return and_(c.starts_at <= at, at < c.ends_at, c.revoked_at.is_(None) | (at < c.revoked_at))


def stands_for(delegate_id: SQLColumnExpression[int], delegator_id: SQLColumnExpression[int]) -> ColumnElement[bool]:
    """Whether one member may decide for the other now. It is not transitive."""
    return (
        select(true())
        .select_from(_DELEGATIONS)
        .where(
            _DELEGATIONS.c.organisation_id == ORGANISATION_ID,
            _DELEGATIONS.c.delegate_id == delegate_id,
            _DELEGATIONS.c.delegator_id == delegator_id,
            is_in_effect(_DELEGATIONS),
        )
        .exists()
    )
