"""Requests that ask members who may not decide any more: they were deactivated, have left, or have lost the role."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Text, and_, bindparam, func, literal_column, not_, select
from sqlalchemy.dialects.postgresql import ARRAY

from po_api.approvals.domain import RunStatus, SlotStatus
from po_api.approvals.models import ApprovalRun, ApprovalSlot, ApprovalStep
from po_api.approvals.projections import members
from po_api.core.permissions import GRANTS, Permission
from po_api.db.query import ORGANISATION_ID, Query, QueryExecutor

# The most requests of an organisation that are looked at in a row; the others follow.
_BATCH = 1000


class _OrganisationRow(NamedTuple):
    organisation_id: int


class _PorfRow(NamedTuple):
    porf_id: int


_ORGANISATIONS = Query(
    "approvals.organisations_with_vacancies",
    select(func.organisations_with_vacancies(bindparam("deciding", type_=ARRAY(Text))).label("organisation_id")),
    _OrganisationRow,
)


def _vacant() -> Query[_PorfRow]:
    run, step, slot = ApprovalRun.__table__, ApprovalStep.__table__, ApprovalSlot.__table__
    member = members("member")
    of_member = and_(member.table.c.organisation_id == ORGANISATION_ID, member.columns.user_id == slot.c.user_id)
    statement = (
        select(run.c.porf_id)
        .select_from(slot.join(member.table, of_member))
        .join(step, and_(step.c.organisation_id == ORGANISATION_ID, step.c.id == slot.c.step_id))
        .join(run, and_(run.c.organisation_id == ORGANISATION_ID, run.c.id == step.c.run_id))
        .where(
            slot.c.organisation_id == ORGANISATION_ID,
            slot.c.status == SlotStatus.OPEN,
            run.c.status == RunStatus.OPEN,
            not_(and_(member.columns.is_active, member.columns.has_role)),
        )
        .group_by(run.c.porf_id)
        .order_by(run.c.porf_id)
        .limit(literal_column(str(_BATCH)))
    )
    return Query("approvals.vacant", statement, _PorfRow)


_VACANT = _vacant()


async def organisations_with_vacancies(executor: QueryExecutor) -> Sequence[int]:
    """The organisations with such requests; no tenant is entered."""
    deciding = sorted(GRANTS[Permission.PORFS_DECIDE].roles)
    return [row.organisation_id for row in await executor.rows(_ORGANISATIONS, deciding=deciding)]


async def requests_with_vacancies(executor: QueryExecutor, organisation_id: int) -> Sequence[int]:
    """The ids of such requests of an organisation whose tenant is entered, the oldest first."""
    return [row.porf_id for row in await executor.rows(_VACANT, organisation_id=organisation_id)]
