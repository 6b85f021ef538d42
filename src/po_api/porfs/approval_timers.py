"""What the worker does when a step of a request was not decided in time: remind, and escalate."""

from collections.abc import Sequence

from po_api import audit
from po_api.approvals.domain import TimerKind
from po_api.approvals.eligibility import authors_of
from po_api.approvals.events import ReminderDue, StepEscalated
from po_api.approvals.timers import DueTimer, Timers, organisations_with_due
from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.db.database import Database, enter_tenant
from po_api.db.listeners import Listeners
from po_api.db.query import QueryExecutor, TransactionExecutor
from po_api.porfs.queries import LockedPorf
from po_api.porfs.read_service import PorfReadService
from po_api.porfs.repository import PorfRepository, state_of

TIMERS = "approvals.timers"


async def organisations_with_due_timers(executor: QueryExecutor) -> Sequence[int]:
    """The organisations with approvals to remind of, or to escalate; no tenant is entered."""
    return await organisations_with_due(executor, utc_now())


async def run_in(database: Database, listeners: Listeners, organisation_id: int) -> bool:
    """Deal with one timer of an organisation; returns whether one was due."""
    async with database.sessions.begin() as session:
        await enter_tenant(session, organisation_id)
        actor, now = Actor.system(organisation_id), utc_now()
        timers = Timers(session, organisation_id, now)
        found = await timers.due()
        if found is None:
            return False
        porfs = PorfRepository(session, actor)
        (porf,) = await porfs.lock([found.porf_id])
        # Meanwhile the step may have been decided, or another worker may have dealt with the timer.
        timer = await timers.due(found.id)
        if timer is None:
            return True
        if timer.kind == TimerKind.REMIND:
            await timers.reminded(timer)
            await listeners.notify(session, ReminderDue(actor, porf.id, timer.step_id, timer.n))
            return True
        facts = await PorfReadService(TransactionExecutor(session), actor).facts(porf.id)
        excluded = [] if facts.allow_self_approval else authors_of(porf)
        if user_ids := await timers.escalated(timer, excluded):
            await porfs.change([state_of(porf)], [_escalation(porf, timer, user_ids)], now=now)
            await listeners.notify(session, StepEscalated(actor, porf.id, timer.step_id, user_ids))
        return True


def _escalation(porf: LockedPorf, timer: DueTimer, user_ids: Sequence[int]) -> audit.Change:
    before = {"status": porf.status, "approval_round": porf.approval_round}
    after = before | {"step_id": timer.step_id, "user_ids": list(user_ids)}
    return audit.Change("porf.escalate", "porf", porf.id, before, after, porf.version + 1)
