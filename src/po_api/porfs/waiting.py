"""Which requests may wait for a member: the list `waiting_for_me` then looks at these, rather than at all pending ones.

A member with a low limit, or of a small group, may be asked by few of many. Whether a request does wait for them is a
condition of the list.
"""

from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, literal_column, select, union_all

from po_api.approvals.domain import RunStatus, StepStatus
from po_api.approvals.models import ApprovalRun, ApprovalStep
from po_api.approvals.waiting import steps_that_may_ask
from po_api.db.query import ORGANISATION_ID, AnySelect, Query
from po_api.porfs.domain import PorfStatus
from po_api.porfs.models import Porf

# With more of them, the list soon finds a page in its own order.
FEW = 1000
_ONE_MORE: ColumnElement[int] = literal_column(str(FEW + 1))

_RUNS, _STEPS, _PORFS = ApprovalRun.__table__, ApprovalStep.__table__, Porf.__table__


class PorfId(NamedTuple):
    """The id of a request."""

    id: int


def _of_steps() -> AnySelect:
    # In the order of an index, which PostgreSQL then uses for steps of a role.
    first = (
        steps.order_by(*_STEPS.c["activated_at", "id"]).limit(_ONE_MORE)
        for steps in steps_that_may_ask(StepStatus.ACTIVE, "run_id")
    )
    found = union_all(*first).subquery("found")
    of_step = and_(_RUNS.c.organisation_id == ORGANISATION_ID, _RUNS.c.id == found.c.run_id)
    return select(_RUNS.c.porf_id.label("id")).select_from(found.join(_RUNS, of_step))


def _without_run() -> AnySelect:
    """Those that the version before revision 048 has submitted.

    Counts of pending requests and of open runs do not show whether there are any: what that version has recalled or
    decided keeps its open run.
    """
    its_run = and_(
        _RUNS.c.organisation_id == ORGANISATION_ID,
        _RUNS.c.porf_id == _PORFS.c.id,
        _RUNS.c.status == RunStatus.OPEN,
        _RUNS.c.opened_at == _PORFS.c.submitted_at,
    )
    return (
        select(_PORFS.c.id)
        .select_from(_PORFS.outerjoin(_RUNS, its_run))
        .where(_PORFS.c.organisation_id == ORGANISATION_ID, _PORFS.c.status == PorfStatus.PENDING, _RUNS.c.id.is_(None))
    )


def _may_wait() -> Query[PorfId]:
    found = union_all(_of_steps(), _without_run()).subquery("waiting")
    return Query("porfs.may_wait", select(found.c.id).limit(_ONE_MORE), PorfId)


MAY_WAIT = _may_wait()
