"""Writing what has changed in the steps of a pending request, whoever has changed it."""

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.approvals.domain import RunStatus
from po_api.approvals.machine import Outcome, Rules
from po_api.approvals.queries import Run
from po_api.approvals.service import barred
from po_api.approvals.writes import changing
from po_api.core.actor import Actor
from po_api.db.listeners import Listeners
from po_api.db.query import TransactionExecutor
from po_api.exchange_rates.domain import recorded
from po_api.porfs.approving import PorfApprovals, approval_event
from po_api.porfs.domain import PorfFacts, PorfStatus
from po_api.porfs.queries import LockedPorf, PorfQueries
from po_api.porfs.repository import PorfRepository, RunChange, state_of


@dataclass(frozen=True)
class Pending:
    """A locked request that is pending, with its open run; `actor` has the committed rights."""

    porf: LockedPorf
    facts: PorfFacts
    run: Run
    actor: Actor
    now: datetime


class StepChanges:
    """Writes changes of steps, each with one audit event in the caller's transaction, and tells the `listeners`."""

    def __init__(self, session: AsyncSession, actor: Actor, listeners: Listeners) -> None:
        self._session = session
        self._actor = actor
        self._listeners = listeners
        self._repository = PorfRepository(session, actor)
        self._queries = PorfQueries(TransactionExecutor(session), actor)
        self._approvals = PorfApprovals(session, actor)

    async def again(self, pending: Pending) -> Pending:
        """The run as it is stored now."""
        return replace(pending, run=await self._approvals.open_run(pending.porf, pending.now))

    async def rules(self, pending: Pending) -> Rules:
        """What advancing the run depends on."""
        places = await self._queries.places(pending.porf.id)
        return Rules(pending.run.carry, [row.place for row in places], barred(pending.facts))

    async def write(
        self, action: str, pending: Pending, outcome: Outcome, shown: dict[str, object], *, comment: str | None = None
    ) -> None:
        """Write the outcome for the run, and for the request if it is approved; `shown` is what the event has more."""
        porf, run, now = pending.porf, pending.run, pending.now
        is_approved = outcome.status is RunStatus.APPROVED
        state = state_of(porf, **({"status": PorfStatus.APPROVED, "decided_at": now} if is_approved else {}))
        basis = await self._approvals.basis(porf, run, pending.facts)
        writes = changing(run, outcome, basis, now=now, comment=comment)
        before = {"status": porf.status, "approval_round": porf.approval_round}
        after = {name: state[name] for name in before} | shown
        if is_approved:
            after |= {"total": pending.facts.total, "currency": pending.facts.currency} | recorded(state)
        change = audit.Change(action, "porf", porf.id, before, after, porf.version + 1)
        await self._repository.change([state], [change], now=now, changed=RunChange(run.id, writes))
        await self._listeners.notify(self._session, approval_event(self._actor, porf, outcome.status))
