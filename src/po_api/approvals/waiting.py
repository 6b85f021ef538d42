"""Which open steps may ask a member, found by indexes: those that neither their limit nor their groups rule out.

Whether such a step does ask them depends on the request, too. `projections.py` and `eligibility.py` say that.
"""

from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import BigInteger, ColumnElement, and_, any_, cast, func, literal_column, not_, or_, select

from po_api.approvals.domain import HIGHEST_LEAST_LIMIT, SlotStatus, StepStatus
from po_api.approvals.models import ApprovalSlot, ApprovalStep
from po_api.approvals.projections import PRINCIPALS, of_principals
from po_api.db.fences import ids_of
from po_api.db.query import ORGANISATION_ID, AnySelect
from po_api.structure.models import ApprovalGroupMember

_STEPS, _SLOTS = ApprovalStep.__table__, ApprovalSlot.__table__
_GROUP_MEMBERS = ApprovalGroupMember.__table__
# For no limit, too: `least` ignores NULL.
_HIGHEST: ColumnElement[Decimal] = literal_column(str(HIGHEST_LEAST_LIMIT))


class StepsThatMayAsk(NamedTuple):
    """Steps by how they may ask a member: as a holder of a role, as one of a group, or by name. No step is in two."""

    by_role: AnySelect
    by_group: AnySelect
    by_name: AnySelect


def steps_that_may_ask(status: StepStatus, *columns: str) -> StepsThatMayAsk:
    """These columns of the steps with a status that may ask the member, or one who has delegated to them."""
    groups = ids_of(
        select(_GROUP_MEMBERS.c.group_id).where(
            _GROUP_MEMBERS.c.organisation_id == ORGANISATION_ID, of_principals(_GROUP_MEMBERS.c.user_id)
        )
    )
    slots = ids_of(
        select(_SLOTS.c.step_id).where(
            _SLOTS.c.organisation_id == ORGANISATION_ID,
            of_principals(_SLOTS.c.user_id),
            _SLOTS.c.status == SlotStatus.OPEN,
        )
    )
    steps = select(*_STEPS.c[columns]).where(
        _STEPS.c.organisation_id == ORGANISATION_ID,
        _STEPS.c.status == status,
        _STEPS.c.least_limit <= _highest_limit(),
    )
    in_group = _STEPS.c.pool_group_id == any_(groups)
    # A group's escalation may ask its own members.
    by_name = and_(_STEPS.c.id == any_(slots), or_(_STEPS.c.pool_group_id.is_(None), not_(in_group)))
    return StepsThatMayAsk(steps.where(_STEPS.c.pool_role.is_not(None)), steps.where(in_group), steps.where(by_name))


def _highest_limit() -> ColumnElement[int]:
    """The highest limit of the member and of those who have delegated to them, as `least_limit`."""
    highest = cast(func.floor(func.max(func.least(PRINCIPALS.columns.limit, _HIGHEST))), BigInteger)
    return select(highest).select_from(PRINCIPALS.table).scalar_subquery()
