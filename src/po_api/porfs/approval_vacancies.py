"""What the worker does when steps ask members who may not decide any more: others take the places, as the rules say.

Deactivating a member writes the member's row only; requests are locked first by whoever changes them. So their places
are looked for every minute, which finds those of submissions at the same time, too.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncSession

from po_api.approval_policies.domain import PlannedStep
from po_api.approval_policies.people_queries import PlanningQueries
from po_api.approval_policies.plan import refill
from po_api.approvals import machine
from po_api.approvals.additions import Additions
from po_api.approvals.eligibility import authors_of
from po_api.approvals.events import PeopleLost
from po_api.approvals.machine import Outcome, Step
from po_api.approvals.service import ApprovalService
from po_api.approvals.vacancies import organisations_with_vacancies, requests_with_vacancies
from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.db.database import Database, enter_tenant
from po_api.db.listeners import Listeners
from po_api.db.query import TransactionExecutor, connected
from po_api.porfs.approving import PorfApprovals
from po_api.porfs.domain import PorfStatus
from po_api.porfs.planning import document_facts
from po_api.porfs.read_service import PorfReadService
from po_api.porfs.repository import PorfRepository
from po_api.porfs.step_changes import Pending, StepChanges


async def fill_all(database: Database, listeners: Listeners) -> int:
    """Deal with the requests of all organisations; returns their number."""
    async with connected(database.engine) as executor:
        found = [*await organisations_with_vacancies(executor)]
    return await fill_in(database, listeners, *found)


async def fill_in(database: Database, listeners: Listeners, *organisation_ids: int) -> int:
    """Deal with the requests of organisations, each in a transaction of its own; returns their number.

    One that fails does not keep others waiting: its error is raised at the end.
    """
    changed, failures = 0, list[Exception]()
    for organisation_id in organisation_ids:
        async with _tenant(database, organisation_id) as session:
            porf_ids = await requests_with_vacancies(TransactionExecutor(session), organisation_id)
        for porf_id in porf_ids:
            try:
                async with _tenant(database, organisation_id) as session:
                    changed += await _Vacancies(session, Actor.system(organisation_id), listeners).fill(porf_id)
            except Exception as error:
                failures.append(error)
    if failures:
        raise ExceptionGroup("requests whose places were not filled", failures)
    return changed


@asynccontextmanager
async def _tenant(database: Database, organisation_id: int) -> AsyncIterator[AsyncSession]:
    async with database.sessions.begin() as session:
        await enter_tenant(session, organisation_id)
        yield session


class _Vacancies:
    """Fills the places of a request, in the caller's transaction."""

    def __init__(self, session: AsyncSession, actor: Actor, listeners: Listeners) -> None:
        executor = TransactionExecutor(session)
        self._session = session
        self._actor = actor
        self._listeners = listeners
        self._repository = PorfRepository(session, actor)
        self._porfs = PorfReadService(executor, actor)
        self._planning = PlanningQueries(executor, actor)
        self._runs = ApprovalService(session, actor)
        self._approvals = PorfApprovals(session, actor)
        self._changes = StepChanges(session, actor, listeners)

    async def fill(self, porf_id: int) -> bool:
        """Let others take the places of those who may not decide any more; returns whether there were any.

        Meanwhile the request may have been decided, the member reactivated, or another worker may have filled them.
        """
        pending = await self._pending(porf_id)
        gone = frozenset[int]() if pending is None else await self._runs.gone(pending.run, pending.facts)
        if pending is None or not gone:
            return False
        before = pending.run.steps
        steps = machine.vacated(before, gone)
        short = [step for was, step in zip(before, steps, strict=True) if step.is_short and was.asked & gone]
        plans = await self._plans(pending, short)
        emptied = {step_id for step_id, planned in plans.items() if planned.is_skipped}
        asks_anybody = machine.asks_nobody(machine.emptied(steps, emptied))
        pending = await self._refill(pending, short, plans, asks_anybody=asks_anybody)
        steps = machine.emptied(machine.vacated(pending.run.steps, gone), emptied)
        outcome = machine.advance(steps, await self._changes.rules(pending))
        await self._changes.write("porf.vacate", pending, outcome, _shown(before, outcome, gone))
        is_short = any(step.is_short for step in outcome.steps)
        if asks_anybody and not is_short:
            is_short = any(left == porf_id for left, _ in await self._repository.without_approver())
        await self._listeners.notify(self._session, PeopleLost(self._actor, porf_id, is_short))
        return True

    async def _pending(self, porf_id: int) -> Pending | None:
        """The request, locked; None if it is not pending any more."""
        (porf,) = await self._repository.lock([porf_id])
        if porf.status != PorfStatus.PENDING:
            return None
        facts, now = await self._porfs.facts(porf_id), utc_now()
        return Pending(porf, facts, await self._approvals.open_run(porf, now), self._actor, now)

    async def _plans(self, pending: Pending, short: Sequence[Step]) -> Mapping[int | None, PlannedStep]:
        """What the rules say about steps with too few people, by the ids of these; those without an answer wait."""
        policy_id, wanted = pending.run.policy_id, {step.rule_id for step in short}
        policy = None if policy_id is None or wanted <= {None} else await self._planning.policy(policy_id)
        if policy is None:
            return {}
        rules = {rule.id: rule for rule in policy.rules if rule.id in wanted}
        porf, facts = pending.porf, pending.facts
        document = document_facts(
            facts, porf, (), author_ids=authors_of(porf), cost_centre_id=None, base_rate=porf.base_rate
        )
        people = await self._planning.people(replace(policy, rules=[*rules.values()]), document)
        plans = {
            step.id: refill(rules[step.rule_id], document, people.without(step.unavailable), step.remaining)
            for step in short
            if step.rule_id is not None
        }
        return {step_id: planned for step_id, planned in plans.items() if planned is not None}

    async def _refill(
        self, pending: Pending, short: Sequence[Step], plans: Mapping[int | None, PlannedStep], *, asks_anybody: bool
    ) -> Pending:
        """Store whom the steps ask now; with `asks_anybody`, any approver in a step more."""
        additions = Additions(self._session, self._actor, pending.now)
        for step in short:
            planned = plans.get(step.id)
            if planned is not None and not planned.is_skipped:
                await additions.refill(step, planned)
        if asks_anybody:
            await additions.default_step(pending.run)
        return await self._changes.again(pending)


def _shown(before: Sequence[Step], outcome: Outcome, gone: Collection[int]) -> dict[str, object]:
    """What the event says: who is not asked any more, who is asked instead, and what that means for the steps."""
    earlier = {step.id: step for step in before}
    asked = {
        user_id
        for step in outcome.steps
        for user_id in step.remaining - (earlier[step.id].remaining if step.id in earlier else frozenset())
    }
    skipped = [step.name for step in outcome.steps if step.skip_reason is not None and earlier[step.id].is_open]
    found = {
        "user_ids": sorted(gone),
        "asked_ids": sorted(asked),
        "skipped": skipped,
        "short": [step.name for step in outcome.steps if step.is_short],
    }
    return {name: value for name, value in found.items() if value}
